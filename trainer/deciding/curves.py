"""What decisions look like over all thresholds, for the report: at most 101 points a curve."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.contract.figures.exact import upper_bound
from trainer.contract.figures.metrics import Labels
from trainer.contract.labels import LabelSpace, Scores
from trainer.deciding.parts import Rows
from trainer.deciding.thresholds import cuts, is_label, label_scores

POINTS, LABELS, BINS = 101, 30, 15
# A bin of fewer says little but noise.
_LEAST_IN_BIN = 20


def calibration(scores: Scores, labels: Labels) -> list[dict[str, float | int]]:
    """Bins of equally many probabilities (Nguyen and O'Connor 2015, arXiv 1508.05154): their mean, and the share that
    is right. Single-label: of the decided label; multi-label: of each label of each row.
    """
    if scores.decisions.ndim == 1:
        sure, right = scores.confidence, scores.right(labels)
    else:
        sure, right = scores.probabilities.astype(np.float64).ravel(), labels.astype(np.bool_).ravel()
    edges = np.quantile(sure, np.linspace(0, 1, int(np.clip(len(sure) // _LEAST_IN_BIN, 1, BINS)) + 1))
    # A probability that many rows share falls into one bin, so there may be fewer.
    place = np.searchsorted(np.unique(edges)[1:-1], sure, side="left")
    bins = [(sure[place == number], right[place == number]) for number in np.unique(place).tolist()]
    return [
        {
            "low": float(inside.min()),
            "high": float(inside.max()),
            "rows": len(inside),
            "confidence": float(inside.mean()),
            "right": float(true.mean()),
        }
        for inside, true in bins
    ]


def calibration_error(bins: list[dict[str, float | int]]) -> float:
    """Expected calibration error: the mean over probabilities of |mean probability - share right| of their bin (Guo et
    al. 2017, arXiv 1706.04599).
    """
    rows = sum(each["rows"] for each in bins)
    return float(sum(each["rows"] * abs(each["confidence"] - each["right"]) for each in bins) / rows)


def by_threshold(rows: Rows, space: LabelSpace) -> list[dict[str, Any]]:
    """Precision, recall and F1 of the most frequent labels by threshold, the highest first."""
    probabilities = space.decode(rows.logits).probabilities
    counts = [int(is_label(rows, label, space).sum()) for label in range(len(space))]
    found = []
    for label in np.argsort(-np.array(counts), kind="stable")[:LABELS].tolist():
        scores, true = label_scores(probabilities, label, space), is_label(rows, label, space)
        given, thresholds = cuts(scores)
        chosen = _spread(len(given))
        hits = np.cumsum(true[np.argsort(-scores, kind="stable")])[given[chosen] - 1]
        found.append(
            {
                "label": space.names[label],
                "threshold": thresholds[chosen].tolist(),
                "precision": (hits / given[chosen]).tolist(),
                "recall": (hits / max(1, counts[label])).tolist(),
                "f1": (2 * hits / (given[chosen] + counts[label])).tolist(),
            }
        )
    return found


def by_confidence(scores: Scores, labels: Labels, delta: float) -> dict[str, list[float]]:
    """Rows answered, and the share of them that is wrong, by the confidence below which rows are not answered. delta:
    the chance that a bound is too low, of each point by itself.
    """
    sure, wrong = scores.confidence, ~scores.right(labels)
    order = np.argsort(-sure, kind="stable")
    counts, below = np.append(cuts(sure)[0], len(sure)), np.append(cuts(sure)[1], 0.0)
    chosen = _spread(len(counts))
    errors = np.cumsum(wrong[order])[counts[chosen] - 1].tolist()
    pairs = list(zip(errors, counts[chosen].tolist(), strict=True))
    return {
        "below": below[chosen].tolist(),
        "coverage": [rows / len(sure) for _, rows in pairs],
        "error": [bad / rows for bad, rows in pairs],
        "bound": [upper_bound(bad, rows, delta) for bad, rows in pairs],
    }


def _spread(count: int) -> NDArray[np.int64]:
    """At most POINTS of so many places, the first and the last among them."""
    return np.unique(np.linspace(0, max(0, count - 1), min(POINTS, count)).round().astype(np.int64))
