"""One Arrow schema for Parquet inputs whose types differ only in what loses nothing."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from trainer.contract.errors import InputError

if TYPE_CHECKING:
    from serve.reading.columns import SourceColumns
    from serve.reading.sources import InputSource

# The most digits of Arrow's two decimals.
_DIGITS = (38, 76)


def shared_schema(tables: "Mapping[InputSource, SourceColumns]", columns: tuple[str, ...]) -> pa.Schema:
    """The columns with a type that holds those of every input. Raises InputError where there is none.

    A column that is null throughout takes the type of the others; whole numbers, floating point and texts widen.
    """
    schemas = [(source.name, found.schema) for source, found in tables.items() if found.schema is not None]
    first, schema = schemas[0]
    fields = {name: schema.field(name) for name in columns}
    for where, other in schemas[1:]:
        for name, field in fields.items():
            given = other.field(name)
            # Part files of one table differ so where a part happened to hold only nulls, or only small numbers.
            kind = _wider(field.type, given.type)
            if kind is None:
                raise InputError(
                    "the inputs have different types",
                    where=where,
                    found=f"{name}: {given.type}",
                    expected=f"{name}: {field.type}, as in {first}",
                    do="score them as separate jobs, or to .jsonl; or leave the column out by --keep",
                )
            fields[name] = field.with_type(kind).with_nullable(field.nullable or given.nullable)
    return pa.schema(fields.values(), metadata=schema.metadata)


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The type that holds every value of both, or None."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    for small, large in ((pa.string(), pa.large_string()), (pa.binary(), pa.large_binary())):
        if {one, other} == {small, large}:
            return large
    if pa.types.is_dictionary(one) or pa.types.is_dictionary(other):
        kinds = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in (one, other)]
        return _wider(*kinds)
    return _wider_nested(one, other) if pa.types.is_nested(one) else _wider_number(one, other)


def _wider_number(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if pa.types.is_decimal(one) and pa.types.is_decimal(other):
        scale = max(one.scale, other.scale)
        digits = scale + max(one.precision - one.scale, other.precision - other.scale)
        make = pa.decimal128 if digits <= _DIGITS[0] else pa.decimal256
        return make(digits, scale) if digits <= _DIGITS[1] else None
    for alike in (pa.types.is_signed_integer, pa.types.is_unsigned_integer, pa.types.is_floating):
        if alike(one) and alike(other):
            return max(one, other, key=lambda kind: kind.bit_width)
    whole = [kind for kind in (one, other) if pa.types.is_integer(kind)]
    if len(whole) == 2:
        signed, unsigned = sorted(whole, key=pa.types.is_unsigned_integer)
        # An unsigned number needs a bit more where it has a sign.
        width = max(signed.bit_width, 2 * unsigned.bit_width)
        return {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}.get(width)
    # Whole numbers of 64 bits have digits that floating point lacks; those of 32 have none.
    fits = len(whole) == 1 and whole[0].bit_width <= 32 and any(map(pa.types.is_floating, (one, other)))
    return pa.float64() if fits else None


def _wider_nested(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    lists = (pa.types.is_list, pa.types.is_large_list)
    if all(any(is_kind(kind) for is_kind in lists) for kind in (one, other)):
        inner = _wider(one.value_type, other.value_type)
        make = pa.large_list if any(map(pa.types.is_large_list, (one, other))) else pa.list_
        return None if inner is None else make(one.value_field.with_type(inner))
    if not (pa.types.is_struct(one) and pa.types.is_struct(other)):
        return None
    if [item.name for item in one] != [item.name for item in other]:
        return None
    fields = [(mine, _wider(mine.type, theirs.type)) for mine, theirs in zip(one, other, strict=True)]
    return (
        None if any(kind is None for _, kind in fields) else pa.struct([item.with_type(kind) for item, kind in fields])
    )
