"""Rows without labels, from files that the user names: agreement needs no labels, and more rows show more."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from trainer.contract.errors import BadRow, InputError
from trainer.contract.inputs import InputSpec
from trainer.contract.text_files.formats import split_suffixes
from trainer.contract.text_files.opened import open_rows, parquet_records, seekable
from trainer.contract.text_files.records import Dialect, Record, read_records

# Ten times what is taken of the validation rows: minutes, not hours, of a small model on two cores.
MOST_UNLABELLED_ROWS = 20_000
_FORMATS = ("csv", "tsv", "jsonl", "parquet")


@dataclass(frozen=True, kw_only=True)
class UnlabelledRows:
    """N rows after `InputSpec.read`."""

    texts: list[str]
    pairs: list[str] | None
    """N second texts, where the model reads any."""
    dropped: int = 0
    """Rows that were left out because their text is null, where the recipe says so."""

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: NDArray[np.int64]) -> "UnlabelledRows":
        """The rows at the given positions, in that order."""
        chosen = rows.tolist()
        pairs = None if self.pairs is None else [self.pairs[row] for row in chosen]
        return UnlabelledRows(texts=[self.texts[row] for row in chosen], pairs=pairs)


def read_unlabelled(files: Iterable[Path], spec: InputSpec) -> UnlabelledRows:
    """Read CSV, TSV, JSON lines and Parquet, compressed or not; columns that make no text are not looked at.

    Raises InputError, with file and line, for the first row that cannot be read, and for a file that is damaged, empty,
    of another format, or without a column that makes the text; OSError for one that is missing.
    """
    texts, pairs, dropped = list[str](), list[str](), 0
    for path in files:
        found = 0
        for record in _records(path, spec):
            found += 1
            try:
                text, pair = spec.read(_values(record, path))
            except BadRow as error:
                if error.reason == "null_text" and spec.on_null == "drop":
                    dropped += 1
                    continue
                raise _bad(path, record, error.what) from None
            texts.append(text)
            pairs.append(pair or "")
        if not found:
            raise InputError("the file holds no rows", where=path, do="check the path, or leave the file out")
    if dropped and not texts:
        raise InputError("no row has a text", found=f"{dropped} rows that are null", do="name other files")
    return UnlabelledRows(texts=texts, pairs=pairs if spec.pair is not None else None, dropped=dropped)


def _values(record: Record, path: Path) -> dict[str, object]:
    if record.values is None:
        raise _bad(path, record, record.detail)
    return record.values


def _bad(path: Path, record: Record, why: str) -> InputError:
    return InputError(
        "a row cannot be read",
        where=f"{path}:{record.line}",
        found=why,
        do="mend the row, or take it out: none of these rows is left out without a word",
    )


def _records(path: Path, spec: InputSpec) -> Iterator[Record]:
    """The records of a file. Raises InputError where the first good one lacks a column that makes the text."""
    kind, compression = split_suffixes(path.name)
    if kind not in _FORMATS:
        raise InputError(
            "the format of the rows is unknown",
            where=path,
            found=path.name,
            expected=".csv, .tsv, .jsonl or .parquet, compressed or not",
            do="write the rows as one of these",
        )
    looked = False
    with open_rows(path, compression) as stream:
        for record in _read(seekable(stream, compression) if kind == "parquet" else stream, kind, path):
            # JSON lines have no header: the first good record stands for one.
            if not looked and record.values is not None:
                spec.require(record.values, path)
                looked = True
            yield record


def _read(stream: BinaryIO, kind: str, path: Path) -> Iterator[Record]:
    if kind == "parquet":
        return parquet_records(stream, path)
    dialect = Dialect(format="jsonl") if kind == "jsonl" else Dialect(delimiter="\t" if kind == "tsv" else ",")
    return read_records(stream, dialect, path)
