"""Labelled files to rows: every row accounted for, every problem of the files at once."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trainer.contract.errors import BadRow, InputError, nearest
from trainer.contract.inputs import InputSpec
from trainer.contract.labelled import LabelledRows
from trainer.contract.labels import LabelSpace
from trainer.label_cells import LabelReader
from trainer.readers import FileRecords, read_source
from trainer.recipe import Source

SHOWN = 5


class Row(NamedTuple):
    """One row. id: its place among all records that the recipe's data names, dropped ones counted too.

    group: the cell of the group column, or None where the recipe has none or the cell is empty.
    """

    id: int
    place: str
    text: str
    pair: str | None
    labels: tuple[str, ...]
    group: str | None

    @property
    def key(self) -> tuple[str, str | None]:
        """What makes a row an exact repeat of another."""
        return self.text, self.pair


@dataclass(frozen=True, kw_only=True)
class RowsRead:
    """The rows of some sources. read: records met in each file; dropped: of those, left out for a null text."""

    rows: list[Row]
    read: dict[str, int]
    dropped: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class RowReader:
    """What turns records into rows: the input columns, the labels, and the group column where there is one."""

    input: InputSpec
    labels: LabelReader
    group: str | None = None

    def read(self, sources: tuple[Source, ...], first_id: int) -> RowsRead:
        """Read all sources in order; ids count from `first_id`.

        Raises InputError: what `read_source` raises, a missing column, rows that cannot be read (the first places and
        how many there are), a spelling that is no label.
        """
        rows: list[Row] = []
        problems: list[tuple[str, str]] = []
        read: Counter[str] = Counter()
        dropped: Counter[str] = Counter()
        for file in (file for source in sources for file in read_source(source)):
            self._require_columns(file)
            for row in self._rows(file, first_id + read.total(), problems):
                if row is None:
                    dropped[file.file] += 1
                else:
                    rows.append(row)
            read[file.file] += len(file.records)
        _refuse(problems)
        self.labels.check()
        return RowsRead(rows=rows, read=dict(read), dropped=dict(dropped))

    def _rows(self, file: FileRecords, first_id: int, problems: list[tuple[str, str]]) -> Iterator[Row | None]:
        """The rows of one file; None for a row that is left out."""
        for number, record in enumerate(file.records, first_id):
            place = f"{file.file}:{record.line}"
            if record.values is None:
                problems.append((place, record.detail))
                continue
            try:
                text, pair = self.input.read(record.values)
                labels = self.labels.read(record.values, place)
            except BadRow as error:
                if error.reason == "null_text" and self.input.on_null == "drop":
                    yield None
                else:
                    problems.append((place, error.what))
                continue
            yield Row(number, place, text, pair, labels, self._group(record.values))

    def _group(self, values: dict[str, object]) -> str | None:
        cell = None if self.group is None else values.get(self.group)
        return None if cell is None or cell == "" else str(cell)

    def _require_columns(self, file: FileRecords) -> None:
        if not file.columns:
            return
        wrong_delimiter = len(file.columns) == 1 and any(mark in file.columns[0] for mark in ";\t|,")
        for key, column in self._columns():
            if column not in file.columns:
                raise InputError(
                    f"no column {column!r}",
                    where=file.file,
                    found=", ".join(map(repr, file.columns)),
                    expected=f"the column that {key} names",
                    do="the header is one column: set `delimiter:`"
                    if wrong_delimiter
                    else nearest(column, file.columns) or f"name the column under {key}, or `rename:` the file's",
                )

    def _columns(self) -> Iterator[tuple[str, str]]:
        yield from (("input.text", column) for column in self.input.text)
        if self.input.pair is not None:
            yield "input.pair", self.input.pair
        key = "labels.column" if self.labels.part.columns is None else "labels.columns"
        yield from ((key, column) for column in self.labels.columns)
        if self.group is not None:
            yield "data.split.group", self.group


def _refuse(problems: list[tuple[str, str]]) -> None:
    """Training rows are repaired, not skipped: a row that is silently missing is found by nobody."""
    if not problems:
        return
    shown = "; ".join(f"{place}: {what}" for place, what in problems[:SHOWN])
    more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    raise InputError(
        "a row cannot be read" if len(problems) == 1 else f"{len(problems)} rows cannot be read",
        where=problems[0][0],
        found=shown + more,
        do="repair the rows; a null text may also be dropped or read as empty (input.on_null)",
    )


def labelled(rows: list[Row], space: LabelSpace) -> LabelledRows:
    """Rows as arrays. Raises InputError where a label is not one of the space."""
    pairs = [row.pair for row in rows if row.pair is not None]
    return LabelledRows(
        ids=np.array([row.id for row in rows], dtype=np.int64),
        texts=[row.text for row in rows],
        pairs=pairs or None,
        labels=space.ids(row.labels for row in rows),
        places=[row.place for row in rows],
    )
