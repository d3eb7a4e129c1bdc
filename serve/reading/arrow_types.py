"""Arrow types with some of their inner types changed, at any depth."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa


def plain_array(array: Any) -> Any:
    """An array without views."""
    kind = without_views(array.type)
    if kind == array.type:
        return array
    try:
        found = array.cast(kind)
        # Arrow 26 makes broken lists of a view of lists that holds a null, and says so here only.
        found.validate()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        found = pa.array(array.to_pylist(), kind)
    return found


def without_views(kind: pa.DataType) -> pa.DataType:
    """A type without views, which are another layout of the same values: many of Arrow's functions lack them."""
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_list_view(kind):
        return pa.list_(kind.value_field.with_type(without_views(kind.value_type)))
    if pa.types.is_large_list_view(kind):
        return pa.large_list(kind.value_field.with_type(without_views(kind.value_type)))
    return _inside(kind, without_views)


def without_dictionaries(kind: pa.DataType) -> pa.DataType:
    """A type with a dictionary's values in place of the dictionary."""
    if pa.types.is_dictionary(kind):
        return without_dictionaries(kind.value_type)
    return _inside(kind, without_dictionaries)


def _inside(kind: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """A nested type with its inner types changed; any other as it is."""
    found = kind
    if pa.types.is_struct(kind):
        found = pa.struct([field.with_type(change(field.type)) for field in kind])
    elif pa.types.is_map(kind):
        found = pa.map_(change(kind.key_type), change(kind.item_type))
    elif pa.types.is_fixed_size_list(kind):
        found = pa.list_(change(kind.value_type), kind.list_size)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        make = pa.list_ if pa.types.is_list(kind) else pa.large_list
        found = make(kind.value_field.with_type(change(kind.value_type)))
    return found
