"""How far a job is, on standard error: one line that is redrawn on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from serve.journal import State

_TERMINAL_SECONDS, _PLAIN_SECONDS = 0.2, 10.0


class Phases:
    """Seconds of the main thread by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count what the block takes."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


class Progress:
    """Shows rows, rows per second, tokens per second, padding, errors and the time left."""

    def __init__(self, *, quiet: bool, total_bytes: int | None) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._total = total_bytes
        self._start = self._shown = time.monotonic()
        self._first: State | None = None

    def update(self, state: State, read_bytes: int | None = None) -> None:
        """Show `state`, at most so often. read_bytes: how far the inputs are read, for the time left."""
        self._first = self._first or state
        now = time.monotonic()
        if self._quiet or now - self._shown < (_TERMINAL_SECONDS if self._terminal else _PLAIN_SECONDS):
            return
        self._shown = now
        self._print(self._text(state, now - self._start, read_bytes), end="" if self._terminal else "\n")

    def say(self, text: str) -> None:
        """A line of its own."""
        if not self._quiet:
            self._print(text, end="\n")

    def close(self) -> None:
        """Leave the terminal's line."""
        if not self._quiet and self._terminal and self._first is not None:
            print(file=sys.stderr)

    def _text(self, state: State, seconds: float, read_bytes: int | None) -> str:
        first = self._first or state
        rows, tokens = state.scored - first.scored, state.tokens - first.tokens
        padding = 1 - state.tokens / state.padded_tokens if state.padded_tokens else 0.0
        text = (
            f"{state.read:,} rows, {rows / seconds:,.0f} rows/s, {tokens / seconds:,.0f} tokens/s, "
            f"{padding:.1%} padding, {state.rejected:,} errors"
        )
        if read_bytes and self._total:
            left = seconds * max(0.0, self._total / read_bytes - 1)
            text += f", {min(1.0, read_bytes / self._total):.0%}, {left:,.0f} s left"
        return text

    def _print(self, text: str, end: str) -> None:
        print(f"\r\x1b[K{text}" if self._terminal else text, end=end, file=sys.stderr, flush=True)
