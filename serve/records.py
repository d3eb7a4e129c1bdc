"""Inputs to windows of records, in constant memory: the one step of a row's road that training does in its own way."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from serve.sources import Source
from trainer.contract.errors import InputError
from trainer.contract.records import Record, read_columns, read_records

if TYPE_CHECKING:
    import pyarrow as pa

# A window ends early where its texts together pass this many characters, so that a few huge rows cannot fill memory.
_WINDOW_CHARS = 16 * 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Consecutive records of one source: what is sorted, scored and written together.

    number: the source's place among the inputs. start: records of the source before this window.
    table: all columns of the records with their types, where the source has types (Parquet).
    """

    number: int
    source: Source
    start: int
    records: list[Record]
    table: "pa.Table | None" = None


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where to begin: so many records into an input."""

    number: int = 0
    records: int = 0


def read_windows(
    sources: list[Source], columns: tuple[str, ...], size: int, start: Position | None = None
) -> Iterator[Window]:
    """Every window from a position on. Cuts depend on rows alone, so a later start finds the same cuts.

    columns: those that make the text. Raises InputError where an input cannot be read on.
    """
    begin = start or Position()
    for number, source in enumerate(sources[begin.number :], begin.number):
        skip = begin.records if number == begin.number else 0
        # EOFError: a compressed stream that ends early. pyarrow's errors are ValueErrors and OSErrors.
        try:
            if source.dialect is None:
                from serve.parquet_in import read_parquet

                for offset, records, table in read_parquet(source, columns, (size, _WINDOW_CHARS), skip):
                    yield Window(number=number, source=source, start=offset, records=records, table=table)
            else:
                rows = read_records(source.open(), source.dialect, source.name)
                yield from _text_windows(
                    Window(number=number, source=source, start=skip, records=[]), rows, columns, size
                )
        except (EOFError, OSError, ValueError) as error:
            raise InputError(
                "the input cannot be read to its end",
                where=source.name,
                found=str(error)[:300] or type(error).__name__,
                do="restore the file; rows before the damage are kept for --resume",
            ) from error
        if source.state() != (source.size, source.modified):
            raise InputError(
                "the input changed while it was read",
                where=source.name,
                do="score a copy that nobody writes to, into another output",
            )


def source_columns(source: Source) -> tuple[str, ...] | None:
    """The columns that a source declares; None for JSON lines, where each row has its own."""
    if source.dialect is None:
        from serve.parquet_in import parquet_schema

        return tuple(parquet_schema(source).names)
    with source.open() as stream:
        return read_columns(stream, source.dialect, source.name)


def _text_windows(begin: Window, rows: Iterable[Record], columns: tuple[str, ...], size: int) -> Iterator[Window]:
    offset = begin.start
    records: list[Record] = []
    chars = 0
    for record in islice(rows, offset, None):
        records.append(record)
        chars += len(record.raw) if record.values is None else _chars(record.values, columns)
        if len(records) == size or chars >= _WINDOW_CHARS:
            yield Window(number=begin.number, source=begin.source, start=offset, records=records)
            offset += len(records)
            records, chars = [], 0
    if records:
        yield Window(number=begin.number, source=begin.source, start=offset, records=records)


def _chars(values: dict[str, object], columns: tuple[str, ...]) -> int:
    return sum(len(value) for column in columns if isinstance(value := values.get(column), str))
