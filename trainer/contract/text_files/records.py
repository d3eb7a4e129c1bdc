"""Lines of CSV, TSV and JSON to records that know their line: what training and scoring both read text files with.

Nothing is lost on the way: every line is part of a record, of a broken record with its reason, or blank.
"""

import contextlib
import csv
import json
import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO, Literal

from trainer.contract.errors import InputError
from trainer.contract.text_files.lines import BYTE_ORDER_MARK, MAX_RECORD, OPEN_QUOTE, Lines, TooLongError, open_lines

_ESCAPED_BYTE = re.compile("[\udc00-\udcff]")
# One field may be as long as the longest record (and is bounded by it); the module's own limit is 128 KiB.
csv.field_size_limit(MAX_RECORD + 1)


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a text file is written."""

    format: Literal["csv", "jsonl"] = "csv"
    """Either "csv" (any delimiter) or "jsonl" (one JSON object a line)."""
    delimiter: str = ","
    """Between the fields, for "csv" alone."""
    header: bool = True
    """Whether the first record names the columns; if not, `columns` does. For "csv" alone."""
    columns: tuple[str, ...] | None = None
    """The names for a file without header; None for one that has it."""
    quoting: Literal["minimal", "none"] = "minimal"
    """With "minimal", "..." is one field; with "none", quotes are characters. For "csv" alone."""
    encoding: str = "utf-8"
    """As Python names it."""

    def __post_init__(self) -> None:
        if self.format == "csv" and len(self.delimiter) != 1:
            raise ValueError(f"delimiter: expected one character, found {self.delimiter!r}")
        if self.format == "csv" and self.delimiter in '"\r\n':
            raise ValueError(f"delimiter: {self.delimiter!r} ends a line or quotes a field")
        if self.format == "csv" and self.header == (self.columns is not None):
            raise ValueError("columns: expected exactly where header is false")
        if self.columns is not None and len(set(self.columns)) < len(self.columns):
            raise ValueError(f"columns: a column is named twice in {list(self.columns)}")
        try:
            "".encode(self.encoding)
        except LookupError:
            raise ValueError(f"encoding: unknown encoding {self.encoding!r}") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One record of a file."""

    line: int
    """The line where the record starts, counted from 1."""
    values: dict[str, object] | None
    """Column to value, or None if the record is broken."""
    reason: str = ""
    """Of a broken record: invalid_encoding, broken_csv, field_count, header_again, too_long, broken_json or not_object.
    """
    detail: str = ""
    """The reason in full."""
    raw: str = ""
    """The text of a broken record's lines (its start, if it is too long). U+DC00 + b stands for a byte b that could not
    be decoded.
    """
    size: int = field(default=0, compare=False)
    """The most bytes that its text takes in memory; 0 if the reader does not count them."""
    cells: dict[str, object] | None = field(default=None, compare=False)
    """Of invalid_encoding: what would be the values, with such bytes spelled as in `raw`; else None."""


def read_records(stream: BinaryIO, dialect: Dialect, where: object) -> Generator[Record]:
    """Read a stream in constant memory; broken rows are records with a reason. `where` names the file in errors.

    Raises InputError where there is no header to read, or the file as a whole is not of the encoding. The stream is
    closed with the iterator.
    """
    json_lines = dialect.format == "jsonl"
    opened = open_lines(stream, dialect.encoding, where, json=json_lines)
    with contextlib.closing(opened) as lines, _decoding(dialect, where):
        yield from _read_json(lines) if json_lines else _read_csv(lines, dialect, where)


def read_columns(stream: BinaryIO, dialect: Dialect, where: object) -> tuple[str, ...] | None:
    """The columns of a CSV stream, which is read up to its header; None for JSON, whose rows each name their own.

    Raises InputError as `read_records` does. The stream is closed.
    """
    if dialect.format == "jsonl" or dialect.columns is not None:
        return dialect.columns
    with contextlib.closing(open_lines(stream, dialect.encoding, where)) as lines, _decoding(dialect, where):
        return _header(lines, dialect, where)


@contextlib.contextmanager
def _decoding(dialect: Dialect, where: object) -> Iterator[None]:
    """A decoder that gives up on the whole file, as UTF-16's does without a byte order mark, raises InputError."""
    try:
        yield
    except UnicodeError as error:
        raise InputError(
            f"the file is not {dialect.encoding}",
            where=where,
            found=str(error),
            do="name the file's encoding (utf-16-le or utf-16-be where there is no byte order mark)",
        ) from None


