"""The columns of a job's output: those of the input, then ours; and whether a row fits them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from serve.reading.columns import Kinds, Look, SourceColumns, declared_columns, json_kinds, row_columns
from serve.reading.sources import InputSource
from serve.reading.windows import Window
from serve.writing.cells import Misfit, misfit, not_json
from serve.writing.json_text import json_text
from trainer.contract.errors import InputError, nearest
from trainer.contract.inputs import InputSpec
from trainer.contract.labels import LabelSpace

if TYPE_CHECKING:
    import pyarrow as pa

_UNKNOWN = "the column was not in the rows the job began with; score to .jsonl"


@dataclass(frozen=True, kw_only=True)
class AddedColumns:
    """The names of the columns that scoring adds."""

    decision: str
    confidence: str
    probabilities: tuple[str, ...]
    error: str | None = None
    top_k: int | None = None
    """How many of the most likely labels are told of each row; None: no columns for them."""
    top: tuple[str, ...] = ()
    """The columns of those labels and of their probabilities."""
    reason: str | None = None
    """The column that says `abstained` of a row that is not answered; None where the bundle answers every row."""
    scored_by: str | None = None
    """The column that says whether the student or the encoder answered; None: no such column."""

    @classmethod
    def of(
        cls,
        labels: LabelSpace,
        prefix: str,
        *,
        probabilities: bool,
        nulls: bool = False,
        top_k: int | None = None,
        scored_by: bool = False,
    ) -> "AddedColumns":
        """`prediction` and `confidence`, in the plural for multi-label; on request `p_NAME`, and `top_labels` with
        `top_confidences`.

        labels: as they decide here. nulls: rows that could not be scored are written too, and `error` holds the reason
        of each. scored_by: whether a column says who answered.
        """
        plural = "s" if labels.kind == "multi" else ""
        return cls(
            decision=f"{prefix}prediction{plural}",
            confidence=f"{prefix}confidence{plural}",
            probabilities=tuple(f"{prefix}p_{name}" for name in labels.names) if probabilities else (),
            error=f"{prefix}error" if nulls else None,
            top_k=top_k,
            top=() if top_k is None else (f"{prefix}top_labels", f"{prefix}top_confidences"),
            reason=None if labels.abstain is None else f"{prefix}reason",
            scored_by=f"{prefix}scored_by" if scored_by else None,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, in order."""
        last = [name for name in (self.reason, self.scored_by, self.error) if name is not None]
        return (self.decision, self.confidence, *self.probabilities, *self.top, *last)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What an output's rows hold."""

    columns: tuple[str, ...] | None
    """Those that are passed through, in order; None where each row has its own (JSON lines)."""
    kinds: dict[str, str]
    """Column to "text", "int", "float" or "bool", for inputs without a schema; what is none of these is kept as JSON
    text.
    """
    schema: "pa.Schema | None"
    """Arrow types of the columns where every input is Parquet."""
    scores: AddedColumns
    """The columns that scoring adds, after the input's."""
    rest: str | None = None
    """The column that holds, as JSON, what a pipe's later rows bring along, and keys beyond MAX_COLUMNS; None where all
    columns are known.
    """
    keep: bool = False
    """Whether the user chose the columns (--keep): then a late one is left out without a word."""
    json: bool = False
    """Whether rows are written as JSON; in a table only what is inside of a cell is."""

    @property
    def written(self) -> tuple[str, ...]:
        """The input's columns as they are written, in order."""
        return (*(self.columns or ()), *([self.rest] if self.rest else []))

    def fit(self, values: dict[str, object]) -> tuple[dict[str, object], list[Misfit]]:
        """A row's values without the cells that do not fit, and those: column_clash, invalid_unicode, type_changed,
        unknown_column or not_json.
        """
        found, late = list[Misfit](), dict[str, object]()
        for name, value in values.items():
            if self.json:
                problem = None if self._is_dropped(name) else self._clash(name) or not_json(name, value)
            elif name in self.kinds:
                problem = misfit(name, value, self.kinds[name])
            else:
                problem = not_json(name, value) if self.rest else None
                late[name] = value
            if problem:
                found.append(problem)
        if late and not self.keep and self.rest is None:
            found += [Misfit(column=name, reason="unknown_column", detail=_UNKNOWN) for name in late]
        if not found and not late:
            return values, found
        out = {**values, **dict.fromkeys(item.column for item in found if not item.changed)}
        if late and self.rest is not None:
            out[self.rest] = json_text({name: out[name] for name in late})
        return out, found

    def _is_dropped(self, name: str) -> bool:
        """Whether --keep names other columns."""
        return self.columns is not None and name not in self.columns

    def _clash(self, name: str) -> Misfit | None:
        if name not in self.scores.names:
            return None
        return Misfit(column=name, reason="column_clash", detail="scoring adds this column; choose another --prefix")


