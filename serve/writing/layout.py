"""The columns of a job's output: those of the input, then ours; and whether a row fits them."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serve.reading.sources import Source
from serve.reading.windows import Window, source_columns
from trainer.contract.errors import BadRow, InputError
from trainer.contract.inputs import InputSpec
from trainer.contract.labels import LabelSpace

if TYPE_CHECKING:
    import pyarrow as pa

_SURROGATE = re.compile("[\ud800-\udfff]")
_NUMBERS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,)}


@dataclass(frozen=True, kw_only=True)
class ScoreColumns:
    """The names of the columns that scoring adds."""

    decision: str
    confidence: str
    probabilities: tuple[str, ...]

    @classmethod
    def of(cls, labels: LabelSpace, prefix: str, *, probabilities: bool) -> "ScoreColumns":
        """`prediction` and `confidence`, in the plural for multi-label, and `p_NAME` on request."""
        plural = "s" if labels.kind == "multi" else ""
        return cls(
            decision=f"{prefix}prediction{plural}",
            confidence=f"{prefix}confidence{plural}",
            probabilities=tuple(f"{prefix}p_{name}" for name in labels.names) if probabilities else (),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, in order."""
        return (self.decision, self.confidence, *self.probabilities)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What an output's rows hold.

    columns: the input's, in order; None where each row has its own (JSON lines to JSON lines).
    kinds: column to "text", "int", "float" or "bool", for inputs without a schema; what is none of these is kept as
        JSON text. schema: the input's Arrow types where every input is Parquet.
    """

    columns: tuple[str, ...] | None
    kinds: dict[str, str]
    schema: "pa.Schema | None"
    scores: ScoreColumns

    def check(self, values: Mapping[str, object]) -> None:
        """Raise BadRow where a row does not fit: column_clash, unknown_column, invalid_unicode or type_changed."""
        if self.columns is None:
            clash = next((name for name in self.scores.names if name in values), None)
            if clash is not None:
                raise BadRow("column_clash", f"column {clash!r} is one that scoring adds; choose another --prefix")
            return
        if not values.keys() <= self.kinds.keys():
            extra = next(name for name in values if name not in self.kinds)
            raise BadRow("unknown_column", f"column {extra!r} was not in the rows the job began with; score to .jsonl")
        for name, value in values.items():
            if isinstance(value, str) and not value.isascii() and _SURROGATE.search(value):
                raise BadRow("invalid_unicode", f"column {name!r} holds half of a surrogate pair")
            if value is not None and not _fits(value, self.kinds[name]):
                raise BadRow(
                    "type_changed",
                    f"column {name!r} held {self.kinds[name]} in the rows the job began with, and here "
                    f"{type(value).__name__}; score to .jsonl",
                )


def make_layout(sources: list[Source], first: Window | None, scores: ScoreColumns, output: str) -> Layout:
    """The output's layout from the inputs' headers and the first window.

    Raises InputError where inputs do not fit together or already have a column that scoring adds.
    """
    declared = {source.name: source_columns(source) for source in sources if not source.once}
    own = declared.get(sources[0].name)
    columns = own if own is not None else _union(first)
    if columns is None:
        raise InputError("the input holds no row", where=sources[0].name, do="check the path")
    for name, other in declared.items():
        if other is not None and set(other) != set(columns):
            odd = sorted(set(other) ^ set(columns))[0]
            raise InputError(
                "the inputs have different columns",
                where=name,
                found=f"column {odd!r} in one of them only",
                expected=f"the columns of {sources[0].name}",
                do="score them as separate jobs",
            )
    for name in scores.names:
        if name in columns:
            raise InputError(
                f"the input has a column {name!r} already",
                where=sources[0].name,
                do="choose another name for ours with --prefix, such as --prefix model_",
            )
    json_only = all(source.dialect is not None and source.dialect.format == "jsonl" for source in sources)
    typed = output == "parquet" and all(source.dialect is None for source in sources)
    return Layout(
        columns=None if json_only and output == "jsonl" else columns,
        kinds=_kinds(columns, first if json_only and output == "parquet" else None),
        schema=_shared_schema(sources) if typed else None,
        scores=scores,
    )


def require_columns(sources: list[Source], first: Window | None, spec: InputSpec) -> None:
    """Raise InputError, with the nearest name, where an input lacks a column that makes the text."""
    for source in sources:
        columns = source_columns(source) if not source.once else None
        if columns is None and first is not None and source is sources[0]:
            columns = _union(first)
        if columns is not None:
            spec.require(columns, source.name)


def json_text(value: object) -> str:
    """A value of no simple kind as JSON text."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _union(window: Window | None) -> tuple[str, ...] | None:
    """The columns of a window's rows, in order of appearance; None where it has no row that could be read."""
    found: dict[str, None] = {}
    for record in window.records if window else ():
        found.update(dict.fromkeys(record.values or ()))
    return tuple(found) or None


def _kinds(columns: Iterable[str], window: Window | None) -> dict[str, str]:
    rows = [record.values for record in window.records if record.values is not None] if window else []
    return {column: _kind([row.get(column) for row in rows]) for column in columns}


def _kind(values: list[Any]) -> str:
    given = [value for value in values if value is not None]
    for kind in ("bool", "int", "float"):
        if given and all(_fits(value, kind) for value in given):
            return kind
    return "text"


def _fits(value: object, kind: str) -> bool:
    if kind == "text":
        return True
    # A bool is an int to Python, and is none to whoever reads the file.
    if not isinstance(value, _NUMBERS[kind]) or (kind != "bool" and isinstance(value, bool)):
        return False
    return not isinstance(value, int) or isinstance(value, bool) or -(2**63) <= value < 2**63


def _shared_schema(sources: list[Source]) -> "pa.Schema":
    from serve.reading.parquet_in import parquet_schema

    schema = parquet_schema(sources[0])
    for source in sources[1:]:
        other = parquet_schema(source)
        odd = next((field for field in schema if other.field(field.name).type != field.type), None)
        if odd is not None:
            raise InputError(
                "the inputs have different types",
                where=source.name,
                found=f"{odd.name}: {other.field(odd.name).type}",
                expected=f"{odd.name}: {odd.type}, as in {sources[0].name}",
                do="score them as separate jobs, or to .jsonl",
            )
    return schema
