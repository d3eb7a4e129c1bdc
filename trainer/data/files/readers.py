"""The sources of a recipe to records under the recipe's column names."""

import glob
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.contract.errors import InputError, nearest
from trainer.contract.text_files.formats import is_hidden
from trainer.contract.text_files.records import Record
from trainer.data.files.file_formats import format_of, read_file
from trainer.data.files.hub_rows import read_dataset
from trainer.recipes.data_part import Source


@dataclass(frozen=True, kw_only=True)
class FileRecords:
    """The records of one file under the recipe's column names, broken ones among them, to be read once."""

    file: str
    records: Iterator[Record]
    tabular: bool
    """Whether all records have the same columns; objects of JSON need not."""


def read_source(source: Source, say: Callable[[str], None] = lambda _: None) -> Iterator[FileRecords]:
    """Read the files of a source in order. say: what was left out.

    Raises InputError: what `read_file` and `read_dataset` raise, a missing file, a glob that matches nothing, a file
    without rows.
    """
    if source.dataset is not None:
        name = f"{source.dataset}[{source.split}]"
        yield _file(name, read_dataset(source), source, tabular=True)
    for name in files_of(source, say):
        tabular = format_of(Path(name), source.format) not in ("json", "jsonl")
        yield _file(name, read_file(Path(name), source), source, tabular=tabular)


def _file(name: str, records: Iterator[Record], source: Source, *, tabular: bool) -> FileRecords:
    records = _some(records, name)
    if source.rename or source.constant:
        records = _renamed(records, source, name, tabular=tabular)
    return FileRecords(file=name, records=records, tabular=tabular)


def _some(records: Iterator[Record], name: str) -> Iterator[Record]:
    """The records. Raises InputError where there are none."""
    first = next(records, None)
    if first is None:
        raise InputError("the file holds no rows", where=name, do="check the path, or take the file out of the recipe")
    yield first
    yield from records


def seen(source: Source) -> list[list[str | int]]:
    """The source's files as they are now: name, size and time of each. A name on the hub stands for itself."""
    folder = Path(source.dataset) if source.dataset is not None else None
    inside = [] if folder is None or not folder.is_dir() else [path for path in folder.rglob("*") if path.is_file()]
    files = sorted(map(str, inside)) if source.dataset is not None else files_of(source)
    return [[name, status.st_size, status.st_mtime_ns] for name in files for status in [Path(name).stat()]]


def files_of(source: Source, say: Callable[[str], None] = lambda _: None) -> list[str]:
    """The files that a source names, in order. say: what a pattern matched and was left out."""
    found: list[str] = []
    for name in source.files:
        # A file whose name holds brackets or stars is itself; anything else with them is a pattern.
        path = Path(name)
        matches = [path] if path.exists() else sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        hidden = [] if path.exists() else [match for match in matches if _is_hidden(match, path)]
        if hidden:
            say(
                f"left out, their names or folders begin with . or _: {', '.join(map(str, hidden[:3]))} ({len(hidden)})"
            )
        matches = [match for match in matches if not match.is_dir() and match not in hidden]
        if not matches:
            pattern = glob.has_magic(name)
            raise InputError(
                "no file matches" if pattern else "there is no such file",
                where=name,
                do=_neighbours(name) or "check the path; names are relative to the recipe",
            )
        found += map(str, matches)
    _refuse_twice(found)
    return found


def _is_hidden(match: Path, pattern: Path) -> bool:
    """Whether a pattern, which names nothing hidden itself, met what programs keep beside data: checkpoints, caches."""
    plain = next((place for place, part in enumerate(pattern.parts) if glob.has_magic(part)), len(pattern.parts))
    return is_hidden(Path(*match.parts[plain:]), str(Path(*pattern.parts[plain:])))


def _refuse_twice(files: list[str]) -> None:
    """Names and globs that overlap would double rows without a word."""
    if len(set(files)) < len(files):
        raise InputError(
            "a file is named twice",
            where=next(name for name in files if files.count(name) > 1),
            do="take it out of `files:`, or make the pattern narrower",
        )


def _neighbours(name: str) -> str:
    """What lies where the file was looked for: a misspelt name is seen at once."""
    folder = Path(name).parent
    if glob.has_magic(str(folder)) or not folder.is_dir():
        return ""
    names = sorted(os.listdir(folder))
    return f"the folder holds {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else ""


def _renamed(records: Iterator[Record], source: Source, file: str, *, tabular: bool) -> Iterator[Record]:
    named: dict[tuple[str, ...], list[str]] = {}
    for record in records:
        if record.values is None:
            yield record
            continue
        # Names are looked up once for each set of columns: a table has one, JSON lines a few.
        columns = tuple(record.values)
        if columns not in named:
            named[columns] = [source.rename.get(name, name) for name in columns]
            _refuse_same([*named[columns], *source.constant], columns, file)
            if tabular:
                _refuse_missing(source, columns, file)
        values = dict(zip(named[columns], record.values.values(), strict=True)) | source.constant
        yield Record(line=record.line, values=values)
    _refuse_missing(source, tuple(dict.fromkeys(column for columns in named for column in columns)), file)


def _refuse_missing(source: Source, columns: tuple[str, ...], file: str) -> None:
    missing = [column for column in source.rename if column not in columns]
    if missing and columns:
        raise InputError(
            f"no column {missing[0]!r} to rename",
            where=file,
            found=", ".join(map(repr, columns)),
            do=nearest(missing[0], columns) or "mend `rename:` of this source",
        )


def _refuse_same(named: list[str], columns: tuple[str, ...], file: str) -> None:
    if len(set(named)) < len(named):
        raise InputError(
            f"two columns would be called {next(name for name in named if named.count(name) > 1)!r}",
            where=file,
            found=", ".join(map(repr, columns)),
            do="mend `rename:` and `constant:` of this source, or rename the file's own column away",
        )
