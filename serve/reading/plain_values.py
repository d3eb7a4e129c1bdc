"""Arrow columns as values that JSON and CSV can hold, at any depth: times and decimals as text, bytes as base64."""

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def plain_rows(table: pa.Table) -> Iterator[Mapping[str, object]]:
    """Rows, column to value."""
    if not table.num_columns:
        yield from ({} for _ in range(table.num_rows))
    lists = [_column(column) for column in table.columns]
    for values in zip(*lists, strict=True):
        yield dict(zip(table.column_names, values, strict=True))


def selected(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """The columns of these names, in order; nulls where the table has none, since another input brought it along."""
    there = set(table.column_names)
    if there.issuperset(columns):
        return table.select(columns)
    nulls = pa.nulls(table.num_rows)
    return pa.table([table.column(name) if name in there else nulls for name in columns], names=list(columns))


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
        self.shown = EscapedText(data.decode("utf-8", "backslashreplace"))


class EscapedText(str):
    """A text in which bytes that are no text are spelled as escapes: another one than the file holds."""

    __slots__ = ()


def changed_cells(table: pa.Table, *, json: bool) -> Iterator[tuple[int, str, str]]:
    """Cells that are text or JSON otherwise than they are here: row, column, and not_json or invalid_encoding.

    json: whether rows are written as JSON; in a table only what is nested is.
    """
    for name, column in zip(table.column_names, table.columns, strict=True):
        # Looking at arrays is cheap, and hardly any column has such a cell.
        if any(map(_is_suspect, column.chunks)):
            for row, value in enumerate(_column(column)):
                if _holds(value, EscapedText):
                    yield row, name, "invalid_encoding"
                elif _holds(value, float) and (json or isinstance(value, list | dict)):
                    yield row, name, "not_json"


def _is_suspect(array: Any) -> bool:
    """Whether a float is infinite or a text is none, at any depth; a value under a null counts too."""
    for leaf in _leaves(array):
        if pa.types.is_floating(leaf.type) and np.isinf(leaf.to_numpy(zero_copy_only=False)).any():
            return True
        if pa.types.is_string(leaf.type) or pa.types.is_large_string(leaf.type):
            try:
                leaf.validate(full=True)
            except pa.ArrowInvalid:
                return True
    return False


def _leaves(array: Any) -> Iterator[Any]:
    """The arrays that hold a nested array's values; of any other array itself."""
    kind, parts = array.type, []
    if pa.types.is_dictionary(kind):
        parts = [array.dictionary]
    elif isinstance(kind, pa.BaseExtensionType):
        parts = [array.storage]
    elif pa.types.is_struct(kind):
        parts = array.flatten()
    elif pa.types.is_map(kind):
        parts = [array.keys, array.items]
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        parts = [array.values]
    if not parts:
        yield array
    for part in parts:
        yield from _leaves(part)


def _holds(value: object, kind: type) -> bool:
    """Whether a value is, or holds, an escaped text (`EscapedText`) or an infinite number (float)."""
    if isinstance(value, dict):
        return any(_holds(item, kind) for item in value.values())
    if isinstance(value, list):
        return any(_holds(item, kind) for item in value)
    return isinstance(value, kind) and (not isinstance(value, float) or math.isinf(value))


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
        return _extended(array)
    if pa.types.is_struct(kind):
        return _structs(array)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        return _lists(array)
    if pa.types.is_fixed_size_list(kind):
        return _plain(array.cast(pa.list_(kind.value_type)))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_time(kind):
        return _times(array)
    return _scalars(array)


def _extended(array: Any) -> list[Any]:
    """An extension's values: those of Arrow's own that people know by another spelling, else as they are stored."""
    if array.type.extension_name == "arrow.uuid":
        return [None if value is None else str(value) for value in array.to_pylist()]
    if array.type.extension_name == "arrow.bool8":
        return list(array.storage.cast(pa.bool_()).to_pylist())
    return _plain(array.storage)


def _scalars(array: Any) -> list[Any]:
    kind = array.type
    if pa.types.is_decimal(kind) or pa.types.is_duration(kind):
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


def _times(array: Any) -> list[Any]:
    """Times as ISO 8601 has them, with their zone's offset."""
    kind, zoned = array.type, bool(getattr(array.type, "tz", None))
    try:
        texts = array.cast(pa.string())
    except pa.ArrowInvalid:
        # A zone that this machine does not know, as a slim image knows none: the same moment in UTC.
        texts = pc.binary_join_element_wise(array.cast(pa.timestamp(kind.unit)).cast(pa.string()), "Z", "")
    if pa.types.is_time(kind):
        # No time of a day: the number that is stored.
        numbers = array.cast(pa.int64() if pa.types.is_time64(kind) else pa.int32()).to_pylist()
        pairs = zip(texts.to_pylist(), numbers, strict=True)
        return [str(number) if text and text[0] == "<" else text for text, number in pairs]
    # Arrow puts a space between day and time, and no colon into an offset.
    texts = pc.replace_substring(texts, " ", "T", max_replacements=1)
    told = pc.replace_substring_regex(texts, r"([+-]\d\d)(\d\d)$", r"\1:\2").to_pylist()
    moments = array.to_numpy(zero_copy_only=False)
    for place in np.flatnonzero(_is_far(moments)).tolist():
        # Arrow gives up in years of more than four digits, or writes nonsense; NumPy writes those too.
        told[place] = str(moments[place]) + ("Z" if zoned else "")
    return list(told)


def _is_far(moments: NDArray[np.datetime64]) -> NDArray[np.bool_]:
    """Which moments are outside of the years 1 to 9999. Nanoseconds cannot reach them."""
    if moments.dtype == np.dtype("datetime64[ns]"):
        return np.zeros(len(moments), dtype=np.bool_)
    first, last = (np.datetime64(day).astype(moments.dtype) for day in ("0001-01-01", "9999-12-31"))
    return np.asarray((moments < first) | (moments > last))


def _structs(array: Any) -> list[Any]:
    names = [array.type.field(place).name for place in range(array.type.num_fields)]
    rows = zip(*(_plain(field) for field in array.flatten()), strict=True) if names else ((),) * len(array)
    valid = array.is_valid().to_pylist()
    # Two fields of one name would be one key: such a struct is a list of pairs, as a map is.
    make: Any = dict if len(set(names)) == len(names) else lambda pairs: list(map(list, pairs))
    return [make(zip(names, row, strict=True)) if good else None for row, good in zip(rows, valid, strict=True)]


def _lists(array: Any) -> list[Any]:
    if pa.types.is_map(array.type):
        values: list[Any] = list(map(list, zip(_plain(array.keys), _plain(array.items), strict=True)))
    else:
        values = _plain(array.values)
    offsets, valid = array.offsets.to_pylist(), array.is_valid().to_pylist()
    return [
        values[start:end] if good else None for start, end, good in zip(offsets[:-1], offsets[1:], valid, strict=True)
    ]
