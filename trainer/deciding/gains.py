"""What decisions are worth: every metric before and after, on the same rows, with the interval of the difference."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.contract.figures.exact import interval
from trainer.contract.figures.metrics import Labels
from trainer.contract.figures.resample import Interval, Units
from trainer.contract.labels import LabelSpace, Scores
from trainer.evaluation.figures import LOWER, names, resampled_systems
from trainer.evaluation.measured import Measured


def gains(before: Measured, after: Measured, units: Units | None = None) -> dict[str, dict[str, Any]]:
    """Each metric of all rows, answered or not, before and after, and the gain with its paired 95 % bootstrap interval:
    positive is better. Rank metrics are left out: they look at no decision. units: the rows' groups, drawn together.
    """
    wanted = [name for name in names(before.space) if name not in ("roc_auc", "average_precision")]
    both = resampled_systems({"before": before, "after": after}, dict.fromkeys(("before", "after"), wanted), units)
    old, new = both["before"], both["after"]
    found = {}
    for name in wanted:
        sign = -1 if name in LOWER else 1
        gain = Interval.of(sign * (new.values[name] - old.values[name]), sign * (new.samples[name] - old.samples[name]))
        found[name] = {"before": old.values[name], "after": new.values[name], "gain": asdict(gain)}
    return found


def what_was_gained(
    logits: NDArray[np.float32], labels: Labels, space: LabelSpace, units: Units | None = None
) -> dict[str, Any] | None:
    """What `decide` changes on rows that it never saw: every metric with and without, and how many rows are answered;
    None where nothing was decided. logits: [N, C]; units: see `gains`.
    """
    plain = space.undecided()
    if space == plain:
        return None
    after = space.decode(logits)
    return {
        "temperature": space.temperature,
        "metrics": gains(
            Measured(scores=plain.decode(logits), labels=labels, space=space),
            Measured(scores=after, labels=labels, space=space),
            units,
        ),
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
        "coverage": share_with_interval(rows, len(labels)),
        "error": share_with_interval(wrong, rows),
    }


def share_with_interval(part: int, whole: int) -> dict[str, float]:
    """A share with its exact 95 % interval; NaN of nothing."""
    if not whole:
        return {"value": np.nan, "low": 0.0, "high": 1.0}
    low, high = interval(part, whole)
    return {"value": part / whole, "low": low, "high": high}
