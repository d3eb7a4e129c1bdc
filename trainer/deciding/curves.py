"""What decisions look like over all thresholds, for the report: at most 101 points a curve."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.contract.figures.exact import upper_bound
from trainer.contract.figures.metrics import Labels
from trainer.contract.labels import LabelSpace, Scores
from trainer.deciding.parts import Rows
from trainer.deciding.thresholds import cuts, is_label, label_scores

COVERAGE_POINTS, LABELS_DECIDED = 101, 30


def by_threshold(rows: Rows, space: LabelSpace) -> list[dict[str, Any]]:
    """Precision, recall and F1 of the most frequent labels by threshold, the highest first."""
    probabilities = space.decode(rows.logits).probabilities
    counts = [int(is_label(rows, label, space).sum()) for label in range(len(space))]
    found = []
    for label in np.argsort(-np.array(counts), kind="stable")[:LABELS_DECIDED].tolist():
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
    """At most COVERAGE_POINTS of so many places, the first and the last among them."""
    return np.unique(np.linspace(0, max(0, count - 1), min(COVERAGE_POINTS, count)).round().astype(np.int64))
