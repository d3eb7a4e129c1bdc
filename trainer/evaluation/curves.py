"""Points of ROC and precision-recall curves, few enough for a page."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from trainer.evaluation.measured import Measured

# Points of a curve, and curves: a page draws no more.
CURVE_POINTS = 100
LABELS_WITH_CURVES = 20
_DIGITS = 6


def curves(measured: Measured) -> list[dict[str, Any]]:
    """Both curves of the positive label where two exclude each other, else of each of the most frequent labels (at most
    LABELS_WITH_CURVES) against the rest. A label that all rows have, or none, has no curves.
    """
    space, truth = measured.space, measured.truth
    support = truth.sum(axis=0)
    order = (
        [space.positive_id] if measured.is_binary else np.argsort(-support, kind="stable")[:LABELS_WITH_CURVES].tolist()
    )
    found = []
    for label in sorted(label for label in order if 0 < support[label] < len(measured)):
        true, score = truth[:, label], measured.scores.probabilities[:, label]
        false_positive, true_positive, cuts = roc_curve(true, score)
        # Its first point lies above all scores, at infinity, which JSON has not.
        roc = _thin(false_positive, true_positive, np.minimum(cuts, 1.0))
        precision, recall, limits = precision_recall_curve(true, score)
        # Its last point is of no threshold: above all scores.
        both = _thin(recall, precision, np.append(limits, 1.0))
        found.append(
            {
                "label": space.names[label],
                "roc": dict(zip(("false_positive_rate", "true_positive_rate", "threshold"), roc, strict=True)),
                "precision_recall": dict(zip(("recall", "precision", "threshold"), both, strict=True)),
            }
        )
    return found


def _thin(x: NDArray[np.floating], y: NDArray[np.floating], threshold: NDArray[np.floating]) -> list[list[float]]:
    """At most CURVE_POINTS of a curve's own points, spread evenly along its length, both ends among them."""
    steps = np.abs(np.diff(x)) + np.abs(np.diff(y))
    walked = np.concatenate([[0.0], np.cumsum(steps)])
    wanted = np.linspace(0.0, walked[-1], CURVE_POINTS)
    chosen = np.unique(np.append(np.searchsorted(walked, wanted)[: CURVE_POINTS - 1], len(x) - 1))
    return [np.round(each[chosen].astype(np.float64), _DIGITS).tolist() for each in (x, y, threshold)]
