"""A cell of the time column to a number that orders rows."""

import datetime
import math
from dataclasses import dataclass
from typing import Literal

from trainer.contract.errors import BadRow


@dataclass
class TimeReader:
    """Reads a column of times. A time without a zone is taken as UTC."""

    column: str
    format: str | None = None
    """Of texts, as strptime takes it. None: ISO 8601 texts, dates or numbers."""
    kind: Literal["number", "date"] | None = None
    """What the first cell was; a column that mixes numbers and dates has no order."""

    def read(self, cell: object) -> float:
        """Seconds since 1970, or the number itself. Raises BadRow: null_time, not_time."""
        if isinstance(cell, str):
            cell = cell.strip()
        if cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell)):
            raise BadRow("null_time", f"column {self.column!r} holds no time")
        number = self._number(cell)
        kind: Literal["number", "date"] = "date" if number is None else "number"
        if self.kind not in (None, kind):
            raise BadRow("not_time", f"column {self.column!r} holds {cell!r} among {self.kind}s")
        self.kind = kind
        return self._date(cell).timestamp() if number is None else number

    def _number(self, cell: object) -> float | None:
        """A number, also as text, but where a format says that the text is a date ("20240501")."""
        if isinstance(cell, bool) or (isinstance(cell, str) and self.format is not None):
            return None
        try:
            number = float(cell) if isinstance(cell, str | int | float) else math.nan
        except (ValueError, OverflowError):
            # Also of a whole number with hundreds of digits, which JSON may hold.
            return None
        return number if math.isfinite(number) else None

    def _date(self, cell: object) -> datetime.datetime:
        try:
            moment = self._moment(cell)
        except ValueError:
            moment = None
        if moment is None:
            expected = self.format or "an ISO 8601 date or a number; name another form with split.time_format"
            raise BadRow("not_time", f"column {self.column!r} holds {cell!r}, expected {expected}")
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)

    def _moment(self, cell: object) -> datetime.datetime | None:
        if isinstance(cell, datetime.datetime):
            return cell
        if isinstance(cell, datetime.date):
            return datetime.datetime(cell.year, cell.month, cell.day)
        if not isinstance(cell, str):
            return None
        if self.format is None:
            return datetime.datetime.fromisoformat(cell)
        return datetime.datetime.strptime(cell, self.format)
