"""Lines of CSV, TSV and JSON to records that know their line: what training and scoring both read text files with.

Nothing is lost on the way: every line is part of a record, of a broken record with its reason, or blank.
"""

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
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
_TOO_LONG = f"the record is longer than {MAX_RECORD} characters"
# One field may be as long as the longest record (and is bounded by it); the module's own limit is 128 KiB.
csv.field_size_limit(MAX_RECORD + 1)


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a text file is written.

    format: "csv" (any delimiter) or "jsonl" (one JSON object a line).
    header: whether the first record names the columns; where not, `columns` does.
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
        if self.format == "csv" and self.header == (self.columns is not None):
            raise ValueError("columns: expected exactly where header is false")
        try:
            "".encode(self.encoding)
        except LookupError:
            raise ValueError(f"encoding: unknown encoding {self.encoding!r}") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One record of a file. `line` counts from 1 and is where the record starts.

    values: column to value, or None where the record is broken; then `reason` is invalid_encoding, broken_csv,
    field_count, too_long, broken_json or not_object, `detail` says it in full, and `raw` is the text of the lines.
    """

    line: int
    values: dict[str, object] | None
    reason: str = ""
    detail: str = ""
    raw: str = ""


def read_records(stream: BinaryIO, dialect: Dialect, where: object) -> Iterator[Record]:
    """Read a stream in constant memory.

    Raises InputError where there is no header to read; broken rows are records with a reason.
    """
    encoding = "utf-8-sig" if dialect.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else dialect.encoding
    # Undecodable bytes become lone surrogates, which mark the row they stand in and can be written back as they were.
    lines = _Lines(TextIOWrapper(stream, encoding=encoding, errors="surrogateescape", newline="\n"))
    yield from _read_json(lines) if dialect.format == "jsonl" else _read_csv(lines, dialect, where)


class _Lines:
    """Lines of a file for the csv module, which takes as many as a record needs; they can be given back."""

    def __init__(self, file: TextIOWrapper) -> None:
        self._file = file
        self._returned: deque[str] = deque()
        self._size = 0
        self.taken: list[str] = []
        self.start = 1

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
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

    def next_record(self) -> None:
        """Start a record at the next line."""
        self.start += sum(line.endswith("\n") for line in self.taken)
        self.taken, self._size = [], 0

    def give_back(self) -> None:
        """Keep the first line of what was taken and return the others, to be read as records of their own."""
        self._returned.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]


class _TooLongError(Exception):
    """A record is longer than MAX_RECORD characters."""


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
            yield (
                _broken(lines, "too_long", _TOO_LONG)
                if isinstance(error, _TooLongError)
                else _broken(lines, "broken_csv", str(error))
            )
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


def _header(lines: _Lines, dialect: Dialect, where: object) -> tuple[str, ...]:
    try:
        columns = next(_csv_reader(lines, dialect))
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
            where=f"{where}, line 1",
            found=str(error),
            do="check the delimiter and the quoting",
        ) from None
    if _ESCAPED_BYTE.search("".join(columns)):
        raise InputError(
            f"the header is not {dialect.encoding}", where=f"{where}, line 1", do="name the file's encoding"
        )
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise InputError(
            "two columns have one name",
            where=f"{where}, line 1",
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
        except _TooLongError:
            yield _broken(lines, "too_long", _TOO_LONG)
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
