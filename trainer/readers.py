"""Training files to records that know their line: text formats by the contract's readers, Parquet by pyarrow."""

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trainer.contract.errors import InputError
from trainer.contract.records import Dialect, Record, read_records
from trainer.recipe import Source

_SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".txt": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


@dataclass(frozen=True, kw_only=True)
class FileRecords:
    """The records of one file under the recipe's column names, broken ones among them.

    columns: every column of the file, also where all its records are broken.
    """

    file: str
    columns: tuple[str, ...]
    records: list[Record]


def read_source(source: Source) -> Iterator[FileRecords]:
    """Read the files of a source in order.

    Raises InputError: a missing file, a glob that matches nothing, an unknown format, a file without rows.
    """
    for name in _files(source):
        records = list(_read(Path(name), source))
        if not records:
            raise InputError(
                "the file holds no rows", where=name, do="check the path, or take the file out of the recipe"
            )
        good = [record.values for record in records if record.values is not None]
        columns = tuple(dict.fromkeys(column for values in good for column in values))
        yield _renamed(FileRecords(file=name, columns=columns, records=records), source)


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
    return found


def _neighbours(name: str) -> str:
    """What lies where the file was looked for: a misspelt name is seen at once."""
    folder = Path(name).parent
    if glob.has_magic(str(folder)) or not folder.is_dir():
        return ""
    names = sorted(os.listdir(folder))
    return f"the folder holds {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else ""


def _read(path: Path, source: Source) -> Iterator[Record]:
    kind = source.format or _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise InputError(
            f"the format of {path.suffix or path.name!r} files is not known",
            where=path,
            expected=", ".join(_SUFFIXES),
            do="name it with `format:`",
        )
    if kind == "parquet":
        return _read_parquet(path)
    return _read_text(path, _dialect(source, kind, path))


def _dialect(source: Source, kind: str, path: Path) -> Dialect:
    try:
        return Dialect(
            format="jsonl" if kind == "jsonl" else "csv",
            delimiter=source.delimiter or ("\t" if kind == "tsv" else ","),
            header=source.header or kind == "jsonl",
            columns=source.columns,
            quoting=source.quoting,
            encoding=source.encoding,
        )
    except ValueError as error:
        raise InputError("the source cannot be read so", where=path, found=str(error), do="mend the recipe") from None


def _read_text(path: Path, dialect: Dialect) -> Iterator[Record]:
    with path.open("rb") as stream:
        yield from read_records(stream, dialect, path)


def _read_parquet(path: Path) -> Iterator[Record]:
    try:
        with pq.ParquetFile(path) as file:
            line = 0
            for batch in file.iter_batches():
                for values in batch.to_pylist():
                    line += 1
                    yield Record(line=line, values=values)
    except pa.ArrowException as error:
        raise InputError("the Parquet file cannot be read", where=path, found=str(error), do="write it again") from None


def _renamed(read: FileRecords, source: Source) -> FileRecords:
    if not source.rename and not source.constant:
        return read
    missing = [column for column in source.rename if column not in read.columns]
    if missing and read.columns:
        raise InputError(
            f"no column {missing[0]!r} to rename",
            where=read.file,
            found=", ".join(map(repr, read.columns)),
            do="mend `rename:` of this source",
        )
    columns = tuple(dict.fromkeys([*(source.rename.get(name, name) for name in read.columns), *source.constant]))
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