def _read_csv(lines: Lines, dialect: Dialect, where: object) -> Iterator[Record]:
    columns = dialect.columns if dialect.columns is not None else _header(lines, dialect, where)
    reader = _csv_reader(lines, dialect)
    while True:
        lines.next_record()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except (csv.Error, TooLongError) as error:
            # A quote that never closes swallows the lines after it, though only its own line is broken.
            lines.give_back()
            reader = _csv_reader(lines, dialect)
            yield _broken(lines, "too_long" if isinstance(error, TooLongError) else "broken_csv", _plain(error))
            continue
        if not fields and len(columns) == 1:
            # A line feed alone is how some programs write an empty cell, where there is one column.
            fields = [""]
        if not fields:
            continue
        if any(not line.isascii() and _ESCAPED_BYTE.search(line) for line in lines.taken):
            cells: dict[str, object] | None = dict(zip(columns, fields, strict=False))
            cells = cells if len(fields) == len(columns) else None
            yield replace(_broken(lines, "invalid_encoding", f"not {dialect.encoding}"), cells=cells)
        elif len(fields) != len(columns):
            yield _broken(lines, "field_count", f"expected {len(columns)} fields, found {len(fields)}")
        elif len(columns) > 1 and (fields[0].removeprefix(BYTE_ORDER_MARK), *fields[1:]) == columns:
            yield _broken(lines, "header_again", "the header stands here again: were files joined?")
        else:
            yield Record(line=lines.start, values=dict(zip(columns, fields, strict=True)), size=lines.held)


def _csv_reader(lines: Lines, dialect: Dialect) -> Iterator[list[str]]:
    return csv.reader(
        lines,
        delimiter=dialect.delimiter,
        quoting=csv.QUOTE_NONE if dialect.quoting == "none" else csv.QUOTE_MINIMAL,
        strict=True,
    )


def _plain(error: Exception) -> str:
    """What broke a CSV record, without the csv module's advice to programmers."""
    text = str(error)
    if text.startswith("new-line character"):
        return "a carriage return that neither ends the line nor stands in quotes"
    return OPEN_QUOTE if text.startswith("unexpected end") else text


def _header(lines: Lines, dialect: Dialect, where: object) -> tuple[str, ...]:
    reader, columns = _csv_reader(lines, dialect), list[str]()
    try:
        while not columns:
            lines.next_record()
            columns = next(reader)
    except StopIteration:
        raise InputError(
            "the file is empty",
            where=where,
            expected="a header line",
            do="check the path, or leave the file out",
        ) from None
    except (csv.Error, TooLongError) as error:
        raise InputError(
            "the header cannot be read",
            where=f"{where}, line {lines.start}",
            found=_plain(error),
            do="check the delimiter and the quoting; tr '\\r' '\\n' mends lines that end in a carriage return alone",
        ) from None
    if _ESCAPED_BYTE.search("".join(columns)):
        raise InputError(
            f"the header is not {dialect.encoding}", where=f"{where}, line {lines.start}", do="name the file's encoding"
        )
    refuse_repeated(columns, f"{where}, line {lines.start}")
    return tuple(columns)


def refuse_repeated(columns: Iterable[str], where: object) -> None:
    """Raise InputError where two columns have one name: a request for it would get either of them."""
    # Counted once: a line of a million commas, such as a damaged file begins with, must not take hours.
    twice = sorted(column for column, times in Counter(columns).items() if times > 1)
    if twice:
        raise InputError(
            "two columns have one name",
            where=where,
            found=", ".join(map(repr, twice)),
            do="rename one of them in the file",
        )


def _read_json(lines: Lines) -> Iterator[Record]:
    while True:
        lines.next_record()
        try:
            line = next(lines)
        except StopIteration:
            return
        except TooLongError as error:
            yield _broken(lines, "too_long", str(error))
            continue
        if line.strip():
            yield _json_record(lines, line)


def _json_record(lines: Lines, line: str) -> Record:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        values, problem = None, ("broken_json", str(error))
    else:
        problem = ("not_object", f"expected an object with columns as keys, found {type(values).__name__}")
    cells = values if isinstance(values, dict) else None
    if not line.isascii() and _ESCAPED_BYTE.search(line):
        return replace(_broken(lines, "invalid_encoding", "not valid text in the file's encoding"), cells=cells)
    return _broken(lines, *problem) if cells is None else Record(line=lines.start, values=cells, size=lines.held)


def _broken(lines: Lines, reason: str, detail: str) -> Record:
    raw = "".join(lines.taken)
    return Record(line=lines.start, values=None, reason=reason, detail=detail, raw=raw, size=lines.held)
