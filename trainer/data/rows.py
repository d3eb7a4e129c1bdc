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
from trainer.contract.records import Record
from trainer.data.label_cells import LabelReader
from trainer.data.readers import FileRecords, read_source
from trainer.data.times import TimeReader
from trainer.recipes.data_part import Source, SplitPart

SHOWN = 5


class Row(NamedTuple):
    """One row. id: its place among all records that the recipe's data names, dropped ones counted too.

    group, time: of the columns that the split names, or None where it names none or the cell is empty.
    values: the whole record, where the reader keeps it.
    """

    id: int
    place: str
    text: str
    pair: str | None
    labels: tuple[str, ...]
    group: str | None = None
    time: float | None = None
    values: dict[str, object] | None = None

    @property
    def key(self) -> tuple[str, str | None]:
        """What makes a row an exact repeat of another."""
        return self.text, self.pair

    @property
    def whole(self) -> str:
        """The text, and its pair under it where there is one."""
        return self.text if self.pair is None else f"{self.text}\n{self.pair}"

    @property
    def file(self) -> str:
        """The file that it stands in."""
        return self.place.rpartition(":")[0]


class Problem(NamedTuple):
    """A record that is no row: where, the reason's fixed word (see `records.py`), and the same in full."""

    place: str
    reason: str
    what: str


@dataclass(frozen=True, kw_only=True)
class RowsRead:
    """The rows of some sources. read: records met in each file; dropped: of those, left out for a null text.

    problems: records that are no rows. labels: what read the labels, and the spellings that are none.
    """

    rows: list[Row]
    read: dict[str, int]
    dropped: dict[str, int]
    problems: list[Problem]
    labels: LabelReader

    def refuse(self) -> None:
        """Raise InputError where records are no rows or labels are none: training rows are repaired, not skipped."""
        if self.problems:
            shown = "; ".join(f"{problem.place}: {problem.what}" for problem in self.problems[:SHOWN])
            more = f"; and {len(self.problems) - SHOWN} more" if len(self.problems) > SHOWN else ""
            raise InputError(
                "a row cannot be read" if len(self.problems) == 1 else f"{len(self.problems)} rows cannot be read",
                where=self.problems[0].place,
                found=shown + more,
                do="repair the rows; a null text may also be dropped or read as empty (input.on_null)",
            )
        self.labels.check()


@dataclass(frozen=True, kw_only=True)
class RowReader:
    """What turns records into rows: the input columns, the labels, and the columns that the split names.

    cut: whether these rows are to be cut into splits, so that the split's columns must be there. keep: whether rows
        keep their records.
    """

    input: InputSpec
    labels: LabelReader
    split: SplitPart
    cut: bool = True
    keep: bool = False

    def read(self, sources: tuple[Source, ...], first_id: int) -> RowsRead:
        """Read all sources in order; ids count from `first_id`.

        Raises InputError: what `read_source` raises, and a missing column.
        """
        rows: list[Row] = []
        problems: list[Problem] = []
        read: Counter[str] = Counter()
        dropped: Counter[str] = Counter()
        times = None if self.split.time is None else TimeReader(self.split.time, self.split.time_format)
        for file in (file for source in sources for file in read_source(source)):
            self._require_columns(file)
            for number, record in enumerate(file.records, first_id + read.total()):
                place = f"{file.file}:{record.line}"
                try:
                    rows.append(self._row(number, place, record, times))
                except BadRow as error:
                    if error.reason == "null_text" and self.input.on_null == "drop":
                        dropped[file.file] += 1
                    else:
                        problems.append(Problem(place, error.reason, error.what))
            read[file.file] += len(file.records)
        return RowsRead(rows=rows, read=dict(read), dropped=dict(dropped), problems=problems, labels=self.labels)

    def _row(self, number: int, place: str, record: Record, times: TimeReader | None) -> Row:
        values = record.values
        if values is None:
            raise BadRow(record.reason, record.detail)
        text, pair = self.input.read(values)
        group = None if self.split.group is None else values.get(self.split.group)
        group = "" if group is None else str(group).strip()
        return Row(
            id=number,
            place=place,
            text=text,
            pair=pair,
            labels=self.labels.read(values, place),
            group=group or None,
            time=times.read(values.get(times.column)) if times is not None and times.column in values else None,
            values=values if self.keep else None,
        )

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
        if self.cut and self.split.group is not None:
            yield "data.split.group", self.split.group
        if self.cut and self.split.time is not None:
            yield "data.split.time", self.split.time


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
