"""One cell of the label column to label names: spelling, mapping, several labels in a cell."""

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from trainer.contract.errors import BadRow, InputError, nearest
from trainer.contract.system.files import json_line
from trainer.recipes.recipe import LabelsPart

CELLS_SHOWN = 5
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")
_MARKS = "|;,"


@dataclass
class LabelReader:
    """Reads label cells of a recipe's rows.

    Spelling: text loses white space around it; a boolean is "True" or "False", and so are TRUE and true, unless a name
    or a key of the mapping is written so; a whole number has no decimals: 1.0 of a table of floats is "1", and so is
    the text "1.0" where "1" is a name or a key and "1.0" is not; a letter and its accent are one character or two, as
    the name or key has them.
    """

    part: LabelsPart
    """What the recipe says of the labels."""
    names: tuple[str, ...] | None
    """The only labels there are, or None where they are to be found."""
    unknown: Counter[str] = field(default_factory=Counter)
    """Spellings that are no labels, and how many cells hold each."""
    first_seen: dict[str, str] = field(default_factory=dict)
    """Those spellings: each one's first place."""
    repeated: list[str] = field(default_factory=list)
    """Places of cells that name one label twice."""

    def __post_init__(self) -> None:
        known = (*(self.names or ()), *self.part.mapping.values())
        # Later entries win: a name as it is written beats a boolean that reads like it, and the mapping beats both.
        self._spelled = {
            _composed(key): name for key, name in (*zip(known, known, strict=True), *self.part.mapping.items())
        }
        self._spelled |= {_boolean(name): name for name in known} | {name: name for name in known}
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
        names = [self._name(spelling, place) for spelling in spellings]
        once = tuple(dict.fromkeys(names))
        if len(once) < len(names):
            self.repeated.append(place)
        return once

    def check(self) -> None:
        """Raise InputError where spellings were met that are not labels, with how often and where first."""
        if not self.unknown:
            return
        known = list(dict.fromkeys(self._spelled.values()))
        shown = [
            f"{name!r} ({count} rows, first {self.first_seen[name]})" for name, count in self.unknown.most_common()
        ]
        more = f" and {len(shown) - CELLS_SHOWN} more" if len(shown) > CELLS_SHOWN else ""
        hints = [f"{name!r}: {hint}" for name in self.unknown if (hint := nearest(name, known))]
        raise InputError(
            "the label column holds what is not a label",
            where=next(iter(self.first_seen.values())),
            found="; ".join(shown[:CELLS_SHOWN]) + more,
            expected=", ".join(known),
            do="; ".join(hints[:CELLS_SHOWN]) or "correct the rows, or say what it means under labels.mapping",
        )

    def _given(self, values: Mapping[str, object]) -> Iterator[str]:
        """The names whose column says yes."""
        for column, name in zip(self.columns, self.part.names or self.columns, strict=True):
            cell = values.get(column)
            if _missing(cell) or not spelled(cell):
                raise BadRow("null_label", f"column {column!r} is empty")
            # Floats that were written as text, as in `_name`.
            said = _boolean(spelled(cell)).removesuffix(".0")
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
            text = spelled(cell)
            if not text:
                raise BadRow("null_label", f"column {self.part.column!r} is empty")
            return [text]
        return [spelled(item) for item in self._items(cell)]

    def _items(self, cell: object) -> list[object]:
        """The labels of one multi-label cell. An empty list and an empty text are a row without labels."""
        if isinstance(cell, str):
            cell = self._split(cell.strip())
        items = list(cell) if isinstance(cell, list | tuple) else [cell]
        if any(_missing(item) or not spelled(item) for item in items):
            raise BadRow("null_label", f"column {self.part.column!r} holds an empty label among others")
        return self._of_vector(items) if len(items) > 1 and all(map(_is_flag, items)) else items

    def _of_vector(self, flags: list[object]) -> list[object]:
        """The names whose place in a list of 0 and 1 says yes; the list itself where 0 and 1 are names of labels."""
        if {"0", "1"} & self._spelled.keys():
            return flags
        if self.names is not None and len(flags) == len(self.names):
            return [name for name, flag in zip(self.names, flags, strict=True) if flag]
        # [1, 0] may well be two labels called 1 and 0; [1, 1, 0] cannot, since no label comes twice.
        if self.names is None and len(set(flags)) == len(flags):
            return flags
        raise BadRow(
            "not_label",
            f"column {self.part.column!r} holds a list of {len(flags)} times 0 or 1: is it one for each label? Then "
            "give all names, in their order, under labels.names",
        )

    def _split(self, text: str) -> object:
        if not text:
            return []
        if self.part.separator is not None:
            return text.split(self.part.separator)
        # Lists that went through a CSV file come back as JSON text.
        if text.startswith("["):
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                raise BadRow("not_label", f"column {self.part.column!r} holds a broken JSON list") from None
        return text

    def _name(self, spelling: str, place: str) -> str:
        if not spelling.isascii() and any("\ud800" <= character <= "\udfff" for character in spelling):
            raise BadRow("invalid_unicode", f"the label {spelling!r} holds half of a surrogate pair")
        # The third form is that of a table of floats which was written as text.
        for form in (spelling, _boolean(spelling), spelling.removesuffix(".0"), _composed(spelling)):
            if form in self._spelled:
                return self._spelled[form]
        spelling = _boolean(spelling)
        if self.names is not None or self.part.mapping:
            # Not raised here: all unknown spellings of all files are told in one error.
            self.unknown[spelling] += 1
            self.first_seen.setdefault(spelling, place)
        return spelling


