"""Parquet in, with types. Imported only where a job reads Parquet, so that others start without pyarrow."""

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from serve.reading.arrow_types import plain_array, without_views
from serve.reading.plain_values import Undecodable, decoded_texts
from serve.reading.row_bytes import row_bytes
from serve.reading.sources import InputSource
from trainer.contract.errors import InputError
from trainer.contract.text_files.records import Record, refuse_repeated

_BUFFER = 2**20
# Of the batches that a window is cut from.
_BATCH_BYTES = 4 * 2**20


def parquet_schema(source: InputSource) -> pa.Schema:
    """The columns and types of a Parquet input."""
    with source.open() as stream:
        schema = _plain(_open(source, stream).schema_arrow)
    refuse_repeated(schema.names, source.name)
    return schema


def _plain(schema: pa.Schema) -> pa.Schema:
    """A schema without views."""
    fields = [field.with_type(without_views(field.type)) for field in schema]
    return pa.schema(fields, metadata=schema.metadata)


def read_parquet(
    source: InputSource, columns: tuple[str, ...], limit: tuple[int, int], skip: int
) -> Iterator[dict[str, Any]]:
    """Windows of a Parquet file from row `skip` on: start, records that hold the text columns, table, share.

    limit: the most rows of a window, and the number of bytes at which it ends early.
    """
    with source.open() as stream:
        file = _open(source, stream)
        total = min(file.metadata.num_rows, source.limit or file.metadata.num_rows)
        start, rows, size = skip, 0, 0
        pieces: list[pa.RecordBatch] = []
        # Batches come as the file has them; windows are cut by rows and bytes alone, the same after any resume.
        for batch in _batches(file, _read_columns(source, columns), (skip, total)):
            rest = pa.record_batch(list(map(plain_array, batch.columns)), schema=_plain(batch.schema))
            while rest.num_rows:
                # The row that passes the limit still belongs to the window: a row larger than it stands alone.
                sizes = size + np.cumsum(row_bytes(rest))
                take = min(limit[0] - rows, int(np.searchsorted(sizes, limit[1])) + 1, rest.num_rows)
                pieces.append(rest.slice(0, take))
                rows, size, rest = rows + take, int(sizes[take - 1]), rest.slice(take)
                if rows == limit[0] or size >= limit[1]:
                    table = pa.Table.from_batches(pieces)
                    yield _part(table, columns, start, total)
                    start, rows, size, pieces = start + rows, 0, 0, []
        if pieces:
            table = pa.Table.from_batches(pieces)
            yield _part(table, columns, start, total)


def _open(source: InputSource, stream: BinaryIO) -> pq.ParquetFile:
    try:
        # A column of a row group is otherwise read ahead as a whole, however large.
        return pq.ParquetFile(stream, buffer_size=_BUFFER, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            "the file is not Parquet",
            where=source.name,
            found=str(error)[:200],
            do="say --format if it is something else; Parquet comes neither from a pipe nor compressed as a whole",
        ) from None


def _read_columns(source: InputSource, columns: tuple[str, ...]) -> list[str] | None:
    """Those that make the text and those that are kept; None for all."""
    return None if source.keep is None else list(dict.fromkeys([*source.keep, *columns]))


def _batches(file: pq.ParquetFile, columns: list[str] | None, rows: tuple[int, int]) -> Iterator[pa.RecordBatch]:
    """The file's rows from the first number to the second, without reading row groups that are skipped as a whole."""
    skip, end = rows
    # Decoding is what costs; a resumed job far into a large file begins at its row group.
    groups, before = list(range(file.num_row_groups)), 0
    while groups and before + file.metadata.row_group(groups[0]).num_rows <= skip:
        before += file.metadata.row_group(groups.pop(0)).num_rows
    place = before
    for batch in file.iter_batches(batch_size=_batch_rows(file), row_groups=groups, columns=columns):
        start = min(batch.num_rows, max(0, skip - place))
        yield batch.slice(start, max(0, end - place - start))
        place += batch.num_rows
        if place >= end:
            return


def _batch_rows(file: pq.ParquetFile) -> int:
    """Rows that are decoded together: fewer where they are wide."""
    rows, size = (
        file.metadata.num_rows,
        sum(file.metadata.row_group(group).total_byte_size for group in range(file.num_row_groups)),
    )
    return int(max(1, min(1024, _BATCH_BYTES * rows // max(1, size))))


def _part(table: pa.Table, columns: tuple[str, ...], start: int, total: int) -> dict[str, Any]:
    share = (start + table.num_rows) / total
    return {"start": start, "records": _records(table, columns, start), "table": table, "share": share}


def _records(table: pa.Table, columns: tuple[str, ...], start: int) -> list[Record]:
    """A record a row, with the columns that make the text; `line` is the row's number, from 1."""
    # Column by column: a value at a time, Arrow's conversion would take longer than tokenizing.
    lists = {name: decoded_texts(table.column(name)) for name in columns}
    records = []
    for row in range(table.num_rows):
        values = {name: values[row] for name, values in lists.items()}
        broken = next((value for value in values.values() if isinstance(value, Undecodable)), None)
        line = start + row + 1
        if broken is not None:
            records.append(
                Record(line=line, values=None, reason="invalid_encoding", detail="not UTF-8", raw=broken.escaped)
            )
        else:
            records.append(Record(line=line, values=values))
    return records
