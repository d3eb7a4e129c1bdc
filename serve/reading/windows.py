"""Inputs to windows of records, in constant memory: the one step of a row's road that training does in its own way."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING, TypedDict

from serve.reading.sources import InputSource, undamaged
from trainer.contract.errors import InputError
from trainer.contract.text_files.records import Dialect, Record, read_records

if TYPE_CHECKING:
    import pyarrow as pa

# A window ends early where its rows, with all their columns, pass this many bytes: huge rows must not fill memory.
_WINDOW_BYTES = 16 * 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Consecutive records of one source: what is sorted, scored and written together."""

    ordinal: int
    """The window's place among all windows of the job."""
    number: int
    """The source's place among the inputs."""
    source: InputSource
    start: int
    """Records of the source before this window."""
    records: list[Record]
    table: "pa.Table | None" = None
    """All columns of the records with their types, where the source has types (Parquet)."""
    share: float | None = None
    """How much of the source is read with this window, 0 to 1; None where that is not known."""


@dataclass(frozen=True, kw_only=True)
class InputPosition:
    """Where to begin: so many records into an input, after so many windows of all inputs."""

    number: int = 0
    records: int = 0
    windows: int = 0


def read_windows(
    sources: list[InputSource], columns: tuple[str, ...], size: int, start: InputPosition | None = None
) -> Iterator[Window]:
    """Every window from a position on. Cuts depend on rows alone, so a later start finds the same cuts.

    columns: those that make the text. Raises InputError where an input cannot be read on.
    """
    begin = start or InputPosition()
    ordinals = count(begin.windows)
    for number, source in enumerate(sources[begin.number :], begin.number):
        skip = begin.records if number == begin.number else 0
        with undamaged(source, "restore the file; rows before the damage are kept for --resume"):
            if source.dialect is None:
                from serve.reading.parquet_in import read_parquet

                for piece in read_parquet(source, columns, (size, _WINDOW_BYTES), skip):
                    yield Window(ordinal=next(ordinals), number=number, source=source, **piece)
            else:
                for part in _text_windows(source, source.dialect, (size, skip)):
                    yield Window(ordinal=next(ordinals), number=number, source=source, **part)
        # A file that grew or was replaced has given rows of two states, which no resume would find again.
        if not _unchanged(source):
            raise InputError(
                "the input changed while it was read",
                where=source.name,
                do="score a copy that nobody writes to, into another output",
            )


def _unchanged(source: InputSource) -> bool:
    try:
        return source.state() == (source.size, source.modified)
    except OSError:
        # It was removed.
        return False


class _Part(TypedDict):
    """What a window holds, before it knows its source."""

    start: int
    records: list[Record]
    table: "pa.Table | None"
    share: float | None


def _text_windows(source: InputSource, dialect: Dialect, size_skip: tuple[int, int]) -> Iterator[_Part]:
    size, offset = size_skip
    raw = source.open_raw()
    records: list[Record] = []
    held = 0
    with closing(read_records(source.unpacked(raw), dialect, source.name)) as whole:
        # Skipped rows are read all the same: lines of a text file are found by reading.
        for record in islice(whole, offset, source.limit):
            records.append(record)
            held += record.size
            if len(records) == size or held >= _WINDOW_BYTES:
                yield _Part(start=offset, records=records, table=None, share=source.share(raw))
                offset += len(records)
                records, held = [], 0
        if records:
            yield _Part(start=offset, records=records, table=None, share=1.0)