def _missing(cell: object) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def spelled(cell: object) -> str:
    """A cell as the label that it is read as. Raises BadRow where it is no text and no number."""
    if isinstance(cell, str):
        return cell.strip()
    # Arrow's decimals: 1.00 is the label 1, as it is of a table of floats.
    if isinstance(cell, Decimal):
        return str(int(cell)) if cell == cell.to_integral_value() else format(cell.normalize(), "f")
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, bool | int | float):
        return str(cell)
    raise BadRow("not_label", f"a label is {type(cell).__name__}, not text or a number")


def _boolean(text: str) -> str:
    """TRUE, true and True are one spelling."""
    return text.capitalize() if text.lower() in ("true", "false") else text


def _composed(text: str) -> str:
    """A letter and its accent as one character: macOS writes two, and both look alike."""
    return unicodedata.normalize("NFC", text)


def _is_flag(cell: object) -> bool:
    return isinstance(cell, int | float) and cell in (0, 1)


def meant(name: str) -> Decimal | str:
    """What two spellings of one label have in common: the number, or the text with its accents in one form."""
    return Decimal(name) if _NUMBER.fullmatch(name) else _composed(name)


def spelled_twice(names: Iterable[str]) -> tuple[str, str] | None:
    """Two labels that are one number in two spellings ("0", "0.0"), or one text in two Unicode forms, as files of
    different programs have them.
    """
    known: dict[Decimal | str, str] = {}
    for name in names:
        if known.setdefault(meant(name), name) != name:
            return known[meant(name)], name
    return None


def ambiguous(names: Iterable[str]) -> str | None:
    """A label that reads as several others together where they are joined by "|", as a CSV of scores joins them."""
    known = set(names)
    return next((name for name in sorted(known) if "|" in name and known.issuperset(name.split("|"))), None)


def separator_hint(part: LabelsPart, names: Iterable[str]) -> str:
    """What to ask where cells of several labels seem to have been read as one label each; empty where they do not."""
    if part.kind != "multi" or part.separator is not None or part.column is None or part.names is not None:
        return ""
    for mark in _MARKS:
        joined = sorted(name for name in names if mark in name.strip(mark))
        if joined:
            told = json_line(mark)
            return f"{joined[0]!r} is read as one label; if {mark!r} parts several, say labels.separator: {told}"
    return ""
