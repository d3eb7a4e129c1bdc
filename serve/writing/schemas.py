"""One Arrow schema for Parquet inputs whose types differ only in what loses nothing."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from trainer.contract.errors import InputError

if TYPE_CHECKING:
    from serve.reading.columns import Columns
    from serve.reading.sources import Source


def shared_schema(tables: "Mapping[Source, Columns]", columns: tuple[str, ...]) -> pa.Schema:
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
    for alike in (pa.types.is_signed_integer, pa.types.is_unsigned_integer, pa.types.is_floating):
        # Not signed with unsigned, nor whole with floating: there a digit could go.
        if alike(one) and alike(other):
            return max(one, other, key=lambda kind: kind.bit_width)
    for small, large in ((pa.string(), pa.large_string()), (pa.binary(), pa.large_binary())):
        if {one, other} == {small, large}:
            return large
    if pa.types.is_dictionary(one) or pa.types.is_dictionary(other):
        kinds = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in (one, other)]
        return _wider(*kinds)
    return None
