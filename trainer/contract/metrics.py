"""Classification metrics, from decisions and probabilities: one definition for training, parity and reports.

Written out in numpy, and held against scikit-learn by a test, because `export` and `serve` compare the same figures and
may import neither scikit-learn nor the rest of `trainer`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.contract.labels import LabelSpace, Scores

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
LOWER_IS_BETTER = frozenset({"loss"})


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A metric's value with a 95 % bootstrap interval."""

    value: float
    low: float
    high: float


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
    return float(_FUNCTIONS[name](scores, labels, space)) if len(labels) else float("nan")


def compute_all(scores: Scores, labels: Labels, space: LabelSpace) -> dict[str, float]:
    """Every metric that is defined for these labels."""
    return {name: compute(name, scores, labels, space) for name in METRICS if allowed(name, space)}


def bootstrap(
    measure: Callable[[NDArray[np.int64]], float], rows: int, *, rounds: int = 1000, seed: int = 0
) -> Interval:
    """Value and 95 % percentile interval of `measure(row numbers)` over resampled rows (Efron 1979).

    Undefined resamples are left out; without rows all three are NaN.
    """
    if not rows:
        return Interval(value=float("nan"), low=float("nan"), high=float("nan"))
    generator = np.random.default_rng(seed)
    samples = np.array([measure(generator.integers(0, rows, rows)) for _ in range(rounds)])
    samples = samples[np.isfinite(samples)]
    low, high = np.percentile(samples, [2.5, 97.5]) if len(samples) else (float("nan"), float("nan"))
    return Interval(value=measure(np.arange(rows)), low=float(low), high=float(high))


def take(scores: Scores, rows: NDArray[np.int64]) -> Scores:
    """The scores of some rows."""
    return Scores(probabilities=scores.probabilities[rows], decisions=scores.decisions[rows])


def per_class(scores: Scores, labels: Labels, space: LabelSpace) -> list[dict[str, float | int | str]]:
    """Precision, recall, F1 and support of each label."""
    true_positive, predicted, actual = _counts(scores, labels, space)
    return [
        {
            "label": name,
            "precision": float(_ratio(tp, found)),
            "recall": float(_ratio(tp, true)),
            "f1": float(_ratio(2 * tp, found + true)),
            "support": int(true),
        }
        for name, tp, found, true in zip(space.names, true_positive, predicted, actual, strict=True)
    ]


def confusion(scores: Scores, labels: Labels, space: LabelSpace) -> NDArray[np.int64]:
    """Single-label: [C, C], rows true, columns predicted. Multi-label: [C, 2, 2], each label's tn fp / fn tp."""
    if space.kind == "single":
        flat = np.asarray(labels, dtype=np.int64) * len(space) + scores.decisions.astype(np.int64)
        return np.bincount(flat, minlength=len(space) ** 2).reshape(len(space), len(space))
    tp, predicted, actual = (counts.astype(np.int64) for counts in _counts(scores, labels, space))
    return np.stack([len(labels) - predicted - actual + tp, predicted - tp, actual - tp, tp], axis=1).reshape(-1, 2, 2)


