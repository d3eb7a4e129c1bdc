"""Lines of CSV, TSV and JSON to records that know their line: what training and scoring both read text files with.

Nothing is lost on the way: every line is part of a record, of a broken record with its reason, or blank.
"""

import codecs
import contextlib
import csv
import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from typing import BinaryIO, Literal

from trainer.contract.errors import InputError

MAX_RECORD = 16 * 2**20
_OPEN_QUOTE = "a quote is opened and never closed"
_ESCAPED_BYTE = re.compile("[\udc00-\udcff]")
# One field may be as long as the longest record (and is bounded by it); the module's own limit is 128 KiB.
csv.field_size_limit(MAX_RECORD + 1)


def _escape_bytes(error: UnicodeError) -> tuple[str, int]:
    """Bytes that are no text become lone surrogates, U+DC00 plus the byte, which no decoder returns otherwise.

    Python's own "surrogateescape" does so for bytes from 128 up and fails on the others, which UTF-16 can contain.
    """
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error("classifact-escape", _escape_bytes)


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a text file is written.

    format: "csv" (any delimiter) or "jsonl" (one JSON object a line).
    delimiter, quoting, header, columns: of "csv" only. header: whether the first record names the columns; where not,
        `columns` does.
    quoting: "minimal" reads "..." as one field, "none" reads quotes as characters.
    """

    format: Literal["csv", "jsonl"] = "csv"
    delimiter: str = ","
    header: bool = True
    columns: tuple[str, ...] | None = None
    quoting: Literal["minimal", "none"] = "minimal"
    encoding: str = "utf-8"

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
    """One record of a file. `line` counts from 1 and is where the record starts.

    values: column to value, or None where the record is broken; then `reason` is invalid_encoding, broken_csv,
    field_count, too_long, broken_json or not_object, `detail` says it in full, and `raw` is the text of the lines
    (of a record that is too long, its start). In `raw`, U+DC00 + b stands for a byte b that could not be decoded.
    """

    line: int
    values: dict[str, object] | None
    reason: str = ""
    detail: str = ""
    raw: str = ""


def read_records(stream: BinaryIO, dialect: Dialect, where: object) -> Iterator[Record]:
    """Read a stream in constant memory; broken rows are records with a reason. `where` names the file in errors.

    Raises InputError where there is no header to read, or the file as a whole is not of the encoding. The stream is
    closed with the iterator.
    """
    with contextlib.closing(_open(stream, dialect)) as lines, _decoding(dialect, where):
        yield from _read_json(lines) if dialect.format == "jsonl" else _read_csv(lines, dialect, where)


def read_columns(stream: BinaryIO, dialect: Dialect, where: object) -> tuple[str, ...] | None:
    """The columns of a CSV stream, which is read up to its header; None for JSON, whose rows each name their own.

    Raises InputError as `read_records` does. The stream is closed.
    """
    if dialect.format == "jsonl" or dialect.columns is not None:
        return dialect.columns
    with contextlib.closing(_open(stream, dialect)) as lines, _decoding(dialect, where):
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


def _open(stream: BinaryIO, dialect: Dialect) -> "_Lines":
    # A byte order mark is no part of the first column's name.
    encoding = "utf-8-sig" if codecs.lookup(dialect.encoding).name == "utf-8" else dialect.encoding
    # Undecodable bytes mark the row they stand in, and no other.
    return _Lines(TextIOWrapper(stream, encoding=encoding, errors="classifact-escape", newline="\n"))


class _Lines:
    """Lines of a file for the csv module, which takes as many as a record needs; they can be given back."""

    def __init__(self, file: TextIOWrapper) -> None:
        self._file = file
        self._returned: deque[str] = deque()
        self._size = 0
        self._alone = 0
        self.taken: list[str] = []
        self.start = 1

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if self.taken and self._alone > 0:
            raise csv.Error(_OPEN_QUOTE)
        line = self._returned.popleft() if self._returned else self._read_line()
        if not line:
            raise StopIteration
        self.taken.append(line)
        # A record is bounded, so a quote that is never closed cannot pull the whole file into memory.
        self._size += len(line)
        if self._size > MAX_RECORD:
            raise _TooLongError
        return line

    def _read_line(self) -> str:
        """The next line; of one that is too long only the start is kept, and one character more than a record may
        have.
        """
        line = rest = self._file.readline(MAX_RECORD + 1)
        while len(rest) > MAX_RECORD and not rest.endswith("\n"):
            rest = self._file.readline(MAX_RECORD + 1)
        return line if line is rest or line.endswith("\n") else line[:MAX_RECORD] + "\n"

    def close(self) -> None:
        """Close the file: left to the garbage collector, it would be called a leak."""
        self._file.close()

    def next_record(self) -> None:
        """Start a record at the next line."""
        self.start += len(self.taken)
        self._alone -= len(self.taken)
        self.taken, self._size = [], 0

    def give_back(self) -> None:
        """Keep the first line of what was taken and return the others, to be read as records of their own.

        All but the last of them must be whole records: a quote that one of them leaves open would meet the same end,
        and trying each would take a time that grows with the square of the lines.
        """
        self._alone = max(self._alone, len(self.taken) - 1)
        self._returned.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]


class _TooLongError(Exception):
    """A record is longer than MAX_RECORD characters."""

    def __str__(self) -> str:
        return f"the record is longer than {MAX_RECORD} characters"


def _read_csv(lines: _Lines, dialect: Dialect, where: object) -> Iterator[Record]:
    columns = dialect.columns if dialect.columns is not None else _header(lines, dialect, where)
    reader = _csv_reader(lines, dialect)
    while True:
        lines.next_record()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except (csv.Error, _TooLongError) as error:
            # A quote that opens and never closes takes the lines after it along: only its own line is broken.
            lines.give_back()
            reader = _csv_reader(lines, dialect)
            yield _broken(lines, "too_long" if isinstance(error, _TooLongError) else "broken_csv", _plain(error))
            continue
        if not fields:
            continue
        if any(not line.isascii() and _ESCAPED_BYTE.search(line) for line in lines.taken):
            yield _broken(lines, "invalid_encoding", f"not {dialect.encoding}")
        elif len(fields) != len(columns):
            yield _broken(lines, "field_count", f"expected {len(columns)} fields, found {len(fields)}")
        else:
            yield Record(line=lines.start, values=dict(zip(columns, fields, strict=True)))


def _csv_reader(lines: _Lines, dialect: Dialect) -> Iterator[list[str]]:
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
    return _OPEN_QUOTE if text.startswith("unexpected end") else text


def _header(lines: _Lines, dialect: Dialect, where: object) -> tuple[str, ...]:
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
            do="check the path, or say `header: false` and name the columns",
        ) from None
    except (csv.Error, _TooLongError) as error:
        raise InputError(
            "the header cannot be read",
            where=f"{where}, line {lines.start}",
            found=_plain(error),
            do="check the delimiter and the quoting",
        ) from None
    if _ESCAPED_BYTE.search("".join(columns)):
        raise InputError(
            f"the header is not {dialect.encoding}", where=f"{where}, line {lines.start}", do="name the file's encoding"
        )
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise InputError(
            "two columns have one name",
            where=f"{where}, line {lines.start}",
            found=", ".join(map(repr, twice)),
            do="rename one of them in the file",
        )
    return tuple(columns)


def _read_json(lines: _Lines) -> Iterator[Record]:
    while True:
        lines.next_record()
        try:
            line = next(lines)
        except StopIteration:
            return
        except _TooLongError as error:
            yield _broken(lines, "too_long", str(error))
            continue
        if line.strip():
            yield _json_record(lines, line)


def _json_record(lines: _Lines, line: str) -> Record:
    if not line.isascii() and _ESCAPED_BYTE.search(line):
        return _broken(lines, "invalid_encoding", "not valid text in the file's encoding")
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        return _broken(lines, "broken_json", str(error))
    if not isinstance(values, dict):
        return _broken(lines, "not_object", f"expected an object with columns as keys, found {type(values).__name__}")
    return Record(line=lines.start, values=values)


def _broken(lines: _Lines, reason: str, detail: str) -> Record:
    return Record(line=lines.start, values=None, reason=reason, detail=detail, raw="".join(lines.taken))
