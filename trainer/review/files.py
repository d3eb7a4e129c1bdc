"""Rows to look at as files: CSV, which Label Studio imports, and Parquet, from which Argilla takes records."""

import csv
import io
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from trainer.contract.labelled import LabelledRows
from trainer.contract.labels import LabelSpace
from trainer.contract.redact import file_names
from trainer.contract.system.files import atomic_file, json_bytes, sha256

REVIEW_FOLDER = "review"
# What spreadsheets take for the start of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_tables(folder: Path, name: str, table: pa.Table, space: LabelSpace) -> dict[str, str]:
    """Write a table as NAME.csv and NAME.parquet into a folder, each whole or not at all; gives each file's SHA-256.

    A text stays the text in both files, also where a spreadsheet would take it for a formula: these files are labelled
    and read again, and an apostrophe before the text would become part of it.
    """
    folder.mkdir(exist_ok=True)
    files = {suffix: folder / f"{name}.{suffix}" for suffix in ("csv", "parquet")}
    with atomic_file(files["csv"]) as file:
        _write_csv(file, table, bars=any("|" in label for label in space.names))
    with atomic_file(files["parquet"]) as file:
        pq.write_table(table, cast(Any, file))
    return {path.name: sha256(path) for path in files.values()}


def formulas(table: pa.Table) -> int:
    """How many rows have a text that a spreadsheet would take for a formula."""
    columns = [table[name].to_pylist() for name in ("text", "pair") if name in table.column_names]
    return sum(any(cell.startswith(_FORMULA) for cell in cells) for cells in zip(*columns, strict=True))


def review_columns(rows: LabelledRows, space: LabelSpace) -> dict[str, pa.Array]:
    """What names a row and what it says: id, text, pair (where there is one), and its label or labels."""
    pairs = {} if rows.pairs is None else {"pair": text_column(rows.pairs)}
    labels = label_column([*rows.label_names(space)], space)
    return {"id": pa.array(rows.ids), "text": text_column(rows.texts), **pairs, column_name("label", space): labels}


def place_columns(rows: LabelledRows) -> dict[str, pa.Array]:
    """Where each row stands: file, without the folders that it lies in, and line in it."""
    places = [place.rpartition(":") for place in rows.places]
    lines = [int(line) if line.isdecimal() else None for _, _, line in places]
    # These tables are loaded into labelling tools of others.
    names = file_names(dict.fromkeys(file for file, _, _ in places))
    return {"file": text_column([names[file] for file, _, _ in places]), "line": pa.array(lines, pa.int64())}


def column_name(name: str, space: LabelSpace) -> str:
    """A column's name: of labels in the plural where a row may have several, as in scored rows."""
    return name if space.kind == "single" else f"{name}s"


def label_column(rows: list[list[str]], space: LabelSpace) -> pa.Array:
    """Text for single labels, lists for several."""
    if space.kind == "single":
        return text_column([name for (name,) in rows])
    return pa.array(rows, pa.list_(pa.string()))


def text_column(texts: Any) -> pa.Array:
    """Texts; half of a surrogate pair (of a file's name) as an escape, since Parquet holds Unicode alone."""
    # Offsets of 64 bits: all texts together may be more than 2 GiB.
    return pa.array([text.encode("utf-8", "backslashreplace").decode() for text in texts], pa.large_string())


def _write_csv(file: IO[bytes], table: pa.Table, *, bars: bool) -> None:
    text = io.TextIOWrapper(cast(Any, file), encoding="utf-8", newline="", write_through=True)
    # Every text in quotes: Python's writer leaves a lone carriage return without them, which no reader takes back.
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(table.column_names)
    for batch in table.to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            writer.writerow(_cell(value, bars=bars) for value in row.values())
    text.detach()


def _cell(value: object, *, bars: bool) -> object:
    """A list's names joined by bars as in scored rows, or a JSON list where the name of any label holds a bar."""
    if not isinstance(value, list):
        return value
    return json_bytes(value).decode() if bars else "|".join(value)
