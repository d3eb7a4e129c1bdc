"""Cells that an output cannot hold as they came: a column that the model does not read costs a cell and never a row."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from serve.reading.columns import is_float

_SURROGATE = re.compile("[\ud800-\udfff]")
_NUMBERS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,)}

# Objects and lists within each other. Parsers of JSON give up at some depth, each at its own.
_DEEPEST = 200
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
    changed: bool = False
    """Whether the cell is written, with null in place of what JSON lacks."""


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
    """What JSON loses of a value: infinity, at any depth, and a value that is nested deeper than readers go.

    NaN is no number before, and null after.
    """
    infinite, level = False, [value]
    # Level by level, since a walk by calls would end where Python's own depth does.
    for _ in range(_DEEPEST):
        infinite = infinite or any(isinstance(item, float) and math.isinf(item) for item in level)
        level = [inner for item in level for inner in _inside(item)]
        if not level:
            detail = CHANGED["not_json"]
            return Misfit(column=name, reason="not_json", detail=detail, changed=True) if infinite else None
    return Misfit(column=name, reason="not_json", detail=f"nested more than {_DEEPEST} deep")


def _inside(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _fits(value: object, kind: str) -> bool:
    if kind == "text":
        return True
    # A bool is an int to Python, and is none to whoever reads the file.
    if not isinstance(value, _NUMBERS[kind]) or (kind != "bool" and isinstance(value, bool)):
        return False
    if not isinstance(value, int) or isinstance(value, bool):
        return True
    return -(2**63) <= value < 2**63 if kind == "int" else is_float(value)
