"""Thresholds on calibrated probabilities: of the best F1, or of the least cost."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainer.contract.errors import InputError, nearest
from trainer.contract.labels import LabelSpace
from trainer.deciding.parts import Rows

Floats = NDArray[np.float64]
USUAL = 0.5
# A label with fewer rows, or fewer others, keeps the usual threshold: the best F1 of so few is chance.
LEAST_THRESHOLD_ROWS = 10
# Distance of log-odds between the two scores that a threshold lies between: rounding of another file moves less.
_GAP = 1e-3
# Of more than two single labels: how often every label's turn comes, and how many thresholds are tried.
_ROUNDS, _TRIED = 5, 200


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """One label's threshold."""

    label: str
    threshold: float
    rule: Literal["usual", "f1", "precision", "recall", "costs"]
    rows: int
    """Rows of this label among those that it was fitted on."""
    note: str | None = None
    """Why it is the usual one where another was asked for."""


def label_scores(probabilities: NDArray[np.float32], label: int, space: LabelSpace) -> Floats:
    """What a label's threshold is compared with, [N], 0 to 1: its probability; of more than two single labels its share
    of the sum with the next likeliest one.
    """
    given = probabilities.astype(np.float64)
    if space.kind == "multi" or len(space) == 2:
        return given[:, label]
    other = np.delete(given, label, axis=1).max(axis=1)
    return np.asarray(given[:, label] / np.maximum(given[:, label] + other, np.finfo(np.float64).tiny))


def is_label(rows: Rows, label: int, space: LabelSpace) -> NDArray[np.bool_]:
    """Which rows have the label, bool [N]."""
    return np.asarray(rows.labels[:, label] if space.kind == "multi" else rows.labels == label, dtype=np.bool_)


def with_threshold(space: LabelSpace, label: int, threshold: float) -> LabelSpace:
    """The labels with one threshold set. Of single labels the others share what is left."""
    if space.kind == "multi":
        limits = list(space.thresholds or (USUAL,) * len(space))
        limits[label] = threshold
        return replace(space, thresholds=tuple(limits))
    return replace(space, thresholds=tuple(threshold if each == label else 1 - threshold for each in range(len(space))))


def best_f1(rows: Rows, space: LabelSpace, labels: list[int]) -> tuple[LabelSpace, list[Threshold]]:
    """The labels (with their temperature) with thresholds of the best F1 on these rows.

    labels: whose; of multi-label any, of single labels all.
    """
    counts = [int(is_label(rows, label, space).sum()) for label in range(len(space))]
    few = {label: min(count, len(rows) - count) < LEAST_THRESHOLD_ROWS for label, count in enumerate(counts)}
    found, probabilities = space, space.decode(rows.logits).probabilities
    if space.kind == "multi" or len(space) == 2:
        for label in labels if space.kind == "multi" else [space.positive_id]:
            if not few[label]:
                scores = label_scores(probabilities, label, space)
                found = with_threshold(found, label, _cut(scores, is_label(rows, label, space)))
    else:
        found = _macro(rows, space, probabilities, few)
    limits = found.thresholds or (USUAL,) * len(space)
    return found, [
        Threshold(
            label=space.names[label],
            threshold=limits[label],
            rule="usual" if few[label] else "f1",
            rows=counts[label],
            note=f"it has {counts[label]} of {len(rows)} rows; {LEAST_THRESHOLD_ROWS} of it and of others are needed"
            if few[label]
            else None,
        )
        for label in labels
    ]


def least_cost(
    asked: dict[str, dict[str, float]], space: LabelSpace, counts: list[int]
) -> tuple[LabelSpace, list[Threshold]]:
    """The labels with what mistakes cost (Elkan 2001, "The foundations of cost-sensitive learning"). No row is needed
    for it: calibrated probabilities say what is likely, costs what is worth it. counts: rows of each label.

    Two single labels, and each of several, get a threshold; more single labels are decided by the whole matrix. Raises
    InputError as `cost_matrix` does.
    """
    matrix = cost_matrix(asked, space)
    if space.kind == "single" and len(space) > 2:
        return replace(space, costs=tuple(map(tuple, matrix.tolist()))), []
    # Where a label is likelier than this, leaving it out costs more than giving it.
    pairs = matrix if space.kind == "multi" else np.array([matrix[[0, 1], [1, 0]], matrix[[1, 0], [0, 1]]])
    sums = pairs.sum(axis=1)
    limits = (pairs[:, 1] / sums).tolist()
    return replace(space, thresholds=tuple(limits)), [
        Threshold(label=name, threshold=limit, rule="costs", rows=count)
        for name, limit, count in zip(space.names, limits, counts, strict=True)
    ]


