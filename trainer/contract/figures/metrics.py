"""Classification metrics, from decisions and probabilities: one definition for training, parity and reports.

Written out in numpy, and held against scikit-learn by a test, because `export` and `serve` compare the same figures and
may import neither scikit-learn nor the rest of `trainer`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.contract.labels import LabelSpace, Scores

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.int64] | NDArray[np.bool_]
METRICS = (
    "accuracy",
    "precision",
    "recall",
    "f1",
    "f1_macro",
    "f1_micro",
    "f1_weighted",
    "roc_auc",
    "average_precision",
    "mcc",
    "loss",
)
# Of the positive label alone.
ONE_LABEL = ("precision", "recall", "f1")
LOWER_IS_BETTER = frozenset({"loss"})


def allowed(name: str, space: LabelSpace) -> bool:
    """Whether a metric is defined for these labels: precision, recall and F1 of one class, and MCC, need single
    labels.
    """
    return name in METRICS and (space.kind == "single" or name not in ("precision", "recall", "f1", "mcc"))


def compute(name: str, scores: Scores, labels: Labels, space: LabelSpace) -> float:
    """One metric of N rows; labels as `LabelSpace.ids` gives them. NaN where it is undefined: without rows, and for
    a rank metric where a label has no positive (or, for roc_auc, no negative) row.

    accuracy of multi-label rows is the share of rows with every label right. roc_auc and average_precision are those of
    the positive label for two single labels, else the mean over labels of one against the rest. loss is the mean
    negative log-likelihood (for multi-label: over rows and labels). A precision, recall or F1 with nothing to divide by
    is 0.
    """
    return float(Weighed.once(scores, labels, space).values(name)[0])


def shown(value: float | None) -> str:
    """A figure for a person: four digits, or that there is none."""
    return "undefined" if value is None or math.isnan(value) else f"{value:z.4f}"


def shown_range(low: float | None, high: float | None) -> str:
    """An interval for a person; where it is a point, in words: such resamples know nothing of other rows."""
    return "none: no resample differs" if is_point(low, high) else f"{shown(low)} to {shown(high)}"


def is_point(low: float | None, high: float | None) -> bool:
    """Whether an interval is a single point, as where no row is wrong: it bounds nothing."""
    return low is not None and high is not None and math.isclose(low, high, rel_tol=1e-9)


def compute_all(scores: Scores, labels: Labels, space: LabelSpace) -> dict[str, float]:
    """Every metric that is defined for these labels."""
    rows = Weighed.once(scores, labels, space)
    return {name: float(rows.values(name)[0]) for name in METRICS if allowed(name, space)}


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Weighed rows, R times over. Per label, [R, C]: true positives, rows decided so, rows labelled so."""

    true_positive: Floats
    predicted: Floats
    actual: Floats
    right: Floats
    """[R]: rows whose whole decision is right."""
    rows: Floats
    """[R]: all rows."""


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """N rows, each counted as often as its weight says, R times over: a bootstrap's resamples, or all rows once."""

    scores: Scores
    labels: Labels
    space: LabelSpace
    weights: Floats
    """[R, N]: how often each row counts."""

    @classmethod
    def once(cls, scores: Scores, labels: Labels, space: LabelSpace) -> "Weighed":
        """Every row once: R is 1."""
        return cls(scores=scores, labels=labels, space=space, weights=np.ones((1, len(labels))))

    def values(self, name: str) -> Floats:
        """A metric for each of the R weighings, [R]: see `compute`."""
        if not len(self.labels):
            return np.full(len(self.weights), np.nan)
        if name in ("roc_auc", "average_precision"):
            return self._ranks[name]
        return self._loss() if name == "loss" else _COUNTED[name](self.counts, self.space)

    @cached_property
    def counts(self) -> Counts:
        """What decisions and labels have in common."""
        decided, labels = self.scores.decisions, self.labels
        right = decided == labels if self.space.kind == "single" else (decided == labels).all(axis=1)
        true_positive, predicted, actual = self._counts()
        return Counts(
            true_positive=true_positive,
            predicted=predicted,
            actual=actual,
            right=(self.weights @ right.astype(self.weights.dtype)).astype(np.float64),
            rows=self.weights.sum(axis=1, dtype=np.float64),
        )

    def _counts(self) -> tuple[Floats, Floats, Floats]:
        decided, labels, size = self.scores.decisions, self.labels, len(self.space)
        if self.space.kind == "multi":
            found, true = decided.astype(np.bool_), labels.astype(np.bool_)
            return tuple(
                (self.weights @ each.astype(self.weights.dtype)).astype(np.float64)
                for each in (found & true, found, true)
            )  # type: ignore[return-value]
        given, named = decided.astype(np.int64), labels.astype(np.int64)
        # Misses are counted under one number more, which `counted` drops.
        hits = np.where(given == named, named, size)

        def counted(of: NDArray[np.int64]) -> Floats:
            """Weights of each class's rows, [W, C], of class numbers [N]."""
            return np.array([np.bincount(of, weights=row, minlength=size + 1)[:size] for row in self.weights])

        return counted(hits), counted(given), counted(named)

    @cached_property
    def _ranks(self) -> dict[str, Floats]:
        """Mean over labels of each rank metric; of the positive label where two single ones exclude each other."""
        space = self.space
        chosen = [space.positive_id] if space.kind == "single" and len(space) == 2 else range(len(space))
        true = (lambda label: self.labels[:, label]) if space.kind == "multi" else (lambda label: self.labels == label)
        found = [
            _ranked(self.scores.probabilities[:, label], true(label).astype(np.bool_), self.weights) for label in chosen
        ]
        return {name: np.mean([each[name] for each in found], axis=0) for name in ("roc_auc", "average_precision")}

    def _loss(self) -> Floats:
        each = row_losses(self.scores.probabilities, self.labels, self.space)
        return np.asarray(
            (self.weights @ each.astype(self.weights.dtype)).astype(np.float64)
            / self.weights.sum(axis=1, dtype=np.float64)
        )