def _counts(
    scores: Scores, labels: Labels, space: LabelSpace
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Per label: true positives, rows decided so, rows labelled so."""
    found, true = _one_hot(scores.decisions, space), _one_hot(labels, space)
    return (
        (found & true).sum(axis=0).astype(np.float64),
        found.sum(axis=0).astype(np.float64),
        true.sum(axis=0).astype(np.float64),
    )


def _one_hot(labels: NDArray[np.generic], space: LabelSpace) -> NDArray[np.bool_]:
    if space.kind == "multi":
        return labels.astype(np.bool_)
    return np.asarray(labels[:, None] == np.arange(len(space)), dtype=np.bool_)


def _ratio(part: NDArray[np.float64] | float, whole: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(part / np.where(np.asarray(whole) > 0, whole, 1.0))


def _accuracy(scores: Scores, labels: Labels, space: LabelSpace) -> float:
    same = scores.decisions == labels
    return float((same if space.kind == "single" else same.all(axis=1)).mean())


def _precision(scores: Scores, labels: Labels, space: LabelSpace) -> float:
    tp, predicted, _ = _counts(scores, labels, space)
    return float(_ratio(tp, predicted)[space.positive_id])


def _recall(scores: Scores, labels: Labels, space: LabelSpace) -> float:
    tp, _, actual = _counts(scores, labels, space)
    return float(_ratio(tp, actual)[space.positive_id])


def _f1_each(scores: Scores, labels: Labels, space: LabelSpace) -> NDArray[np.float64]:
    tp, predicted, actual = _counts(scores, labels, space)
    return _ratio(2 * tp, predicted + actual)


def _f1_micro(scores: Scores, labels: Labels, space: LabelSpace) -> float:
    tp, predicted, actual = _counts(scores, labels, space)
    return float(_ratio(2 * tp.sum(), predicted.sum() + actual.sum()))


def _f1_weighted(scores: Scores, labels: Labels, space: LabelSpace) -> float:
    actual = _counts(scores, labels, space)[2]
    return float(_ratio((_f1_each(scores, labels, space) * actual).sum(), actual.sum()))


def _f1_macro(scores: Scores, labels: Labels, space: LabelSpace) -> float:
    """Mean over the labels that occur, among the true ones or the decided ones (as scikit-learn does)."""
    _, predicted, actual = _counts(scores, labels, space)
    present = (predicted + actual > 0) | (space.kind == "multi")
    return float(_f1_each(scores, labels, space)[present].mean())


def _mcc(scores: Scores, labels: Labels, space: LabelSpace) -> float:
    """Matthews' correlation for any number of classes (Gorodkin 2004)."""
    tp, predicted, actual = _counts(scores, labels, space)
    rows = float(len(labels))
    covariance = tp.sum() * rows - (predicted * actual).sum()
    spread = np.sqrt((rows**2 - (predicted**2).sum()) * (rows**2 - (actual**2).sum()))
    return float(covariance / spread) if spread > 0 else 0.0


def _ranked(
    measure: Callable[[NDArray[np.float64], NDArray[np.bool_]], float],
) -> Callable[[Scores, Labels, LabelSpace], float]:
    def over_labels(scores: Scores, labels: Labels, space: LabelSpace) -> float:
        true = _one_hot(labels, space)
        chosen = [space.positive_id] if space.kind == "single" and len(space) == 2 else range(len(space))
        return float(
            np.mean([measure(scores.probabilities[:, label].astype(np.float64), true[:, label]) for label in chosen])
        )

    return over_labels


def _roc_auc(scores: NDArray[np.float64], true: NDArray[np.bool_]) -> float:
    """Chance that a positive row outranks a negative one, ties counting half (Mann and Whitney 1947)."""
    positives, negatives = int(true.sum()), int((~true).sum())
    if not positives or not negatives:
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middle_rank = np.cumsum(counts) - (counts - 1) / 2
    return float((middle_rank[place][true].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _average_precision(scores: NDArray[np.float64], true: NDArray[np.bool_]) -> float:
    """Precision at each distinct score, weighted by the recall gained there."""
    if not true.any():
        return float("nan")
    distinct, place = np.unique(-scores, return_inverse=True)
    hits = np.bincount(place, weights=true, minlength=len(distinct))
    rows = np.bincount(place, minlength=len(distinct))
    return float((np.cumsum(hits) / np.cumsum(rows) * hits).sum() / true.sum())


def _loss(scores: Scores, labels: Labels, space: LabelSpace) -> float:
    tiny = np.finfo(np.float32).tiny
    probabilities = scores.probabilities.astype(np.float64)
    if space.kind == "single":
        return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels.astype(np.int64)], tiny)).mean())
    # A float32 that reads 1 stands for anything above 1 - 2**-25: no more than that is held against a wrong label.
    right = np.where(labels.astype(np.bool_), np.maximum(probabilities, tiny), np.maximum(1 - probabilities, 2.0**-25))
    return float(-np.log(right).mean())


_FUNCTIONS: dict[str, Callable[[Scores, Labels, LabelSpace], float]] = {
    "accuracy": _accuracy,
    "precision": _precision,
    "recall": _recall,
    "f1": lambda scores, labels, space: float(_f1_each(scores, labels, space)[space.positive_id]),
    "f1_macro": _f1_macro,
    "f1_micro": _f1_micro,
    "f1_weighted": _f1_weighted,
    "roc_auc": _ranked(_roc_auc),
    "average_precision": _ranked(_average_precision),
    "mcc": _mcc,
    "loss": _loss,
}
