"""The columns of the inputs, looked at once: by header, by schema, or, of JSON lines, by a pass over the rows."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from serve.reading.sources import InputSource, undamaged
from trainer.contract.text_files.records import read_columns, read_records

if TYPE_CHECKING:
    import pyarrow as pa

# Objects at a store that are looked at side by side.
_THREADS = 16
_EXACT = 2**53
# Columns that JSON lines may bring to a table. Keys that are ids, say, are as many as the rows: they would fill memory,
# and no reader takes such a table.
MAX_COLUMNS = 1000
# Records between two looks at how far the pass is.
_LOOK = 4096
Look = Callable[[int, int, float | None], None]
"""Is told of rows so far, the input's number, and how much of it is read (0 to 1; None where that is not known)."""


@dataclass(frozen=True, kw_only=True)
class SourceColumns:
    """What a source declares."""

    names: tuple[str, ...] | None
    """In order; None for JSON lines, where each row has its own."""
    schema: "pa.Schema | None" = None
    """Arrow's, where the source has types."""


# Layout, types and the check of columns each ask: the end of a Parquet file at a store is fetched once.
@functools.lru_cache(maxsize=100_000)
def source_columns(source: InputSource) -> SourceColumns:
    """The columns that a source declares. Raises InputError where it cannot be read or two have one name."""
    with undamaged(source):
        if source.dialect is None:
            from serve.reading.parquet_in import parquet_schema

            schema = parquet_schema(source)
            return SourceColumns(names=tuple(schema.names), schema=schema)
        if source.dialect.format == "jsonl":
            return SourceColumns(names=None)
        with source.open() as stream:
            return SourceColumns(names=read_columns(stream, source.dialect, source.name))


def declared_columns(sources: Sequence[InputSource]) -> dict[InputSource, SourceColumns]:
    """The columns of every source that can be read twice; those at URLs are asked for side by side."""
    again = [source for source in sources if not source.once]
    if not any("://" in source.name for source in again):
        return {source: source_columns(source) for source in again}
    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(zip(again, pool.map(source_columns, again), strict=True))


@dataclass
class Kinds:
    """What the values of each column were, in JSON rows: names in order of appearance to a `Kind`."""

    keep: tuple[str, ...] = ()
    """Columns that are wanted, however late they come."""
    found: "dict[str, Kind]" = field(default_factory=dict)
    more: bool = False
    """Whether there are others: MAX_COLUMNS left no room, or no table can have such a name."""

    def add(self, values: Mapping[str, object]) -> None:
        """Look at a row."""
        for name, value in values.items():
            kind = self.found.get(name)
            if kind is None:
                if (len(self.found) >= MAX_COLUMNS and name not in self.keep) or not _is_name(name):
                    self.more = True
                    continue
                kind = self.found[name] = Kind()
            kind.add(value)

    def named(self) -> dict[str, str]:
        """Column to "text", "int", "float" or "bool"."""
        return {name: kind.name for name, kind in self.found.items()}


@dataclass(slots=True)
class Kind:
    """The narrowest kind that holds every value seen."""

    bools: bool = False
    ints: bool = False
    floats: bool = False
    other: bool = False
    """A value that is no number."""
    wide: bool = False
    """A whole number beyond 64 bits."""
    exact: bool = True
    """Whether every whole number is one of floating point, too."""

    def add(self, value: object) -> None:
        """Look at a value; null is of every kind."""
        if value is None:
            return
        if isinstance(value, bool):
            self.bools = True
        elif isinstance(value, int):
            self.ints = True
            if not -_EXACT <= value <= _EXACT:
                self.exact = self.exact and is_float(value)
                self.wide = self.wide or not -(2**63) <= value < 2**63
        elif isinstance(value, float):
            self.floats = True
        else:
            self.other = True

    @property
    def name(self) -> str:
        """ "bool", "int" or "float" where all values are; whole numbers widen where no digit is lost; else "text"."""
        if self.other or (self.bools and (self.ints or self.floats)):
            return "text"
        if self.bools:
            return "bool"
        if self.floats:
            return "float" if self.exact else "text"
        return "int" if self.ints and not self.wide else "text"


def json_kinds(sources: Sequence[InputSource], look: Look) -> Kinds:
    """A pass over the rows of JSON lines that can be read twice. Raises InputError where one is damaged."""
    kinds, rows = Kinds(keep=sources[0].keep or ()), 0
    for number, source in enumerate(sources):
        if source.dialect is None or source.dialect.format != "jsonl" or source.once:
            continue
        raw = source.open_raw()
        stream = source.unpacked(raw)
        with undamaged(source), closing(read_records(stream, source.dialect, source.name)) as records:
            for record in islice(records, source.limit):
                kinds.add(record.values or record.cells or {})
                rows += 1
                if rows % _LOOK == 0:
                    look(rows, number, source.share(raw))
    return kinds


def _is_name(name: str) -> bool:
    """Whether a key can name a column: half of a surrogate pair has no place in UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_float(value: int) -> bool:
    """Whether a whole number keeps all its digits as floating point."""
    try:
        return int(float(value)) == value
    except OverflowError:
        return False


def row_columns(records: Iterable[Any]) -> dict[str, None]:
    """The columns of records, in order of appearance."""
    found: dict[str, None] = {}
    for record in records:
        found.update(dict.fromkeys(record.values or record.cells or ()))
    return found