def cost_matrix(asked: dict[str, dict[str, float]], space: LabelSpace) -> Floats:
    """What each mistake costs, 1 where nothing is said: [C, C] of a true and a decided label, or for several labels
    [C, 2] of a missed and a falsely given one.

    Raises InputError for a label or a mistake that there is not, and for one that costs nothing.
    """
    matrix = np.ones((len(space), 2)) if space.kind == "multi" else 1 - np.eye(len(space))
    kinds = ("missed", "false") if space.kind == "multi" else space.names
    for name, costs in asked.items():
        for other, cost in costs.items():
            if other not in kinds:
                do = nearest(other, kinds) or f"one of {', '.join(kinds)}"
                raise InputError(f"costs: there is no {other!r} to decide for {name!r}", do=do)
            if space.kind == "single" and other == name:
                raise InputError(f"costs: to decide {name!r} for {name!r} is no mistake", do="name two labels")
            if cost <= 0:
                raise InputError("costs: a mistake that costs nothing is no mistake", found=asked, expected="above 0")
            matrix[space.id(name), kinds.index(other)] = cost
    return matrix


def cuts(scores: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Thresholds that lie between neighbouring scores of [N], the highest first: how many rows reach each, and what it
    is. In steps that are wide enough for rounding.
    """
    ordered = -np.sort(-scores)
    tiny = 1e-12
    odds = np.log(ordered + tiny) - np.log1p(tiny - ordered)
    places = np.flatnonzero(odds[:-1] - odds[1:] > _GAP) + 1
    return places, np.asarray((ordered[places - 1] + ordered[places]) / 2)


def _cut(scores: Floats, true: NDArray[np.bool_]) -> float:
    """The threshold of the best F1; of equals the one nearest to the usual."""
    given, thresholds = cuts(scores)
    if not len(given):
        return USUAL
    # All thresholds at once: rows from the surest down, counted where each threshold cuts.
    hits = np.cumsum(true[np.argsort(-scores, kind="stable")])[given - 1]
    f1 = 2 * hits / (given + true.sum())
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(thresholds[best[np.abs(thresholds[best] - USUAL).argmin()]])


def _macro(rows: Rows, space: LabelSpace, probabilities: NDArray[np.float32], few: dict[int, bool]) -> LabelSpace:
    """The mean F1 over labels, climbed by one label's weight at a time, until no turn gains."""
    true = np.eye(len(space), dtype=np.bool_)[rows.labels.astype(np.int64)]
    weights = np.ones(len(space))
    best = _mean_f1((probabilities * weights).argmax(axis=1), true)
    for _ in range(_ROUNDS):
        before = best
        for label in (label for label in range(len(space)) if not few[label]):
            best, weights = _turn(probabilities.astype(np.float64), true, weights, label, best)
        if best <= before:
            break
    # Only ratios decide; the largest becomes the usual half.
    thresholds = 1 / weights
    return replace(space, thresholds=tuple((thresholds / (2 * thresholds.max())).tolist()))


def _turn(
    probabilities: Floats, true: NDArray[np.bool_], weights: Floats, label: int, best: float
) -> tuple[float, Floats]:
    """One label's best weight, the others staying; the old one where none is better."""
    weighed = probabilities * weights
    weighed[:, label] = 0
    # The label wins where its weight is above this.
    needed = weighed.max(axis=1) / np.maximum(probabilities[:, label], 1e-12)
    _, thresholds = cuts(1 / (1 + needed))
    chosen = thresholds[np.linspace(0, len(thresholds) - 1, min(_TRIED, len(thresholds))).round().astype(np.int64)]
    others = weighed.argmax(axis=1)
    for threshold in chosen.tolist():
        weight = 1 / threshold - 1
        value = _mean_f1(np.where(needed <= weight, label, others), true)
        if value > best + 1e-12 and weight > 0:
            best, weights = value, np.where(np.arange(len(weights)) == label, weight, weights)
    return best, weights


def _mean_f1(decided: NDArray[np.int64], true: NDArray[np.bool_]) -> float:
    size = true.shape[1]
    actual = true.argmax(axis=1)
    hits = np.bincount(actual[decided == actual], minlength=size)
    sums = np.bincount(decided, minlength=size) + np.bincount(actual, minlength=size)
    return float((2 * hits / np.maximum(sums, 1)).mean())
