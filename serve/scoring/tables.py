"""Tables of pandas, polars and Arrow: their rows to the scorer, its scores to columns beside theirs.

None of the libraries is imported for it: whoever has a table of one has imported it.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from trainer.contract.errors import InputError

if TYPE_CHECKING:
    from serve.scorer import RowScore, Scorer

T = TypeVar("T")
_LIBRARIES = ("pandas", "polars", "pyarrow")


def rows_given(given: Iterable[object], call: str, columns: Sequence[str]) -> Iterable[object]:
    """What a call takes as rows.

    call: the name of the method, for the error. Raises InputError for one text, one row or a table, whose parts would
    else be taken for rows: the letters of a text, the names of a table's columns.
    """
    example = repr(given if isinstance(given, str) and len(given) < 40 else "a text")
    row = example if len(columns) == 1 else "{" + ", ".join(f"{name!r}: ..." for name in columns) + "}"
    if isinstance(given, str | bytes):
        found, do = "one text", f"scorer.{call}([{row}])"
    elif isinstance(given, Mapping):
        found, do = "one row", f"scorer.{call}([row])"
    elif library(given) is not None and hasattr(given, "columns"):
        found = f"a table of {library(given)}"
        do = "scorer.predict_table(table)"
        if len(columns) == 1:
            do += f", or scorer.{call}(table[{columns[0]!r}])"
    elif not isinstance(given, Iterable):
        found, do = type(given).__name__, f"scorer.{call}([{row}])"
    else:
        # Arrow's arrays give scalars of its own otherwise.
        to_pylist = getattr(given, "to_pylist", None)
        rows: Iterable[object] = given if to_pylist is None else to_pylist()
        return rows
    raise InputError(f"{call} takes a list of rows", found=found, do=do)


def score_table(
    scorer: "Scorer", table: T, *, probabilities: bool, prefix: str, on_error: Literal["fail", "null"]
) -> T:
    """A table with the columns that a scored file has; see `Scorer.predict_table`."""
    from serve.writing.layout import AddedColumns

    name_of_library = library(table)
    given: list[str] = list(getattr(table, "column_names", getattr(table, "columns", ())))
    if name_of_library is None or not hasattr(table, "columns"):
        raise InputError(
            "predict_table takes a table of pandas, polars or pyarrow",
            found=type(table).__name__,
            do="scorer.predict(texts) takes a list of texts",
        )
    spec = scorer.bundle.contract.input
    spec.require(given, "the table")
    names = AddedColumns.of(scorer.labels, prefix, probabilities=probabilities)
    reasons = f"{prefix}error" if on_error == "null" else None
    # A column that is replaced without a word may be the labels that the scores are to be compared with.
    clash = next((name for name in (*names.names, reasons) if name in given), None)
    if clash is not None:
        raise InputError(f"the table has a column {clash!r} already", do='say prefix="model_", or drop the column')
    # Columns that do not make the text are not converted.
    values = [_values(table, name, name_of_library) for name in spec.columns]
    rows = (dict(zip(spec.columns, row, strict=True)) for row in zip(*values, strict=True))
    scored = list(scorer.score_iter(rows))
    if reasons is None:
        _require_sound(scored)
    columns = _score_columns(scorer, scored, names)
    if reasons is not None:
        columns[reasons] = ("text", [row.reason if row.probabilities is None else None for row in scored])
    with_columns: T = _ADDING[name_of_library](table, columns)
    return with_columns


def library(value: object) -> str | None:
    """Which library's a value is, of those that have tables."""
    name = type(value).__module__.partition(".")[0]
    return name if name in _LIBRARIES else None


def _values(table: Any, name: str, name_of_library: str) -> list[object]:
    """A column as Python's values, None where it is null."""
    column = table[name]
    # pandas spells a null as None, NaN, NaT or NA, by the column's type.
    if name_of_library == "pandas":
        plain: list[object] = column.astype(object).where(column.notna(), None).tolist()
        return plain
    found: list[object] = column.to_pylist() if name_of_library == "pyarrow" else column.to_list()
    return found


def _require_sound(scored: Sequence["RowScore"]) -> None:
    bad = [place for place, row in enumerate(scored) if row.probabilities is None]
    if bad:
        raise InputError(
            "rows of the table cannot be scored",
            where=f"row {bad[0]}",
            found=f"{scored[bad[0]].reason}; {len(bad)} of {len(scored)} rows",
            do='say on_error="null" to have nulls and a column `error` there',
        )


def _score_columns(scorer: "Scorer", scored: Sequence["RowScore"], names: Any) -> dict[str, tuple[str, list[Any]]]:
    """Name to kind and values of each column that is added, in order."""
    number = {name: place for place, name in enumerate(scorer.labels.names)}
    multi = scorer.labels.kind == "multi"

    def decision(row: "RowScore") -> Any:
        """The row's label, or its list of labels; None where it has none."""
        return None if row.reason is not None else list(row.labels) if multi else row.labels[0]

    def confidence(row: "RowScore") -> Any:
        """The probability of the decision, or a list of them; None for a row without scores."""
        if row.probabilities is None:
            return None
        if not multi:
            return row.confidence
        found = [float(row.probabilities[number[name]]) for name in row.labels]
        return None if row.reason is not None else found

    columns: dict[str, tuple[str, list[Any]]] = {
        names.decision: ("texts" if multi else "text", [decision(row) for row in scored]),
        names.confidence: ("floats" if multi else "float", [confidence(row) for row in scored]),
    }
    for place, name in enumerate(names.probabilities):
        given = (None if row.probabilities is None else float(row.probabilities[place]) for row in scored)
        columns[name] = ("float", list(given))
    if names.reason is not None:
        columns[names.reason] = ("text", [None if row.probabilities is None else row.reason for row in scored])
    return columns


def _with_pandas(table: Any, columns: dict[str, tuple[str, list[Any]]]) -> Any:
    """As `table.assign`, with the table's index; null numbers are NaN."""
    # By `assign`, which takes values by position: an index may hold repeats.
    return table.assign(
        **{
            name: np.array([np.nan if value is None else value for value in values], dtype=np.float32)
            if kind == "float"
            else sys.modules["pandas"].Series(values, index=table.index, dtype=object)
            for name, (kind, values) in columns.items()
        }
    )


def _with_polars(table: Any, columns: dict[str, tuple[str, list[Any]]]) -> Any:
    pl = sys.modules["polars"]
    # Types are said, so that a column of nulls alone has the type of any other.
    kinds = {"text": pl.String, "float": pl.Float32, "texts": pl.List(pl.String), "floats": pl.List(pl.Float32)}
    return table.with_columns([pl.Series(name, values, dtype=kinds[kind]) for name, (kind, values) in columns.items()])


def _with_arrow(table: Any, columns: dict[str, tuple[str, list[Any]]]) -> Any:
    pa = sys.modules["pyarrow"]
    kinds = {
        "text": pa.string(),
        "float": pa.float32(),
        "texts": pa.list_(pa.string()),
        "floats": pa.list_(pa.float32()),
    }
    for name, (kind, values) in columns.items():
        table = table.append_column(name, pa.array(values, kinds[kind]))
    return table


_ADDING = {"pandas": _with_pandas, "polars": _with_polars, "pyarrow": _with_arrow}
