"""What each row of Arrow columns holds, in bytes: exact for each row, so that windows do not depend on batches."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Sizes = NDArray[np.int64]
_POINTER = 8
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_map)
_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)


def row_bytes(batch: pa.RecordBatch) -> Sizes:
    """The bytes of each row, over all columns, int64 [N]."""
    return sum((_bytes(column) for column in batch.columns), np.zeros(batch.num_rows, dtype=np.int64))


def _bytes(column: Any) -> Sizes:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _bytes(column.cast(kind.value_type))
    if isinstance(kind, pa.BaseExtensionType):
        return _bytes(column.storage)
    if pa.types.is_struct(kind):
        return sum((_bytes(field) for field in column.flatten()), np.zeros(len(column), dtype=np.int64))
    if any(is_kind(kind) for is_kind in _LISTS):
        parts = _bytes(column.keys) + _bytes(column.items) if pa.types.is_map(kind) else _bytes(column.values)
        # What a list holds is a difference of running sums over all that lists hold.
        before = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(parts)])
        offsets = column.offsets.to_numpy().astype(np.int64)
        return np.asarray(before[offsets[1:]] - before[offsets[:-1]])
    if any(is_kind(kind) for is_kind in _TEXTS):
        return _lengths(column)
    return np.full(len(column), _width(kind), dtype=np.int64)


def _lengths(column: Any) -> Sizes:
    return np.asarray(pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False), dtype=np.int64)


def _width(kind: pa.DataType) -> int:
    """Bytes of a value of fixed width; of what has none, those of a pointer."""
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size) * _width(kind.value_type)
    try:
        return max(1, int(kind.bit_width) // 8)
    except ValueError:
        return _POINTER