def make_layout(
    sources: Sequence[InputSource],
    first: Window | None,
    scores: AddedColumns,
    output: str,
    look: Look = lambda *_: None,
) -> Layout:
    """The output's layout from the inputs' columns: headers, schemas, and a pass over the rows of JSON lines.

    output: a format of `formats.py`, with its compression. look: is told how far that pass is.
    Raises InputError where inputs do not fit together, already have a column that scoring adds, or lack one that is to
    be kept.
    """
    output = output.partition(".")[0]
    declared = declared_columns(sources)
    tables = {source: found for source, found in declared.items() if found.names is not None}
    # JSON lines declare nothing. To JSON lines that does not matter: each row keeps its own keys.
    json_rows = [source for source in sources if source.dialect is not None and source.dialect.format == "jsonl"]
    kinds = json_kinds(sources, look) if json_rows and output != "jsonl" else Kinds(keep=sources[0].keep or ())
    pipe = next((source for source in sources if source.once), None)
    # Of a pipe only the first window can be looked at; of JSON lines to themselves one is enough to find a clash.
    if pipe is not None or output == "jsonl":
        for record in first.records if first else ():
            kinds.add(record.values or record.cells or {})
    known = {*kinds.found, *(name for found in tables.values() for name in found.names or ())}
    if json_rows and pipe is None and output == "jsonl" and not known.issuperset(sources[0].keep or ()):
        # A key that is to be kept may come as late as it may to a table.
        kinds = json_kinds(sources, look)
    if not tables and first is None:
        raise InputError("the input holds no row", where=sources[0].name, do="check the path")
    columns = _all_columns(sources, tables, tuple(kinds.found))
    keep = sources[0].keep
    _require_kept(keep, columns, sources[0].name)
    kept = columns if keep is None else keep
    _refuse_clash(scores, kept, sources[0].name)
    late = ((pipe is not None and pipe in json_rows) or kinds.more) and output != "jsonl" and keep is None
    # Arrow's types survive where all inputs have them; else columns are what JSON says, or text.
    typed = output == "parquet" and len(tables) == len(sources) and all(found.schema for found in tables.values())
    named = kinds.named() if len(json_rows) == len(sources) and output == "parquet" else {}
    return Layout(
        columns=None if output == "jsonl" and keep is None else kept,
        kinds={name: named.get(name, "text") for name in kept},
        schema=_schema(tables, kept) if typed else None,
        scores=scores,
        rest=next(name for name in _rest_names() if name not in {*columns, *scores.names}) if late else None,
        keep=keep is not None,
        json=output == "jsonl",
    )


def require_columns(sources: list[InputSource], first: Window | None, spec: InputSpec) -> None:
    """Raise InputError, with the nearest name, where an input lacks a column that makes the text."""
    declared = declared_columns(sources)
    for source in sources:
        columns = declared[source].names if source in declared else None
        if columns is None and first is not None and source is sources[0]:
            # Rows that are all broken name no column; they are rejected one by one.
            columns = tuple(row_columns(first.records)) or None
        if columns is not None:
            spec.require(columns, source.name)


def _schema(tables: Mapping[InputSource, SourceColumns], kept: tuple[str, ...]) -> "pa.Schema":
    from serve.writing.schemas import shared_schema

    return shared_schema(tables, kept)


def _all_columns(
    sources: Sequence[InputSource], tables: Mapping[InputSource, SourceColumns], rows: tuple[str, ...]
) -> tuple[str, ...]:
    """The tables' columns, which must be the same, and those of JSON rows; first those of the first source."""
    own: tuple[str, ...] | None = None
    for source, found in tables.items():
        names = found.names or ()
        own = names if own is None else own
        if set(names) != set(own):
            raise InputError(
                "the inputs have different columns",
                where=source.name,
                found=f"column {sorted(set(names) ^ set(own))[0]!r} in one of them only",
                expected=f"the columns of {next(iter(tables)).name}",
                do="score them as separate jobs, or --keep the columns that they share",
            )
    # The first input's order, since it is the one that people have before their eyes.
    given = [own or (), rows] if sources[0] in tables else [rows, own or ()]
    return tuple(dict.fromkeys(name for names in given for name in names))


def _require_kept(keep: tuple[str, ...] | None, columns: tuple[str, ...], where: str) -> None:
    twice = next((name for name in keep or () if (keep or ()).count(name) > 1), None)
    if twice is not None:
        raise InputError(f"--keep names {twice!r} twice", do="name each column once")
    missing = next((name for name in keep or () if columns and name not in columns), None)
    if missing is not None:
        raise InputError(
            f"no column {missing!r} to keep",
            where=where,
            found=", ".join(map(repr, columns)),
            do=nearest(missing, columns) or "mend --keep",
        )


def _refuse_clash(scores: AddedColumns, columns: Sequence[str], where: str) -> None:
    for name in scores.names:
        if name in columns:
            raise InputError(
                f"the input has a column {name!r} already",
                where=where,
                do="choose another name for ours with --prefix, such as --prefix model_",
            )


def _rest_names() -> Iterator[str]:
    yield "other_columns"
    yield from (f"other_columns_{number}" for number in count(2))
