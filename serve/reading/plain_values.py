"""Arrow columns as values that JSON and CSV can hold, at any depth: times and decimals as text, bytes as base64."""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa


def plain_rows(table: pa.Table) -> Iterator[Mapping[str, object]]:
    """Rows, column to value."""
    if not table.num_columns:
        yield from ({} for _ in range(table.num_rows))
    lists = [_column(column) for column in table.columns]
    for values in zip(*lists, strict=True):
        yield dict(zip(table.column_names, values, strict=True))


def decoded_texts(column: Any) -> list[object]:
    """A text column's values; where one is no UTF-8, an `Undecodable` stands for it."""
    column = _decoded(column)
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return [None if data is None else _text(data) for data in column.cast(pa.large_binary()).to_pylist()]


class Undecodable:
    """Bytes of a text column that are no text, spelled as the contract's readers spell them."""

    def __init__(self, data: bytes) -> None:
        self.escaped = data.decode("utf-8", "classifact-escape")
        self.shown = data.decode("utf-8", "backslashreplace")


def _text(data: bytes) -> object:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return Undecodable(data)


def _decoded(column: Any) -> Any:
    """A column without its dictionary."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _column(column: pa.ChunkedArray) -> list[object]:
    return [value for chunk in column.chunks for value in _plain(chunk)]


def _plain(array: Any) -> list[Any]:
    """The values of an array, by its type."""
    array = _decoded(array)
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(array.storage)
    if pa.types.is_struct(kind):
        return _structs(array)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        return _lists(array)
    if pa.types.is_fixed_size_list(kind):
        return _plain(array.cast(pa.list_(kind.value_type)))
    return _scalars(array)


def _scalars(array: Any) -> list[Any]:
    kind = array.type
    if pa.types.is_decimal(kind) or (pa.types.is_temporal(kind) and not pa.types.is_interval(kind)):
        return list(array.cast(pa.string()).to_pylist())
    if pa.types.is_interval(kind):
        return [None if value is None else str(value) for value in array.to_pylist()]
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return [None if data is None else base64.b64encode(data).decode() for data in array.to_pylist()]
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        # A column that is only passed on must not stop the job over bytes that are no text.
        return [value.shown if isinstance(value, Undecodable) else value for value in decoded_texts(array)]
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        # The shortest text that reads back as the same number, not the digits of the double that holds it.
        narrow = np.float32 if pa.types.is_float32(kind) else np.float16
        return [None if value is None else float(str(narrow(value))) for value in array.to_pylist()]
    return list(array.to_pylist())


def _structs(array: Any) -> list[Any]:
    names = [array.type.field(place).name for place in range(array.type.num_fields)]
    rows = zip(*(_plain(field) for field in array.flatten()), strict=True) if names else ((),) * len(array)
    valid = array.is_valid().to_pylist()
    return [dict(zip(names, row, strict=True)) if good else None for row, good in zip(rows, valid, strict=True)]


def _lists(array: Any) -> list[Any]:
    if pa.types.is_map(array.type):
        values: list[Any] = list(map(list, zip(_plain(array.keys), _plain(array.items), strict=True)))
    else:
        values = _plain(array.values)
    offsets, valid = array.offsets.to_pylist(), array.is_valid().to_pylist()
    return [
        values[start:end] if good else None for start, end, good in zip(offsets[:-1], offsets[1:], valid, strict=True)
    ]
