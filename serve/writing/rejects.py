"""Rows that cannot be scored: how each is told of, and how many may be."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from serve.journal.state import JobState
from serve.reading.sources import InputSource
from serve.writing.json_text import json_text
from trainer.contract.errors import ClassifactError
from trainer.contract.redact import redacted
from trainer.contract.text_files.records import Record

_ESCAPED_BYTE = re.compile("[\udc00-\udcff]")
# Characters of a rejected row that the side file keeps.
_RAW = 500


@dataclass(frozen=True, kw_only=True)
class ErrorBound:
    """How many rows may be rejected. The job ends if both bounds are passed."""

    rows: int = 100
    """At most so many."""
    share: float = 0.1
    """At most this share of the rows read, 0 to 1."""

    @classmethod
    def parse(cls, text: str) -> "ErrorBound":
        """ "N" or "P%". Raises ValueError."""
        if not re.fullmatch(r"\d+|\d+(\.\d+)?%", text):
            raise ValueError(f"expected a number or a percentage, found {text!r}")
        if text.endswith("%"):
            return cls(rows=0, share=float(text[:-1]) / 100)
        return cls(rows=int(text), share=0.0)

    def exceeded(self, state: JobState) -> bool:
        """Whether there are too many."""
        return state.rejected > self.rows and state.rejected > self.share * state.read

    def require(self, state: JobState, *, where: object, do: str, whole: bool) -> None:
        """Raise ClassifactError where too many rows are rejected.

        where: the side file. whole: whether these are all rows of a job; then one must be scored, unless all may be
            rejected.
        """
        # Whoever allows all rows to be bad is told by the figures.
        nothing = whole and self.share < 1 and state.rejected > 0 and state.scored == 0
        if nothing or self.exceeded(state):
            raise ClassifactError(
                "no row could be scored" if nothing else "too many rows were rejected",
                where=where,
                found=f"{state.rejected} of {state.read} rows: "
                + ", ".join(f"{count} {reason}" for reason, count in state.reasons.items()),
                do=do,
            )


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A row that is not scored, or a cell that is left out of one that is: a fixed word, and the reason in full."""

    record: Record
    reason: str
    detail: str
    column: str | None = None
    """Of the cell; None where the row is not scored."""

    def line(self, source: InputSource) -> bytes:
        """The row's line in the side file; the raw text is cut, and bytes that are no text are escaped."""
        raw = (self.record.raw or self._values())[:_RAW]
        raw = shown_bytes(raw)
        file = redacted(source.name)
        content = {"file": file, "line": self.record.line, "reason": self.reason, "detail": self.detail}
        if self.column is not None:
            content["column"] = self.column
        # What is left of half surrogate pairs becomes an escape of JSON's own.
        return json_text({**content, "raw": raw}).encode("utf-8", "backslashreplace") + b"\n"

    def _values(self) -> str:
        """The record as JSON; nested values are left out where they are nested too deeply to be written."""
        values = self.record.values
        try:
            return json_text(values)
        except RecursionError:
            kept = {name: value for name, value in (values or {}).items() if not isinstance(value, list | dict)}
            return json_text(kept)


def shown_bytes(text: str) -> str:
    """Text in which bytes that are no text are spelled as escapes."""
    return _ESCAPED_BYTE.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", text)


def reason_counts(items: Iterable[Rejected]) -> dict[str, int]:
    """How many have each reason."""
    return dict(Counter(item.reason for item in items))


def told_rejects(report: Mapping[str, Any]) -> str:
    """What a finished job says of rows and cells that it could not take; nothing where there are none."""
    rows, cells = report["rows_rejected"], report.get("cells_left_out", 0)
    found = [
        f"{rows:,} row{'s' * (rows != 1)} rejected" if rows else "",
        f"{cells:,} cell{'s' * (cells != 1)} left out" if cells else "",
    ]
    return f", {' and '.join(filter(None, found))} ({report['errors']})" if rows or cells else ""
