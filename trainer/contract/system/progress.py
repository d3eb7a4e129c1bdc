"""What a command is doing, on standard error, for a person."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from trainer.contract.visible import visible_lines

# How often the line on a terminal is drawn, and how often one is printed elsewhere.
_TERMINAL_SECONDS, _PLAIN_SECONDS = 0.2, 10.0
_BAR = 20


class Progress:
    """Lines about the work, and how far it is: one line that is redrawn on a terminal, a plain line now and then
    elsewhere. quiet: nothing is written. Threads may share one.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self.terminal = sys.stderr.isatty()
        self._lock = threading.RLock()
        self._drawn = False
        self.begin()

    def begin(self, share: float | None = None) -> None:
        """Count from here, where `share` of the work, 0 to 1, is done already: the time left is told of the rest."""
        self._start = self._shown = time.monotonic()
        self._first = share or 0.0

    def say(self, line: str) -> None:
        """A line that stays."""
        if self._quiet:
            return
        with self._lock:
            print(f"{self._cleared()}{visible_lines(line)}", file=sys.stderr, flush=True)

    def show(self, line: Callable[[], str], share: float | None = None) -> None:
        """Tell how far the work is, where that was not told just now. line: is called only then. share: of the work."""
        now = time.monotonic()
        if self._quiet or now - self._shown < (_TERMINAL_SECONDS if self.terminal else _PLAIN_SECONDS):
            return
        with self._lock:
            self._shown = now
            left = self._left(now, share)
            if not self.terminal:
                self.say(f"{line()}, {left}" if left else line())
                return
            bar = f"[{'#' * round(_BAR * (share or 0)):<{_BAR}}] {left}: " if left else ""
            print(f"{self._cleared()}{(bar + line())[: _width()]}", end="", file=sys.stderr, flush=True)
            self._drawn = True

    @contextmanager
    def step(self, what: str, rows: int = 0, *, least: float = 0.0) -> Iterator[Callable[[int], None]]:
        """Announce a step of the work and, at its end, its seconds. Yields what to call with each number of rows done.

        rows: of the whole step, 0 where that is not known. least: of a step of fewer seconds nothing is said.
        """
        started, done = time.monotonic(), 0
        outer = self._start, self._first
        self.begin()

        def tick(count: int) -> None:
            """So many rows more are done; called from any thread."""
            nonlocal done
            with self._lock:
                done += count
            self.show(lambda: f"{what}: {_counted(done, rows, started)}", done / rows if rows else None)

        try:
            yield tick
        finally:
            self._start, self._first = outer
            seconds = time.monotonic() - started
            if seconds >= least:
                self.say(f"{what}: " + (f"{_counted(done, 0, started)}, " if done else "") + f"{seconds:.1f} s")

    @property
    def seconds(self) -> float:
        """Since the work began."""
        return time.monotonic() - self._start

    def close(self) -> None:
        """Take the redrawn line away."""
        if self._drawn:
            print(self._cleared(), end="", file=sys.stderr, flush=True)

    def _cleared(self) -> str:
        """What empties the redrawn line."""
        drawn, self._drawn = self._drawn, False
        return "\r\x1b[K" if drawn else ""

    def _left(self, now: float, share: float | None) -> str:
        if share is None or share <= self._first:
            return ""
        left = (now - self._start) * (1 - share) / (share - self._first)
        return f"{share:.1%} done, {duration(left)} left"


QUIET = Progress(quiet=True)


def duration(seconds: float) -> str:
    """Seconds in the units that people would say."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _counted(done: int, rows: int, started: float) -> str:
    """Rows done, and how many a second."""
    rate = done / max(1e-9, time.monotonic() - started)
    return f"{done:,}{f' of {rows:,}' if rows else ''} rows, {rate:,.0f} rows/s"


def _width() -> int:
    """Columns of the terminal: a longer line would break, and redrawing it would leave its first part."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        return 80
