"""The sources of a recipe to records under the recipe's column names."""

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.contract.errors import InputError, nearest
from trainer.contract.records import Record
from trainer.data.file_formats import read_file
from trainer.data.hub_rows import read_dataset
from trainer.recipes.data_part import Source


@dataclass(frozen=True, kw_only=True)
class FileRecords:
    """The records of one file under the recipe's column names, broken ones among them.

    columns: every column that a record has; none where all records are broken.
    """

    file: str
    columns: tuple[str, ...]
    records: list[Record]


def read_source(source: Source) -> Iterator[FileRecords]:
    """Read the files of a source in order.

    Raises InputError: what `read_file` and `read_dataset` raise, a missing file, a glob that matches nothing, a file
    without rows.
    """
    if source.dataset is not None:
        yield _checked(f"{source.dataset}[{source.split}]", list(read_dataset(source)), source)
    for name in _files(source):
        yield _checked(name, list(read_file(Path(name), source)), source)


def _checked(name: str, records: list[Record], source: Source) -> FileRecords:
    if not records:
        raise InputError("the file holds no rows", where=name, do="check the path, or take the file out of the recipe")
    # Records of JSON may each have other columns; those of a table have the same, and are one key here.
    kinds = dict.fromkeys(tuple(record.values) for record in records if record.values is not None)
    columns = tuple(dict.fromkeys(column for kind in kinds for column in kind))
    return _renamed(FileRecords(file=name, columns=columns, records=records), source)


def _files(source: Source) -> list[str]:
    found: list[str] = []
    for name in source.files:
        # A file whose name holds brackets or stars is itself; anything else with them is a pattern.
        path = Path(name)
        matches = [path] if path.exists() else sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        matches = [match for match in matches if not match.is_dir()]
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


def _renamed(read: FileRecords, source: Source) -> FileRecords:
    if not source.rename and not source.constant:
        return read
    missing = [column for column in source.rename if column not in read.columns]
    if missing and read.columns:
        raise InputError(
            f"no column {missing[0]!r} to rename",
            where=read.file,
            found=", ".join(map(repr, read.columns)),
            do=nearest(missing[0], read.columns) or "mend `rename:` of this source",
        )
    named = [*(source.rename.get(name, name) for name in read.columns), *source.constant]
    columns = tuple(dict.fromkeys(named))
    if len(columns) < len(named):
        twice = next(name for name in columns if named.count(name) > 1)
        raise InputError(
            f"two columns would be called {twice!r}",
            where=read.file,
            found=", ".join(map(repr, read.columns)),
            do="mend `rename:` and `constant:` of this source, or rename the file's own column away",
        )
    records = [
        record
        if record.values is None
        else Record(
            line=record.line,
            values={source.rename.get(name, name): value for name, value in record.values.items()} | source.constant,
        )
        for record in read.records
    ]
    return FileRecords(file=read.file, columns=columns, records=records)