def row_losses(probabilities: NDArray[np.float32], labels: Labels, space: LabelSpace) -> NDArray[np.float64]:
    """The negative log-likelihood of each row's labels, [N]; for multi-label the mean over labels."""
    tiny = np.finfo(np.float32).tiny
    found = probabilities.astype(np.float64)
    if space.kind == "single":
        given = found[np.arange(len(labels)), labels.astype(np.int64)]
        return np.asarray(-np.log(np.maximum(given, tiny)))
    # A float32 that reads 1 stands for anything above 1 - 2**-25: no more is held against a wrong label.
    low, high = np.maximum(found, tiny), np.maximum(1 - found, 2.0**-25)
    return np.asarray(-np.log(np.where(labels.astype(np.bool_), low, high)).mean(axis=1))


def per_class(scores: Scores, labels: Labels, space: LabelSpace) -> list[dict[str, float | int | str]]:
    """Precision, recall, F1 and support of each label."""
    counts = Weighed.once(scores, labels, space).counts
    return [
        {
            "label": name,
            "precision": float(_ratio(tp, found)),
            "recall": float(_ratio(tp, true)),
            "f1": float(_ratio(2 * tp, found + true)),
            "support": int(true),
        }
        for name, tp, found, true in zip(
            space.names, counts.true_positive[0], counts.predicted[0], counts.actual[0], strict=True
        )
    ]


def confusion(scores: Scores, labels: Labels, space: LabelSpace) -> NDArray[np.int64]:
    """Single-label: [C, C], rows true, columns predicted. Multi-label: [C, 2, 2], each label's tn fp / fn tp."""
    if space.kind == "single":
        flat = np.asarray(labels, dtype=np.int64) * len(space) + scores.decisions.astype(np.int64)
        return np.bincount(flat, minlength=len(space) ** 2).reshape(len(space), len(space))
    counts = Weighed.once(scores, labels, space).counts
    tp, predicted, actual = (
        each[0].astype(np.int64) for each in (counts.true_positive, counts.predicted, counts.actual)
    )
    return np.stack([len(labels) - predicted - actual + tp, predicted - tp, actual - tp, tp], axis=1).reshape(-1, 2, 2)


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.asarray(part / np.where(whole > 0, whole, 1.0))


