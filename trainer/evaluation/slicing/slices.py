"""Figures of parts of the rows, and which parts are worse than the rest."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trainer.contract.figures.exact import holm, interval
from trainer.contract.figures.metrics import ONE_LABEL
from trainer.contract.figures.resample import Interval, resamples
from trainer.evaluation.figures import Weights
from trainer.evaluation.measured import Bools, Measured
from trainer.evaluation.slicing.fisher import LEAST_SLICE_ROWS, SLICE_LEVEL, TEST, worse
from trainer.evaluation.slicing.traits import Traits

# Values of a column, or scripts, with figures of their own; the others are one slice.
VALUES = 10
_SHOWN = 80
# Slices are many, and small: their intervals are wide, and need no more resamples.
_ROUNDS = 200
_LENGTHS = 4
_SLOW = ("loss", "roc_auc", "average_precision", "brier")


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Some of the rows."""

    by: str
    value: str
    rows: Bools
    """bool [N]: which."""
    column: bool = False
    """Whether `by` is a column of the rows."""
    rest: bool = False
    """Whether it holds all rarer values together."""


def find_slices(traits: Traits, columns: Mapping[str, Sequence[str]]) -> list[Slice]:
    """The parts by length (four of about as many rows), truncation, script, link, number, emoji, and by each column.
    What would be all rows is none.
    """
    found = [*_lengths(traits)]
    for name in ("truncated", "url", "number", "emoji"):
        has = getattr(traits, name)
        found += [Slice(by=name, value="yes", rows=has), Slice(by=name, value="no", rows=~has)]
    found += _by_value("script", traits.script, column=False)
    for name, cells in columns.items():
        found += _by_value(name, list(cells), column=True)
    return [each for each in found if 0 < each.rows.sum() < len(each.rows)]


def _lengths(traits: Traits) -> Iterator[Slice]:
    lengths = traits.characters
    if not len(lengths):
        return
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, _LENGTHS + 1), method="inverted_cdf").astype(np.int64))
    place = np.searchsorted(edges[1:-1], lengths, side="left")
    for number in range(max(1, len(edges) - 1)):
        rows = place == number
        if rows.any():
            value = f"{lengths[rows].min()} to {lengths[rows].max()} characters"
            yield Slice(by="length", value=value, rows=rows)


def _by_value(by: str, cells: Sequence[str], *, column: bool) -> Iterator[Slice]:
    """The commonest values, then the others together."""
    # Not numpy's own texts: one long cell would make all as long.
    counts = sorted(Counter(cells).items(), key=lambda item: (-item[1], item[0]))
    number = {value: place for place, (value, _) in enumerate(counts)}
    of = np.array([number[cell] for cell in cells], dtype=np.int64)
    for place, (value, _) in enumerate(counts[:VALUES]):
        yield Slice(by=by, value=_shown(value), rows=of == place, column=column)
    if len(counts) > VALUES:
        value = f"{len(counts) - VALUES} other values"
        yield Slice(by=by, value=value, rows=of >= VALUES, column=column, rest=True)


def _shown(value: str) -> str:
    if not value:
        return "(empty)"
    return value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "\u2026"


def figures_of_slices(measured: Measured, parts: Sequence[Slice], metric: str) -> dict[str, Any]:
    """Each slice with its rows, its accuracy, its metric, and whether it is worse than the other rows.

    metric: the one that chose the checkpoint. One that takes long to compute gives way to a quicker one.
    """
    name = metric
    if metric in _SLOW:
        name = "f1_micro" if measured.space.kind == "multi" else "accuracy"
    wrong = measured.wrong
    ps = adjusted_ps(wrong, parts)
    metrics = _metrics(measured, parts, name)
    return {
        "metric": name,
        "test": TEST,
        "level": SLICE_LEVEL,
        "tested": sum(p is not None for p, _ in ps),
        "least_rows": LEAST_SLICE_ROWS,
        "columns": list(dict.fromkeys(each.by for each in parts if each.column)),
        "found": [
            {
                "by": part.by,
                "column": part.column,
                "value": part.value,
                "rest": part.rest,
                **errors(wrong[part.rows]),
                "metric": asdict(figure),
                "p": p,
                "p_adjusted": adjusted,
                "flagged": adjusted is not None and adjusted < SLICE_LEVEL,
            }
            for part, figure, (p, adjusted) in zip(parts, metrics, ps, strict=True)
        ],
    }


def adjusted_ps(wrong: Bools, parts: Sequence[Slice]) -> list[tuple[float, float] | tuple[None, None]]:
    """For each slice p and the adjusted p; none for those of fewer than LEAST_ROWS rows. wrong: bool [N]."""
    sizes = [int(part.rows.sum()) for part in parts]
    chosen = [place for place, rows in enumerate(sizes) if rows >= LEAST_SLICE_ROWS]
    every, all_wrong = len(wrong), int(wrong.sum())
    ps = [worse(int(wrong[parts[place].rows].sum()), sizes[place], all_wrong, every) for place in chosen]
    found: list[tuple[float, float] | tuple[None, None]] = [(None, None)] * len(parts)
    for place, p, adjusted in zip(chosen, ps, holm(ps), strict=True):
        found[place] = (p, adjusted)
    return found


def errors(wrong: Bools) -> dict[str, Any]:
    """Rows, wrong ones, and the share that is right with its exact interval."""
    rows, count = len(wrong), int(wrong.sum())
    low, high = interval(rows - count, rows)
    return {"rows": rows, "wrong": count, "accuracy": {"value": 1 - count / max(1, rows), "low": low, "high": high}}


def _is_defined(measured: Measured, name: str) -> bool:
    """Whether the labels that a metric looks at have enough rows: F1 of a slice without the label would be 0, however
    well its rows are decided.
    """
    if name not in (*ONE_LABEL, "f1_macro"):
        return True
    counts = measured.truth.sum(axis=0)
    return bool((counts if name == "f1_macro" else counts[measured.space.positive_id]).min() >= LEAST_SLICE_ROWS)


def _metrics(measured: Measured, parts: Sequence[Slice], name: str) -> list[Interval]:
    """The metric of each slice, NaN where it says nothing: all are resampled together, so that rows are drawn once."""
    places = [np.flatnonzero(part.rows) for part in parts]
    taken = [measured.take(rows) for rows in places]
    samples: list[list[Any]] = [[] for _ in parts]
    for weights in resamples(len(measured), _ROUNDS):
        for rows, each, values in zip(places, taken, samples, strict=True):
            values.append(Weights.of(each, np.take(weights, rows, axis=1)).values(name))
    undefined = Interval(value=np.nan, low=np.nan, high=np.nan)
    return [
        Interval.of(float(Weights.of(each, np.ones((1, len(each)))).values(name)[0]), np.concatenate(values))
        if _is_defined(each, name)
        else undefined
        for each, values in zip(taken, samples, strict=True)
    ]
