"""Scored rows to standard output: no work folder, no resuming; rejected rows and the report go to standard error."""

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from serve.journal.state import JobState, ScoredWindow
from serve.writing.text_out import Format


class StreamSink:
    """Writes as rows come. Takes the place of a journal where the output is "-".

    quiet: rejected rows are counted only. They hold what users wrote, and whoever asked for silence keeps a log of it.
    """

    rejected = "standard error"

    def __init__(self, output: Format, *, quiet: bool) -> None:
        self.state = JobState()
        self.finished: dict[str, Any] | None = None
        self._quiet = quiet
        # Held from now on: what libraries print meanwhile may be sent elsewhere.
        self._out = sys.stdout.buffer
        self._out.write(output.head())

    def __enter__(self) -> "StreamSink":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held."""

    def append(self, scored: ScoredWindow) -> None:
        """Write a window's rows, and its rejected rows to standard error."""
        self._out.write(scored.rows)
        if not self._quiet:
            sys.stderr.write(scored.errors.decode())
        self.state = self.state.after(scored)
        self.commit()

    def commit(self) -> None:
        """Hand the rows to whoever reads."""
        self._out.flush()

    def seal(self, report: Mapping[str, object]) -> None:
        """Nothing is left to do."""
        self.finished = {"out": "standard output", "errors": self.rejected, **report}

    def publish(self) -> dict[str, Any]:
        """The report."""
        return dict(self.finished or {})
