"""What export is doing, on standard error: a line a step, and on a terminal a share of rows done that overwrites
itself.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Progress:
    """Steps with their seconds. Quiet: nothing is written."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._lock = threading.Lock()

    def say(self, line: str) -> None:
        """A line of its own."""
        if not self._quiet:
            print(line, file=sys.stderr)

    @contextmanager
    def step(self, what: str, rows: int = 0) -> Iterator[Callable[[int], None]]:
        """Announce a step and, when it ends, its seconds. Yields what to call with each number of rows done."""
        started, done = time.monotonic(), 0

        def tick(count: int) -> None:
            nonlocal done
            with self._lock:
                done += count
                if self._terminal and not self._quiet:
                    print(f"\r{what} ... {done:,}/{rows:,}", end="", file=sys.stderr, flush=True)

        try:
            yield tick
        finally:
            if not self._quiet:
                line = f"{what}: {time.monotonic() - started:.1f} s"
                print(f"\r{line:<60}" if self._terminal else line, file=sys.stderr)
