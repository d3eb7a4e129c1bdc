"""One training file to records that know their line: CSV, TSV, JSON, JSON lines, Parquet and workbooks, compressed or
not.
"""

import datetime
import json
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from trainer.contract.errors import InputError
from trainer.contract.text_files.formats import FORMATS, split_suffixes
from trainer.contract.text_files.opened import open_rows, parquet_records, seekable
from trainer.contract.text_files.records import Dialect, Record, read_records
from trainer.recipes.data_part import Source

# What openpyxl raises for a workbook that is damaged: it is XML in ZIP.
_DAMAGE = (zipfile.BadZipFile, SyntaxError, KeyError)


def read_file(path: Path, source: Source) -> Iterator[Record]:
    """The records of a file, blank lines left out; broken rows are records with a reason.

    Raises InputError: an unknown format, a source that does not fit the format, a file that is damaged as a whole.
    """
    kind, compression = format_of(path, source.format), split_suffixes(path.name)[1]
    with open_file(path) as stream:
        if kind == "parquet":
            yield from parquet_records(seekable(stream, compression), path)
        elif kind == "xlsx":
            yield from _read_workbook(seekable(stream, compression), source, path)
        elif kind == "json":
            yield from _read_json(stream, source, path)
        else:
            yield from read_records(stream, _dialect(source, kind, path), path)


def format_of(path: Path, given: str | None) -> str:
    """A file's format: the one given, else by its suffix. Raises InputError where that is not known."""
    kind = given or split_suffixes(path.name)[0]
    if kind is None:
        raise InputError(
            f"the format of {path.suffix or path.name!r} files is not known",
            where=path,
            expected=", ".join(FORMATS),
            do="name it with `format:`",
        )
    return kind


def open_file(path: Path) -> AbstractContextManager[BinaryIO]:
    """A file's own bytes, unpacked. Raises InputError where they cannot be read."""
    return open_rows(path, split_suffixes(path.name)[1], _DAMAGE)


def _dialect(source: Source, kind: str, path: Path) -> Dialect:
    try:
        return Dialect(
            format="jsonl" if kind == "jsonl" else "csv",
            delimiter=source.delimiter or ("\t" if kind == "tsv" else ","),
            header=source.header,
            columns=source.columns,
            quoting=source.quoting,
            encoding=source.encoding,
        )
    except ValueError as error:
        raise InputError("the source cannot be read so", where=path, found=str(error), do="mend the recipe") from None


def _read_json(stream: BinaryIO, source: Source, path: Path) -> Iterator[Record]:
    """The objects of one JSON array, each with the line it starts at; JSON lines under this name are read as those."""
    raw = stream.read()
    try:
        # A byte order mark is no part of the first object.
        text = raw.decode(source.encoding).removeprefix("\ufeff")
    except LookupError:
        raise InputError(f"unknown encoding {source.encoding!r}", where=path, do="mend `encoding:`") from None
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError(f"not {source.encoding}", where=f"{path}:{line}", do="name the file's encoding") from None
    if not text.lstrip().startswith("["):
        yield from read_records(BytesIO(raw), _dialect(source, "jsonl", path), path)
        return
    decoder, place, line, counted = json.JSONDecoder(), text.index("[") + 1, 1, 0
    while (place := _skip(text, place)) < len(text) and text[place] != "]":
        line, counted = line + text.count("\n", counted, place), place
        try:
            values, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            raise InputError("the file is not JSON", where=f"{path}:{line}", found=str(error), do="mend it") from None
        good = isinstance(values, dict)
        yield Record(
            line=line,
            values=values if good else None,
            reason="" if good else "not_object",
            detail="" if good else f"expected an object with columns as keys, found {type(values).__name__}",
        )
    if place >= len(text):
        raise InputError("the file is not JSON", where=path, found="the array is never closed", do="mend it")


def _skip(text: str, place: int) -> int:
    """The next place that is not white space or the comma between two objects."""
    while place < len(text) and text[place] in " \t\r\n,":
        place += 1
    return place


def _read_workbook(stream: BinaryIO, source: Source, path: Path) -> Iterator[Record]:
    """Rows of one sheet; a line is the row's number in the sheet."""
    # Here: a third of a second to import, which no other format needs.
    import openpyxl  # noqa: PLC0415

    with warnings.catch_warnings():
        # openpyxl warns of styles and extensions that it leaves out; only cells are read here.
        warnings.simplefilter("ignore")
        book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
        try:
            if source.sheet is not None and source.sheet not in book.sheetnames:
                raise InputError(
                    f"no sheet {source.sheet!r}",
                    where=path,
                    found=", ".join(map(repr, book.sheetnames)),
                    do="mend `sheet:` of this source",
                )
            sheet = book[source.sheet] if source.sheet is not None else book.worksheets[0]
            # Some programs write a size that is too small, and rows beyond it would be lost.
            sheet.reset_dimensions()
            rows = [
                (line, [_cell(value) for value in row])
                for line, row in enumerate(sheet.iter_rows(values_only=True), 1)
                if any(value is not None for value in row)
            ]
        finally:
            book.close()
    yield from _sheet_records(rows, source, path)


def _sheet_records(rows: list[tuple[int, list[object]]], source: Source, path: Path) -> Iterator[Record]:
    if not rows:
        return
    head = list(source.columns or ()) if not source.header else [str(name or "") for name in rows.pop(0)[1]]
    # Columns that are formatted and hold nothing, to the right of the sheet's own.
    while head and not head[-1]:
        head.pop()
    if len(set(head)) < len(head) or not head:
        raise InputError(
            "the sheet's columns need a name each, all different",
            where=path,
            found=", ".join(map(repr, head)),
            do="name them in the sheet, or say `header: false` and give `columns:`",
        )
    for line, row in rows:
        beyond = [value for value in row[len(head) :] if value is not None]
        cells = row[: len(head)] + [None] * (len(head) - len(row))
        yield Record(
            line=line,
            values=None if beyond else dict(zip(head, cells, strict=True)),
            reason="field_count" if beyond else "",
            detail=f"expected {len(head)} cells, found {len(row)}" if beyond else "",
        )


def _cell(value: object) -> object:
    """A cell as text, which is what it looks like in the sheet; booleans stay, for labels."""
    if value is None or isinstance(value, str | bool):
        return value
    # A workbook keeps 3 as 3.0.
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if isinstance(value, datetime.datetime | datetime.date | datetime.time) else str(value)
