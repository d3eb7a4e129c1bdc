"""How fast rows go by, in a line now and then."""

import time
from collections.abc import Callable

SECONDS_BETWEEN_LINES = 10.0


class Pace:
    """Tells how many rows are done and how many a second; nothing where it takes only a moment."""

    def __init__(self, say: Callable[[str], None], what: str, total: int | None = None) -> None:
        self._say, self._what = say, what
        self._of = "" if total is None else f" of {total:,}"
        self._started = self._told = time.perf_counter()

    def done(self, rows: int) -> None:
        """So many rows are done."""
        if time.perf_counter() - self._told > SECONDS_BETWEEN_LINES:
            self._told = time.perf_counter()
            self._tell(rows, "")

    def end(self, rows: int) -> None:
        """All are done."""
        seconds = time.perf_counter() - self._started
        if seconds > 1:
            self._tell(rows, f" in {seconds:.0f} s")

    def _tell(self, rows: int, more: str) -> None:
        rate = rows / max(1e-9, time.perf_counter() - self._started)
        self._say(f"{self._what}: {rows:,}{self._of} rows{more} ({rate:,.0f} rows/s)")
