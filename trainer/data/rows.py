"""Labelled files to rows: every row accounted for, every problem of the files at once."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from trainer.contract.errors import BadRow, InputError, nearest
from trainer.contract.inputs import InputSpec
from trainer.contract.system.progress import Progress
from trainer.contract.text_files.looks import delimiter_hint
from trainer.contract.text_files.records import Record
from trainer.data.files.label_cells import LabelReader
from trainer.data.files.readers import FileRecords, read_source
from trainer.data.splitting.times import TimeReader
from trainer.recipes.data_part import Source, SplitPart

PROBLEMS_SHOWN = 5
# Rows between two looks at the clock.
_TOLD = 1024


class Row(NamedTuple):
    """One row."""

    id: int
    """Its place among all records that the recipe's data names, dropped ones counted too."""
    place: str
    text: str
    pair: str | None
    labels: tuple[str, ...]
    group: str | None = None
    """Of the column that the split names; None where it names none or the cell is empty."""
    time: float | None = None
    """What orders it by the split's time column: seconds since 1970, or the number that stands there. None likewise."""
    values: dict[str, object] | None = None
    """The whole record, where the reader keeps it."""
    kept: tuple[str, ...] = ()
    """The cells of the columns that the reader keeps, as text."""

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


@dataclass
class Problems:
    """Records that are no rows: how many for each reason, and the first few of each."""

    counts: Counter[str] = field(default_factory=Counter)
    shown: list[Problem] = field(default_factory=list)

    def __len__(self) -> int:
        return self.counts.total()

    def add(self, problem: Problem) -> None:
        """Note one: a file that is wrong in every row must not fill the memory with it."""
        self.counts[problem.reason] += 1
        if self.counts[problem.reason] <= PROBLEMS_SHOWN:
            self.shown.append(problem)

    def of(self, reason: str) -> list[Problem]:
        """The first few of one reason."""
        return [problem for problem in self.shown if problem.reason == reason]


@dataclass(frozen=True, kw_only=True)
class RowsRead:
    """What reading some sources came to."""

    rows: int
    """How many rows there are."""
    read: dict[str, int]
    """Records met in each file."""
    dropped: dict[str, int]
    """Records of each file that were left out for a null text."""
    problems: Problems
    """Records that are no rows."""
    labels: LabelReader
    """What read the labels, and the spellings that are none."""

    def refuse(self) -> None:
        """Raise InputError if a record cannot be read as a row or a label is unknown: training rows are repaired, not
        skipped.
        """
        if self.problems:
            first = self.problems.shown
            shown = "; ".join(f"{problem.place}: {problem.what}" for problem in first[:PROBLEMS_SHOWN])
            more = f"; and {len(self.problems) - PROBLEMS_SHOWN} more" if len(self.problems) > PROBLEMS_SHOWN else ""
            raise InputError(
                "a row cannot be read" if len(self.problems) == 1 else f"{len(self.problems)} rows cannot be read",
                where=first[0].place,
                found=shown + more,
                do="repair the rows; a null text may also be dropped or read as empty (input.on_null)",
            )
        self.labels.check()


@dataclass(frozen=True, kw_only=True)
class RowReader:
    """What turns records into rows: the input columns, the labels, and the columns that the split names."""

    input: InputSpec
    labels: LabelReader
    split: SplitPart
    cut: bool = True
    """Whether these rows are to be cut into splits, so that the split's columns must be there."""
    keep: bool = False
    """Whether rows keep their records."""
    kept: tuple[str, ...] = ()
    """Columns whose cells rows keep."""
    required: tuple[str, ...] = ()
    """Those of them, named under `evaluation`, that must be there."""

    def read(
        self, sources: tuple[Source, ...], first_id: int, take: Callable[[Row], None], progress: Progress
    ) -> RowsRead:
        """Read all sources in order and hand each row to `take`; ids count from `first_id`.

        Raises InputError: what `read_source` raises, and a missing column.
        """
        rows = 0
        problems = Problems()
        read: Counter[str] = Counter()
        dropped: Counter[str] = Counter()
        times = None if self.split.time is None else TimeReader(self.split.time, self.split.time_format)
        with progress.step("reading", least=1.0) as tick:
            for file in (file for source in sources for file in read_source(source, progress.say)):
                for record in self._known_columns(file):
                    place = f"{file.file}:{record.line}"
                    try:
                        take(self._row(first_id + read.total(), place, record, times))
                        rows += 1
                    except BadRow as error:
                        if error.reason == "null_text" and self.input.on_null == "drop":
                            dropped[file.file] += 1
                        else:
                            problems.add(Problem(place, error.reason, error.what))
                    # Also where it is no row: ids are places among all records, so a row that is mended changes no
                    # other's.
                    read[file.file] += 1
                    # Asking the clock for each row would cost as much as a row does.
                    if rows % _TOLD == 0:
                        tick(_TOLD)
            tick(rows % _TOLD)
        return RowsRead(rows=rows, read=dict(read), dropped=dict(dropped), problems=problems, labels=self.labels)

    def _known_columns(self, file: FileRecords) -> Iterator[Record]:
        """The records of a file. Raises InputError where they lack a column."""
        # Objects of JSON may each have other columns; records of a table have the same, and are one key here.
        kinds: dict[tuple[str, ...], None] = {}
        for record in file.records:
            if record.values is not None and (kind := tuple(record.values)) not in kinds:
                kinds[kind] = None
                if file.tabular:
                    self._require_columns(file.file, kind)
            yield record
        self._require_columns(file.file, tuple(dict.fromkeys(column for kind in kinds for column in kind)))

    def _row(self, number: int, place: str, record: Record, times: TimeReader | None) -> Row:
        values = record.values
        if values is None:
            raise BadRow(record.reason, record.detail)
        text, pair = self.input.read(values)
        # Of numbers that were written as floats too. Two groups too many in one do no harm, one in two splits does.
        group = "" if self.split.group is None else _cell(values.get(self.split.group)).removesuffix(".0")
        return Row(
            id=number,
            place=place,
            text=text,
            pair=pair,
            labels=self.labels.read(values, place),
            group=group or None,
            time=None if times is None else self._time(values, times),
            values=values if self.keep else None,
            kept=tuple(_cell(values.get(column)) for column in self.kept),
        )

    def _time(self, values: dict[str, object], times: TimeReader) -> float | None:
        """Raises BadRow where rows are to be cut by a time that is not there. Files given for evaluation need none."""
        try:
            return times.read(values.get(times.column))
        except BadRow:
            if self.cut:
                raise
            return None

    def _require_columns(self, file: str, columns: tuple[str, ...]) -> None:
        if not columns:
            return
        for key, column in self._columns():
            if column not in columns:
                raise InputError(
                    f"no column {column!r}",
                    where=file,
                    found=", ".join(map(repr, columns)),
                    expected=f"the column that {key} names",
                    do=delimiter_hint(columns, (name for _, name in self._columns()))
                    or nearest(column, columns)
                    or f"name the column under {key}, or `rename:` the file's",
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
        yield from (("evaluation", column) for column in self.required)


def _cell(value: object) -> str:
    """A cell as text; nothing for a missing one, which tables of numbers spell NaN. A column of whole numbers becomes
    one of floats where a cell is missing: 7.0 is what 7 is in another file.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
