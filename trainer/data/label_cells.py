"""One cell of the label column to label names: spelling, mapping, several labels in a cell."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from trainer.contract.errors import BadRow, InputError, nearest
from trainer.recipes.recipe import LabelsPart

SHOWN = 5


@dataclass
class LabelReader:
    """Reads label cells of a recipe's rows. names: the only labels there are, or None where they are to be found.

    Spelling: text loses white space around it; a boolean is "True" or "False", and so are TRUE and true, unless a name
    or a key of the mapping is written so; a whole number has no decimals: 1.0 of a table of floats is "1", and so is
    the text "1.0" where "1" is a name or a key and "1.0" is not.
    """

    part: LabelsPart
    names: tuple[str, ...] | None
    unknown: Counter[str] = field(default_factory=Counter)
    first_seen: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = (*(self.names or ()), *self.part.mapping.values())
        self._spelled = {_boolean(name): name for name in known} | {name: name for name in known}
        self._spelled |= {_boolean(key): name for key, name in self.part.mapping.items()} | self.part.mapping

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return self.part.columns if self.part.columns is not None else (str(self.part.column),)

    def read(self, values: Mapping[str, object], place: str) -> tuple[str, ...]:
        """The labels of one row; those that are not labels are kept for `check`.

        Raises BadRow: null_label, not_label, several_labels.
        """
        spellings = (
            self._given(values) if self.part.columns is not None else self._spellings(values.get(self.columns[0]))
        )
        return tuple(dict.fromkeys(self._name(spelling, place) for spelling in spellings))

    def check(self) -> None:
        """Raise InputError where spellings were met that are not labels, with how often and where first."""
        if not self.unknown:
            return
        known = list(dict.fromkeys(self._spelled.values()))
        shown = [
            f"{name!r} ({count} rows, first {self.first_seen[name]})" for name, count in self.unknown.most_common()
        ]
        more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
        hints = [f"{name!r}: {hint}" for name in self.unknown if (hint := nearest(name, known))]
        raise InputError(
            "the label column holds what is not a label",
            where=next(iter(self.first_seen.values())),
            found="; ".join(shown[:SHOWN]) + more,
            expected=", ".join(known),
            do="; ".join(hints[:SHOWN]) or "correct the rows, or say what it means under labels.mapping",
        )

    def _given(self, values: Mapping[str, object]) -> Iterator[str]:
        """The names whose column says yes."""
        for column, name in zip(self.columns, self.part.names or self.columns, strict=True):
            cell = values.get(column)
            if _missing(cell) or not _text(cell):
                raise BadRow("null_label", f"column {column!r} is empty")
            said = _boolean(_text(cell))
            if said not in ("True", "1", "False", "0"):
                raise BadRow("not_label", f"column {column!r} holds {said!r}, expected true or false, 1 or 0")
            if said in ("True", "1"):
                yield name

    def _spellings(self, cell: object) -> Iterable[str]:
        if _missing(cell):
            raise BadRow("null_label", f"column {self.part.column!r} has no label")
        if self.part.kind == "single":
            if isinstance(cell, list | tuple):
                raise BadRow("several_labels", f"column {self.part.column!r} holds a list; say labels.kind: multi")
            text = _text(cell)
            if not text:
                raise BadRow("null_label", f"column {self.part.column!r} is empty")
            return [text]
        return [_text(item) for item in self._items(cell)]

    def _items(self, cell: object) -> list[object]:
        """The labels of one multi-label cell. An empty list and an empty text are a row without labels."""
        if isinstance(cell, str):
            cell = self._split(cell.strip())
        items = list(cell) if isinstance(cell, list | tuple) else [cell]
        if any(_missing(item) or not _text(item) for item in items):
            raise BadRow("null_label", f"column {self.part.column!r} holds an empty label among others")
        return items

    def _split(self, text: str) -> object:
        if not text:
            return []
        if self.part.separator is not None:
            return text.split(self.part.separator)
        if text.startswith("["):
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                raise BadRow("not_label", f"column {self.part.column!r} holds a broken JSON list") from None
        return text

    def _name(self, spelling: str, place: str) -> str:
        for form in (spelling, _boolean(spelling), spelling.removesuffix(".0")):
            if form in self._spelled:
                return self._spelled[form]
        spelling = _boolean(spelling)
        if self.names is not None or self.part.mapping:
            self.unknown[spelling] += 1
            self.first_seen.setdefault(spelling, place)
        return spelling


def _missing(cell: object) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _text(cell: object) -> str:
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, bool | int | float):
        return str(cell)
    raise BadRow("not_label", f"a label is {type(cell).__name__}, not text or a number")


def _boolean(text: str) -> str:
    """TRUE, true and True are one spelling."""
    return text.capitalize() if text.lower() in ("true", "false") else text
