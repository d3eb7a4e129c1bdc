"""Cells that an output cannot hold as they came: a column that the model does not read costs a cell and never a row."""

import math
import re
from dataclasses import dataclass

from serve.reading.columns import is_float

_SURROGATE = re.compile("[\ud800-\udfff]")
_NUMBERS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,)}

# Of cells that are written, but not as they came.
CHANGED = {"not_json": "JSON has no infinity", "invalid_encoding": "bytes that are no text are written as escapes"}


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """A cell that is left out of the output, or changed in it."""

    column: str
    reason: str
    """One of the words of the side file: column_clash, invalid_unicode, invalid_encoding, type_changed, unknown_column
    or not_json.
    """
    detail: str


def misfit(name: str, value: object, kind: str) -> Misfit | None:
    """What is wrong with a value in a table's column of a kind ("text", "int", "float", "bool"), if anything."""
    if isinstance(value, str) and not value.isascii() and _SURROGATE.search(value):
        return Misfit(column=name, reason="invalid_unicode", detail="half of a surrogate pair")
    if value is None or _fits(value, kind):
        # A table has words for infinite numbers; what is nested is JSON there.
        return not_json(name, value) if isinstance(value, list | dict) else None
    return Misfit(
        column=name,
        reason="type_changed",
        detail=f"{kind} in the rows the job began with, and here {type(value).__name__}; score to .jsonl",
    )


def not_json(name: str, value: object) -> Misfit | None:
    """Infinity, at any depth, is a number that JSON loses. NaN is no number before, and null after."""
    return Misfit(column=name, reason="not_json", detail=CHANGED["not_json"]) if _is_infinite(value) else None


def _is_infinite(value: object) -> bool:
    if isinstance(value, float):
        return math.isinf(value)
    if isinstance(value, dict):
        return any(map(_is_infinite, value.values()))
    return isinstance(value, list) and any(map(_is_infinite, value))


def _fits(value: object, kind: str) -> bool:
    if kind == "text":
        return True
    # A bool is an int to Python, and is none to whoever reads the file.
    if not isinstance(value, _NUMBERS[kind]) or (kind != "bool" and isinstance(value, bool)):
        return False
    if not isinstance(value, int) or isinstance(value, bool):
        return True
    return -(2**63) <= value < 2**63 if kind == "int" else is_float(value)
