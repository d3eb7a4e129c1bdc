"""Confident learning: which labels are likely wrong, from probabilities of models that never saw them.

Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels", arXiv 1911.00068. A
row counts as truly of a label where its probability of that label is at least the mean among the rows that carry it.
Rows so counted make the confident joint. Those that count as of another label than they carry say how many labels are
wrong, and so many rows are suspects: those with the least probability of the label that they carry. Of several labels a
row, each is judged by itself, as given or not given.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
# A label of fewer rows is not judged: too few to learn it from, fold by fold, and to say what its mean is.
LEAST_JUDGED_ROWS = 10


@dataclass(frozen=True, kw_only=True)
class Judged:
    """N rows of single labels, among C."""

    suspects: NDArray[np.bool_]
    """[N]: whose label is likely wrong."""
    suggested: NDArray[np.int64]
    """[N]: the most likely label among those that are judged."""
    self_confidence: NDArray[np.float64]
    """[N]: the probability of the label that a row carries."""
    joint: NDArray[np.int64]
    """[C, C]: rows that carry label i (row) and are estimated to be truly of j (column)."""
    thresholds: NDArray[np.float64]
    """[C]: the mean self-confidence of each label's rows; NaN where it is not judged."""


def judge(probabilities: Floats, labels: NDArray[np.int64]) -> Judged:
    """Judge each row's label. probabilities: [N, C], of models that did not see the row; labels: int64 [N]."""
    count = probabilities.shape[1]
    carried = np.bincount(labels, minlength=count)
    known = carried >= LEAST_JUDGED_ROWS
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    sums = np.bincount(labels, weights=own, minlength=count)
    thresholds = np.where(known, sums / np.maximum(carried, 1), np.nan)
    # Labels that are not judged are no candidates for truth either.
    reached = np.where(known, probabilities, -1.0)
    confident = np.where(reached >= np.where(known, thresholds, np.inf), reached, -1.0)
    truly, counted = _largest(confident, labels), (confident.max(axis=1) >= 0) & known[labels]
    counts = np.zeros((count, count), dtype=np.int64)
    np.add.at(counts, (labels[counted], truly[counted]), 1)
    # Off the diagonal: rows that count as of another label than the one they carry.
    wrong = int(counts.sum() - np.trace(counts))
    suggested = _largest(reached, labels)
    return Judged(
        suspects=_least(np.where(known[labels] & (suggested != labels), own, np.inf), wrong),
        suggested=suggested,
        self_confidence=own,
        joint=_scaled(counts, carried),
        thresholds=thresholds,
    )


def _largest(values: Floats, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of each row's largest value, [N]; the label that it carries where that ties with another."""
    own = values[np.arange(len(labels)), labels] == values.max(axis=1)
    return np.where(own, labels, values.argmax(axis=1))


def _scaled(counts: NDArray[np.int64], carried: NDArray[np.int64]) -> NDArray[np.int64]:
    """The confident joint in rows: each label's counts scaled to the rows that carry it, whole numbers of that sum."""
    sums = counts.sum(axis=1, keepdims=True)
    exact = counts * (carried[:, None] / np.maximum(sums, 1))
    whole = np.floor(exact).astype(np.int64)
    # What rounding down leaves over goes where the least was missing.
    for label, short in enumerate((np.where(sums[:, 0] > 0, carried, 0) - whole.sum(axis=1)).tolist()):
        whole[label, np.argsort(whole[label] - exact[label], kind="stable")[:short]] += 1
    return np.asarray(whole)


def _least(values: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """The rows of the `count` smallest finite values, [N]."""
    found = np.zeros(len(values), dtype=np.bool_)
    found[np.argsort(values, kind="stable")[:count]] = True
    return found & np.isfinite(values)


@dataclass(frozen=True, kw_only=True)
class JudgedRows:
    """N rows, whatever their kind of labels."""

    suspects: NDArray[np.bool_]
    """[N]: where any label is likely wrong."""
    suggested: NDArray[np.int64] | NDArray[np.bool_]
    """int64 [N], or bool [N, C]: the labels with those turned over that are likely wrong."""
    self_confidence: NDArray[np.float64]
    """[N]: the probability of the label as it stands; of several the least that is likely wrong."""
    joint: NDArray[np.int64]
    """[C, C], or for each label by itself [C, 2, 2] (not given, given)."""
    agreement: float
    """Share of labels that the models give as they stand: of rows, or of rows and labels."""


def judge_rows(probabilities: Floats, labels: NDArray[np.int64] | NDArray[np.bool_]) -> JudgedRows:
    """Judge each row. labels: int64 [N] for single labels, bool [N, C] for several, each then judged by itself."""
    if labels.ndim == 1:
        found = judge(probabilities, labels.astype(np.int64))
        return JudgedRows(
            suspects=found.suspects,
            suggested=found.suggested,
            self_confidence=found.self_confidence,
            joint=found.joint,
            agreement=float((probabilities.argmax(axis=1) == labels).mean()),
        )
    given = labels.astype(np.bool_)
    each = [
        judge(
            np.stack([1 - probabilities[:, label], probabilities[:, label]], axis=1), given[:, label].astype(np.int64)
        )
        for label in range(given.shape[1])
    ]
    wrong = np.stack([one.suspects for one in each], axis=1)
    believed = np.stack([one.self_confidence for one in each], axis=1)
    return JudgedRows(
        suspects=np.asarray(wrong.any(axis=1)),
        suggested=given ^ wrong,
        self_confidence=np.where(wrong, believed, np.inf).min(axis=1),
        joint=np.stack([one.joint for one in each]),
        agreement=float(((probabilities >= 0.5) == given).mean()),
    )
