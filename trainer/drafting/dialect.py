"""How a file is written: encoding, delimiter, quoting, header. Guesses are tried with training's own reader."""

import csv
import dataclasses
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer.contract.errors import ClassifactError, InputError
from trainer.contract.text_files.records import Record, refuse_repeated
from trainer.data.files.file_formats import format_of, open_file, read_file
from trainer.recipes.data_part import Source

_DELIMITERS = ",;\t|"
_SAMPLE = 200
_HEADER_CELL = 60


@dataclass(frozen=True, kw_only=True)
class FileLook:
    """A file and how to read it."""

    path: Path
    source: Source
    records: list[Record]
    """All records, broken ones too."""
    why: list[str]
    """A sentence for each guess."""
    named: bool = True
    """Whether the file itself names its columns."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that a record has."""
        kinds = dict.fromkeys(tuple(record.values) for record in self.records if record.values is not None)
        return tuple(dict.fromkeys(column for kind in kinds for column in kind))

    def cells(self, column: str) -> list[object]:
        """A column's values, in order, of the records that have it."""
        return [record.values[column] for record in self.records if record.values and column in record.values]


def look(path: Path) -> FileLook:
    """Find out how a file is written. Raises InputError where it holds no rows, or what `read_file` raises."""
    kind = format_of(path, None)
    source, why = Source(files=(str(path),)), list[str]()
    if kind in ("csv", "tsv", "jsonl", "json"):
        source, why = _encoded(path, source)
    named = True
    if kind in ("csv", "tsv"):
        source, more, named = _table(path, source, kind)
        why += more
    records = list(read_file(path, source))
    if not records:
        raise InputError("the file holds no rows", where=path, do="leave it out")
    return FileLook(path=path, source=source, records=records, why=why, named=named)


def _encoded(path: Path, source: Source) -> tuple[Source, list[str]]:
    """The encoding in which the whole file can be read; utf-8 first, since other text is almost never valid UTF-8."""
    with open_file(path) as stream:
        content = stream.read()
    marks = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    if content[:2] in marks:
        return dataclasses.replace(source, encoding="utf-16"), ["utf-16, by its byte order mark"]
    # cp1252 leaves a few bytes without a meaning, latin-1 none: it always reads, so it is the last.
    for encoding in ("utf-8", "cp1252", "latin-1"):
        try:
            content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding == "utf-8":
            return source, []
        return dataclasses.replace(source, encoding=encoding), [
            f"not UTF-8; {encoding} is a guess: look at its accents"
        ]
    return source, []


def _table(path: Path, source: Source, kind: str) -> tuple[Source, list[str], bool]:
    """Delimiter, quoting and header of a table, each tried on the whole file: the reading with the least damage."""
    usual = "\t" if kind == "tsv" else ","
    tried: list[tuple[int, int, Source]] = []
    orders = itertools.product((usual, *(mark for mark in _DELIMITERS if mark != usual)), ("minimal", "none"))
    for order, (delimiter, quoting) in enumerate(orders):
        damage = _damage(path, source, delimiter, quoting)  # type: ignore[arg-type]  # of the product above
        if damage is not None:
            given = None if delimiter == usual else delimiter
            reading = dataclasses.replace(source, delimiter=given, quoting=quoting)  # type: ignore[arg-type]
            # Of equal damage the usual delimiter wins, with quotes before without: `min` looks at the order next.
            tried.append((damage, order, reading))
    if not tried:
        # One column of text: nothing parts it, and its own header is all there is.
        return source, [], True
    best = min(tried)[2]
    why = [f"delimiter {best.delimiter!r}: it gives every line as many fields"] if best.delimiter else []
    if best.quoting == "none":
        why.append("quoting none: read as quotes, stray double quotes would swallow lines")
    first, rest = _first_lines(path, best, usual)
    if _is_header(first, rest):
        # Taken for a row, such a header would be one more label; and training refuses it.
        refuse_repeated(tuple(cell.strip() for cell in first), path)
        return best, why, True
    names = tuple(f"column_{number}" for number in range(1, len(first) + 1))
    why.append("no header: the first line looks like a row")
    return dataclasses.replace(best, header=False, columns=names), why, False


def _damage(path: Path, source: Source, delimiter: str, quoting: Literal["minimal", "none"]) -> int | None:
    """Records that this reading breaks or joins; None where it finds one column only."""
    shown = dataclasses.replace(source, delimiter=delimiter, quoting=quoting)
    first, _ = _first_lines(path, shown, delimiter)
    if len(first) < 2:
        return None
    names = tuple(map(str, range(len(first))))
    try:
        records = list(read_file(path, dataclasses.replace(shown, header=False, columns=names)))
    except ClassifactError:
        return None
    return sum(record.values is None or _swallowed(record, delimiter, len(first)) for record in records)


def _swallowed(record: Record, delimiter: str, columns: int) -> bool:
    """Whether a cell holds a line that is a row of its own, by its number of fields."""
    cells = [str(cell) for cell in (record.values or {}).values() if cell is not None and "\n" in str(cell)]
    return any(line.count(delimiter) == columns - 1 for cell in cells for line in cell.split("\n")[1:])


def _first_lines(path: Path, source: Source, usual: str) -> tuple[list[str], list[list[str]]]:
    """The fields of the first line, and those of some lines after it."""
    with open_file(path) as stream:
        text = stream.read(1 << 20).decode("utf-8-sig" if source.encoding == "utf-8" else source.encoding, "ignore")
    lines = csv.reader(
        text.splitlines(keepends=True),
        delimiter=source.delimiter or usual,
        quoting=csv.QUOTE_NONE if source.quoting == "none" else csv.QUOTE_MINIMAL,
    )
    rows: Iterable[list[str]] = itertools.islice((row for row in lines if row), _SAMPLE)
    try:
        first, *rest = rows
    except (csv.Error, ValueError):
        return [], []
    return first, rest


def _is_header(first: list[str], rest: list[list[str]]) -> bool:
    """Whether the first line names columns: short names that no other line repeats, and no numbers."""
    named = [cell.strip() for cell in first]
    # A saved index leaves its own name empty.
    filled = [cell for cell in named if cell]
    if len(filled) < len(named) - 1 or not filled or any(_number(cell) or len(cell) > _HEADER_CELL for cell in filled):
        return False
    return not any(cell in {row[place].strip() for row in rest if place < len(row)} for place, cell in enumerate(named))


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