def _ranked(scores: NDArray[np.float32], true: NDArray[np.bool_], weights: Floats) -> dict[str, Floats]:
    """roc_auc: the chance that a positive row outranks a negative one, ties counting half (Mann and Whitney 1947).
    average_precision: precision at each distinct score, weighted by the recall gained there. Both [R].

    Rows are sorted once. Only scores that a positive row has matter, so what lies between two of them is summed up.
    """
    order = np.argsort(-scores.astype(np.float64), kind="stable")
    ordered, positive = scores[order], true[order]
    if not positive.any():
        return dict.fromkeys(("roc_auc", "average_precision"), np.full(len(weights), np.nan))
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    group = np.cumsum(np.append(False, ordered[1:] != ordered[:-1]))[positive]
    has = np.zeros(len(starts), dtype=np.bool_)
    has[group] = True
    own = has | np.append(True, has[:-1])
    # `take` gathers columns several times faster than an index does.
    hits = _sums(np.take(weights, order[positive], axis=1), np.flatnonzero(np.diff(group, prepend=-1)))
    sums = _sums(np.take(weights, order, axis=1), starts[own])
    total, places = np.cumsum(sums, axis=1, dtype=np.float64), np.flatnonzero(has[own])
    until, found = np.take(total, places, axis=1), np.cumsum(hits, axis=1, dtype=np.float64)
    before = until - np.take(sums, places, axis=1)
    positives, negatives = found[:, -1], total[:, -1] - found[:, -1]
    # Negative rows behind a score, and half of those that tie with it.
    behind = negatives[:, None] - (before - (found - hits)) - (until - before - hits) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "roc_auc": (behind * hits).sum(axis=1) / (positives * negatives),
            "average_precision": (_ratio(found, until) * hits).sum(axis=1) / positives,
        }


def _sums(weights: Floats, starts: NDArray[np.int64]) -> Floats:
    return np.asarray(np.add.reduceat(weights, starts, axis=1))


def _f1_each(counts: Counts) -> Floats:
    return _ratio(2 * counts.true_positive, counts.predicted + counts.actual)


def _f1_macro(counts: Counts, space: LabelSpace) -> Floats:
    """Mean over the labels that occur, among the true ones or the decided ones (as scikit-learn does)."""
    # Of several labels a row every one counts, also one that does not occur.
    present = (counts.predicted + counts.actual > 0) | (space.kind == "multi")
    return _ratio((_f1_each(counts) * present).sum(axis=1), present.sum(axis=1).astype(np.float64))


def _mcc(counts: Counts, _space: LabelSpace) -> Floats:
    """Matthews' correlation for any number of classes (Gorodkin 2004)."""
    tp, predicted, actual, rows = counts.true_positive, counts.predicted, counts.actual, counts.rows
    covariance = tp.sum(axis=1) * rows - (predicted * actual).sum(axis=1)
    return _ratio(covariance, np.sqrt((rows**2 - (predicted**2).sum(axis=1)) * (rows**2 - (actual**2).sum(axis=1))))


_COUNTED: dict[str, Callable[[Counts, LabelSpace], Floats]] = {
    "accuracy": lambda counts, _: _ratio(counts.right, counts.rows),
    "precision": lambda counts, space: _ratio(counts.true_positive, counts.predicted)[:, space.positive_id],
    "recall": lambda counts, space: _ratio(counts.true_positive, counts.actual)[:, space.positive_id],
    "f1": lambda counts, space: _f1_each(counts)[:, space.positive_id],
    "f1_macro": _f1_macro,
    "f1_micro": lambda counts, _: _ratio(
        2 * counts.true_positive.sum(axis=1), (counts.predicted + counts.actual).sum(axis=1)
    ),
    "f1_weighted": lambda counts, _: _ratio((_f1_each(counts) * counts.actual).sum(axis=1), counts.actual.sum(axis=1)),
    "mcc": _mcc,
}
