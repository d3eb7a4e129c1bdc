"""Parquet out, with types. Imported only where a job writes Parquet, so that others start without pyarrow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from serve.reading.arrow_types import without_dictionaries
from serve.scoring.decided import ABSTAINED, decided_names, most_likely
from serve.writing.json_text import cell_text
from serve.writing.layout import Layout
from serve.writing.text_out import RowBlock, decided_probabilities
from trainer.contract.labels import LabelSpace

# Rows of the finished file that are compressed together; a group also ends at this many bytes, so that wide rows do
# not fill memory.
_GROUP_ROWS, _GROUP_BYTES = 131_072, 64 * 2**20
_FINAL = b"classifact.final_schema"
_ARROW_KINDS = {"text": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}


class ParquetFormat:
    """Appended as an Arrow stream, which can be cut and gone on with; made Parquet, with its footer, at the end."""

    final = False
    suffix = ".parquet"

    def __init__(self, layout: Layout, labels: LabelSpace) -> None:
        self._layout = layout
        self._labels = labels
        given = layout.schema or pa.schema([(column, self._arrow_kind(column)) for column in layout.written])
        # A stream's dictionaries would have to agree from batch to batch, so columns travel as plain values.
        self._given = pa.schema([pa.field(item.name, without_dictionaries(item.type)) for item in given])
        final = pa.schema([*given, *self._score_fields(final=True)], metadata=given.metadata)
        # The stream carries the schema that it is to become, so that it can be finished by itself.
        metadata = {_FINAL: final.serialize().to_pybytes()}
        self._schema = pa.schema([*self._given, *self._score_fields(final=False)], metadata=metadata)

    def head(self) -> bytes:
        """The stream's schema."""
        return cast("bytes", self._schema.serialize().to_pybytes())

    def encode(self, block: RowBlock) -> bytes:
        """One record batch of the stream."""
        table = block.table
        if table is None or self._layout.schema is None:
            rows = list(block.rows(self._layout.written))
            table = pa.table({name: self._column(rows, name) for name in self._given.names}, schema=self._given)
        else:
            table = table.select(self._given.names).cast(self._given)
        arrays = [column.combine_chunks() for column in table.columns]
        flat = [array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array for array in arrays]
        # A null place takes a null.
        places = pa.array(block.places, pa.int64())
        scores = [array.take(places) for array in self._score_arrays(block)]
        if self._layout.scores.scored_by is not None:
            scores.append(pa.array(block.tiers, pa.string()))
        if self._layout.scores.error is not None:
            scores.append(pa.array(block.reasons, pa.string()))
        batch = pa.record_batch([*flat, *scores], schema=self._schema)
        return cast("bytes", batch.serialize().to_pybytes())

    def finish(self, spool: Path, out: BinaryIO) -> None:
        """Write the stream's rows as Parquet."""
        write_spooled(spool, out)

    def _score_fields(self, *, final: bool) -> list[pa.Field]:
        multi = self._labels.kind == "multi"
        word = pa.dictionary(pa.int32(), pa.string()) if final else pa.string()
        name = pa.string() if multi else word
        names = self._layout.scores
        lists = (pa.list_(pa.string()), pa.list_(pa.float32()))
        return [
            pa.field(names.decision, pa.list_(name) if multi else name),
            pa.field(names.confidence, pa.list_(pa.float32()) if multi else pa.float32()),
            *(pa.field(column, pa.float32()) for column in names.probabilities),
            *map(pa.field, names.top, lists),
            *([pa.field(names.reason, pa.string())] if names.reason else []),
            *([pa.field(names.scored_by, word)] if names.scored_by else []),
            *([pa.field(names.error, pa.string())] if names.error else []),
        ]

    def _score_arrays(self, block: RowBlock) -> list[pa.Array]:
        scores = block.scores
        named = zip(decided_names(self._labels, scores), scores.answered.tolist(), strict=True)
        decisions = [names if answered else None for names, answered in named]
        if self._labels.kind == "multi":
            chosen = zip(scores.probabilities, scores.decisions, scores.answered.tolist(), strict=True)
            given: list[Any] = [row[labels] if answered else None for row, labels, answered in chosen]
            arrays = [pa.array(decisions, pa.list_(pa.string())), pa.array(given, pa.list_(pa.float32()))]
        else:
            arrays = [
                pa.array([names and names[0] for names in decisions], pa.string()),
                pa.array(decided_probabilities(scores), pa.float32()),
            ]
        if self._layout.scores.probabilities:
            arrays += [pa.array(column, pa.float32()) for column in scores.probabilities.T.copy()]
        if self._layout.scores.top:
            best = most_likely(scores.probabilities, self._layout.scores.top_k)
            names = [[self._labels.names[label] for label in row] for row in best.tolist()]
            found = list(np.take_along_axis(scores.probabilities, best, axis=1))
            arrays += [pa.array(names, pa.list_(pa.string())), pa.array(found, pa.list_(pa.float32()))]
        if self._layout.scores.reason:
            arrays.append(pa.array([None if given else ABSTAINED for given in scores.answered.tolist()], pa.string()))
        return arrays

    def _arrow_kind(self, column: str) -> pa.DataType:
        return _ARROW_KINDS[self._layout.kinds.get(column, "text")]

    def _column(self, rows: list[Mapping[str, object]], name: str) -> pa.Array:
        """One column of rows that came without types (or with others than the output's)."""
        values = [row.get(name) for row in rows]
        kind = self._arrow_kind(name)
        if kind == pa.string():
            values = [None if value is None else cell_text(value) for value in values]
        return pa.array(values, kind)


def write_spooled(spool: Path, out: BinaryIO) -> None:
    """Write an Arrow stream's rows as Parquet, in groups that depend on the rows alone."""
    with pa.OSFile(str(spool), "rb") as file, pa.ipc.open_stream(file) as stream:
        schema = pa.ipc.read_schema(pa.py_buffer(stream.schema.metadata[_FINAL]))
        with pq.ParquetWriter(out, schema, compression="zstd") as writer:
            group: list[pa.RecordBatch] = []
            rows = size = 0
            for batch in stream:
                group.append(batch)
                rows, size = rows + batch.num_rows, size + batch.nbytes
                if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
                    writer.write_table(_final_table(group, schema))
                    group, rows, size = [], 0, 0
            if group:
                writer.write_table(_final_table(group, schema))


def _final_table(group: list[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_batches(group).replace_schema_metadata(None).cast(schema)
