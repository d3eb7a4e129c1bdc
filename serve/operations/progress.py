"""How far a job is, on standard error: one line that is redrawn on a terminal, plain lines elsewhere."""

import sys
import time

from serve.journal.state import State

_TERMINAL_SECONDS, _PLAIN_SECONDS = 0.2, 10.0
# What a shorter job read and wrote is made whole in no time.
LONG_SECONDS = 10.0


class Progress:
    """Shows rows, rows per second, tokens per second, padding, errors and the time left.

    sizes: bytes of each input, None where one is unknown; then no time left is told.
    """

    def __init__(self, *, quiet: bool, sizes: list[int | None]) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._sizes = sizes
        self._drawn = False
        self.begin(State(), None)

    def begin(self, state: State, share: float | None) -> None:
        """Count from here: rates are of this process, which may have resumed a job."""
        self._start = self._shown = time.monotonic()
        self._first, self._first_share = state, share or 0.0

    def share(self, number: int, share: float | None) -> float | None:
        """How much of all inputs is done, 0 to 1, with so much of input `number`."""
        sizes = [size for size in self._sizes if size is not None]
        if share is None or len(sizes) < len(self._sizes) or not sum(sizes):
            return None
        return (sum(sizes[:number]) + share * sizes[number]) / sum(sizes)

    def update(self, state: State, share: float | None) -> None:
        """Show `state`, at most so often. share: how much of all inputs is done."""
        if self._is_due():
            self._draw(self._line(state, time.monotonic() - self._start, share))

    def look(self, rows: int, number: int, share: float | None) -> None:
        """Show how far the pass over the columns of JSON lines is, at most so often; as `columns.Look`."""
        if self._is_due():
            done = self.share(number, share)
            self._draw(f"looking at columns: {rows:,} rows" + ("" if done is None else f", {done:.1%} of the input"))

    def _is_due(self) -> bool:
        seconds = _TERMINAL_SECONDS if self._terminal else _PLAIN_SECONDS
        return not self._quiet and time.monotonic() - self._shown >= seconds

    def _draw(self, line: str) -> None:
        self._shown, self._drawn = time.monotonic(), self._terminal
        start, end = ("\r\x1b[K", "") if self._terminal else ("", "\n")
        print(f"{start}{line}", end=end, file=sys.stderr, flush=True)

    def tell(self, text: str, *, after: float = 0.0) -> None:
        """Say what is done meanwhile, where no row comes for a while; after: only in a job of so many seconds."""
        if not self._quiet and time.monotonic() - self._start >= after:
            self.close()
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the terminal's line."""
        if self._drawn:
            self._drawn = False
            print(file=sys.stderr)

    def _line(self, state: State, seconds: float, share: float | None) -> str:
        rows, tokens = state.scored - self._first.scored, state.tokens - self._first.tokens
        padding = 1 - state.tokens / state.padded_tokens if state.padded_tokens else 0.0
        text = (
            f"{state.read:,} rows, {rows / seconds:,.0f} rows/s, {tokens / seconds:,.0f} tokens/s, "
            f"{padding:.1%} padding, {state.rejected:,} errors"
        )
        if share is not None and share > self._first_share:
            left = seconds * (1 - share) / (share - self._first_share)
            text += f", {share:.1%} done, {duration(left)} left"
        return text


def duration(seconds: float) -> str:
    """Seconds in the units that people would say."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
