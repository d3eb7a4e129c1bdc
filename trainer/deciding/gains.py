"""What decisions are worth: every metric before and after, on the same rows, with the interval of the difference."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.contract.figures.exact import interval
from trainer.contract.figures.metrics import LOWER_IS_BETTER, METRICS, Labels, allowed, compute
from trainer.contract.figures.resample import Interval, resampled
from trainer.contract.labels import LabelSpace, Scores


def gains(before: Scores, after: Scores, labels: Labels, space: LabelSpace) -> dict[str, dict[str, Any]]:
    """Each metric of all rows, answered or not, before and after, and the gain with its paired 95 % bootstrap interval:
    positive is better. Rank metrics are left out: they look at no decision.
    """
    names = [name for name in METRICS if allowed(name, space) and name not in ("roc_auc", "average_precision")]
    old, new = (resampled(names, scores, labels, space) for scores in (before, after))
    found = {}
    for name in names:
        values = [compute(name, scores, labels, space) for scores in (before, after)]
        sign = -1 if name in LOWER_IS_BETTER else 1
        gain = Interval.of(sign * (values[1] - values[0]), sign * (new[name] - old[name]))
        found[name] = {"before": values[0], "after": values[1], "gain": asdict(gain)}
    return found


def what_was_gained(logits: NDArray[np.float32], labels: Labels, space: LabelSpace) -> dict[str, Any] | None:
    """What `decide` changes on rows that it never saw: every metric with and without, and how many rows are answered;
    None where nothing was decided. logits: [N, C].
    """
    plain = space.undecided()
    if space == plain:
        return None
    after = space.decode(logits)
    return {
        "temperature": space.temperature,
        "metrics": gains(plain.decode(logits), after, labels, space),
        "answered": answered(after, labels),
        "promised": None if space.abstain is None else space.abstain.error,
    }


def answered(scores: Scores, labels: Labels) -> dict[str, Any] | None:
    """How many rows are answered and how many of those are wrong, with exact 95 % intervals; None where nothing is left
    unanswered by rule. Of multi-label rows one is wrong where any label is.
    """
    if scores.abstained is None:
        return None
    rows, wrong = int(scores.answered.sum()), int((~scores.right(labels))[scores.answered].sum())
    return {
        "rows": len(labels),
        "answered": rows,
        "wrong": wrong,
        "coverage": share(rows, len(labels)),
        "error": share(wrong, rows),
    }


def share(part: int, whole: int) -> dict[str, float]:
    """A share with its exact 95 % interval; NaN of nothing."""
    if not whole:
        return {"value": np.nan, "low": 0.0, "high": 1.0}
    low, high = interval(part, whole)
    return {"value": part / whole, "low": low, "high": high}
