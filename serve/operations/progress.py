"""How far a job is, in a line."""

from itertools import accumulate

from serve.journal.state import JobState
from trainer.contract.system.progress import Progress

# What a shorter job read and wrote is made whole in no time.
_LONG_SECONDS = 10.0


class JobProgress:
    """Tells rows, rows per second, tokens per second, padding, errors and the time left.

    sizes: bytes of each input, None where one is unknown; then no time left is told.
    """

    def __init__(self, progress: Progress, sizes: list[int | None]) -> None:
        self._progress = progress
        # The bytes before each input: there may be a million inputs, and each window asks.
        known = [size for size in sizes if size is not None]
        self._bytes = [0, *accumulate(known if len(known) == len(sizes) else [])]
        self.begin(JobState(), None)

    def begin(self, state: JobState, share: float | None) -> None:
        """Count from here: rates are of this process, which may have resumed a job."""
        self._progress.begin(share)
        self._first = state
        if state.read:
            self._progress.say(f"going on after {state.read:,} rows, which are read again and not scored")

    def share(self, number: int, share: float | None) -> float | None:
        """How much of all inputs is done, 0 to 1, with so much of input `number`."""
        if share is None or not self._bytes[-1]:
            return None
        before, after = self._bytes[number : number + 2]
        return (before + share * (after - before)) / self._bytes[-1]

    def update(self, state: JobState, share: float | None) -> None:
        """Show `state`, now and then. share: how much of all inputs is done."""
        self._progress.show(lambda: self._line(state), share)

    def look(self, rows: int, number: int, share: float | None) -> None:
        """Show how far the pass over the columns of JSON lines is, now and then; as `columns.Look`."""
        self._progress.show(lambda: f"looking at columns: {rows:,} rows", self.share(number, share))

    def say(self, line: str) -> None:
        """A line that stays."""
        self._progress.say(line)

    @property
    def is_long(self) -> bool:
        """Whether the job has taken so long that what comes at its end may take a while too."""
        return self._progress.seconds >= _LONG_SECONDS

    def close(self) -> None:
        """Take the terminal's line away."""
        self._progress.close()

    def _line(self, state: JobState) -> str:
        seconds = self._progress.seconds
        rows, tokens = state.scored - self._first.scored, state.tokens - self._first.tokens
        padding = 1 - state.tokens / state.padded_tokens if state.padded_tokens else 0.0
        return (
            f"{state.read:,} rows, {rows / seconds:,.0f} rows/s, {tokens / seconds:,.0f} tokens/s, "
            f"{padding:.1%} padding, {state.rejected:,} errors"
        )
