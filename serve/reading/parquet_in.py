"""Parquet in, with types. Imported only where a job reads Parquet, so that others start without pyarrow."""

import base64
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serve.reading.sources import Source
from trainer.contract.errors import InputError
from trainer.contract.records import Record


def parquet_schema(source: Source) -> pa.Schema:
    """The columns and types of a Parquet input."""
    with source.open() as stream:
        return _open(source, stream).schema_arrow


def read_parquet(
    source: Source, columns: tuple[str, ...], limit: tuple[int, int], skip: int
) -> Iterator[dict[str, Any]]:
    """Windows of a Parquet file from row `skip` on: start, records that hold the text columns, table, share.

    limit: the most rows of a window, and the number of text bytes at which it ends early.
    """
    with source.open() as stream:
        file = _open(source, stream)
        start, rows, size = skip, 0, 0
        pieces: list[pa.RecordBatch] = []
        for batch in _batches(file, skip):
            rest = batch
            while rest.num_rows:
                sizes = size + np.cumsum(_text_bytes(rest, columns))
                take = min(limit[0] - rows, int(np.searchsorted(sizes, limit[1])) + 1, rest.num_rows)
                pieces.append(rest.slice(0, take))
                rows, size, rest = rows + take, int(sizes[take - 1]), rest.slice(take)
                if rows == limit[0] or size >= limit[1]:
                    table = pa.Table.from_batches(pieces)
                    yield _part(table, columns, start, file.metadata.num_rows)
                    start, rows, size, pieces = start + rows, 0, 0, []
        if pieces:
            table = pa.Table.from_batches(pieces)
            yield _part(table, columns, start, file.metadata.num_rows)


def plain_rows(table: pa.Table) -> Iterator[Mapping[str, object]]:
    """Rows as JSON and CSV can hold them: times and decimals as text, bytes as base64."""
    lists = [_plain(column) for column in table.columns]
    for values in zip(*lists, strict=True):
        yield dict(zip(table.column_names, values, strict=True))


def _open(source: Source, stream: BinaryIO) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(stream)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            "the file is not Parquet",
            where=source.name,
            found=str(error)[:200],
            do="say --format if it is something else; Parquet comes neither from a pipe nor compressed as a whole",
        ) from None


def _batches(file: pq.ParquetFile, skip: int) -> Iterator[pa.RecordBatch]:
    """The file's rows from `skip` on, without reading row groups that are skipped as a whole."""
    groups, before = list(range(file.num_row_groups)), 0
    while groups and before + file.metadata.row_group(groups[0]).num_rows <= skip:
        before += file.metadata.row_group(groups.pop(0)).num_rows
    left = skip - before
    for batch in file.iter_batches(batch_size=1024, row_groups=groups):
        yield batch.slice(min(left, batch.num_rows))
        left = max(0, left - batch.num_rows)


def _part(table: pa.Table, columns: tuple[str, ...], start: int, total: int) -> dict[str, Any]:
    share = (start + table.num_rows) / total
    return {"start": start, "records": _records(table, columns, start), "table": table, "share": share}


def _text_bytes(batch: pa.RecordBatch, columns: tuple[str, ...]) -> np.ndarray[Any, np.dtype[np.int64]]:
    total = np.zeros(batch.num_rows, dtype=np.int64)
    for name in columns:
        column = _decoded(batch.column(name))
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            total += pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
    return total


def _records(table: pa.Table, columns: tuple[str, ...], start: int) -> list[Record]:
    """A record a row, with the columns that make the text; `line` is the row's number, from 1."""
    lists = {name: _texts(table.column(name)) for name in columns}
    records = []
    for row in range(table.num_rows):
        values = {name: values[row] for name, values in lists.items()}
        broken = next((value for value in values.values() if isinstance(value, _Undecodable)), None)
        line = start + row + 1
        if broken is not None:
            records.append(
                Record(line=line, values=None, reason="invalid_encoding", detail="not UTF-8", raw=broken.escaped)
            )
        else:
            records.append(Record(line=line, values=values))
    return records


class _Undecodable:
    """Bytes of a text column that are no text, spelled as the contract's readers spell them."""

    def __init__(self, data: bytes) -> None:
        self.escaped = data.decode("utf-8", "classifact-escape")
        self.shown = data.decode("utf-8", "backslashreplace")


def _texts(column: pa.ChunkedArray) -> list[object]:
    decoded = _decoded(column)
    try:
        return list(decoded.to_pylist())
    except UnicodeDecodeError:
        return [None if data is None else _text(data) for data in decoded.cast(pa.large_binary()).to_pylist()]


def _text(data: bytes) -> object:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _Undecodable(data)


def _decoded(column: Any) -> Any:
    """A column without its dictionary."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _plain(column: pa.ChunkedArray) -> list[object]:
    column = _decoded(column)
    kind = column.type
    if pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
        return list(column.cast(pa.string()).to_pylist())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return [None if data is None else base64.b64encode(data).decode() for data in column.to_pylist()]
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        # A column that is only passed on must not stop the job over bytes that are no text.
        return [value.shown if isinstance(value, _Undecodable) else value for value in _texts(column)]
    return list(column.to_pylist())
