"""Rows that cannot be scored: how each is told of, and how many may be."""

import re
from dataclasses import dataclass

from serve.journal.state import State
from serve.reading.sources import Source
from serve.writing.layout import json_text
from trainer.contract.records import Record

_ESCAPED_BYTE = re.compile("[\udc00-\udcff]")
# Characters of a rejected row that the side file keeps.
_RAW = 500


@dataclass(frozen=True, kw_only=True)
class ErrorBound:
    """How many rows may be rejected: the job ends where it is more than `rows` and more than `share` of those read."""

    rows: int = 100
    share: float = 0.1

    @classmethod
    def parse(cls, text: str) -> "ErrorBound":
        """ "N" or "P%". Raises ValueError."""
        if not re.fullmatch(r"\d+|\d+(\.\d+)?%", text):
            raise ValueError(f"expected a number or a percentage, found {text!r}")
        if text.endswith("%"):
            return cls(rows=0, share=float(text[:-1]) / 100)
        return cls(rows=int(text), share=0.0)

    def exceeded(self, state: State) -> bool:
        """Whether there are too many."""
        return state.rejected > self.rows and state.rejected > self.share * state.read


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A row that is not scored: its record, a fixed word, and the reason in full."""

    record: Record
    reason: str
    detail: str

    def line(self, source: Source) -> bytes:
        """The row's line in the side file; the raw text is cut, and bytes that are no text are escaped."""
        raw = (self.record.raw or json_text(self.record.values))[:_RAW]
        raw = _ESCAPED_BYTE.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", raw)
        content = {"file": source.name, "line": self.record.line, "reason": self.reason, "detail": self.detail}
        # What is left of half surrogate pairs becomes an escape of JSON's own.
        return json_text({**content, "raw": raw}).encode("utf-8", "backslashreplace") + b"\n"
