"""A threshold above which rows are trusted, with a bound on the share of them that is wrong, shown on labelled rows.

What is counted is the error among the rows at or above a threshold. Given how many of the rows drawn lie there, the
wrong ones among them are binomial with exactly that error (selective risk: Geifman and El-Yaniv 2017, arXiv 1705.08500,
lemma 3.1), so the bound of Clopper and Pearson holds for one threshold that was fixed before. Many are tried by
fixed-sequence testing (`exact.last_within`), which needs their order fixed before too: `ladder` makes it from other
rows (the split of Learn then Test, arXiv 2110.01052, section 4). Nothing is assumed of the model or of its
probabilities; the rows must be drawn independently from what will be scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.contract.figures.exact import at_most, last_within, upper_bound

Floats = NDArray[np.float64]
# Thresholds of a ladder, at most. More would be bolder by a hundredth of the rows at best.
STEPS = 100


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A threshold, and what the tested rows show of it."""

    threshold: float
    wrong: int
    """Of the rows that count."""
    rows: int
    """Those that count."""
    bound: float
    """The largest error that they leave possible."""
    tries: int
    """Thresholds that were tested up to this one."""


def ladder(scores: Floats, wrong: Floats, rows: int, *, target: float, delta: float) -> Floats:
    """Thresholds to test, the most careful first, and last 0, from rows that are not tested themselves.

    scores: [F], 0 to 1, how far each of these rows is to be trusted. wrong: [F], 0 or 1, or the chance of it. rows: how
    many will be tested. Between neighbouring scores lies each threshold, so that rounding moves no row across it. The
    first is the one likeliest to pass: before it too few rows would count to show anything.
    """
    order = np.argsort(-scores, kind="stable")
    ordered, sums = scores[order], np.cumsum(wrong[order])
    wanted = np.linspace(1, len(ordered), min(STEPS, len(ordered))).round().astype(np.int64)
    counts = [
        count for count in np.unique(wanted).tolist() if count == len(ordered) or ordered[count - 1] > ordered[count]
    ]
    chances, allowed = [], -1
    for count in counts:
        tested = count * rows // len(ordered)
        while allowed + 1 < tested and upper_bound(allowed + 1, tested, delta) <= target:
            allowed += 1
        # The rate is little known from few rows: half a row more is held against it.
        rate = min(1.0, (float(sums[count - 1]) + 0.5) / count)
        chances.append(at_most(allowed, tested, rate) if allowed >= 0 else 0.0)
    start = int(np.argmax(chances))
    steps = [float(ordered[count - 1 : count + 1].mean()) if count < len(ordered) else 0.0 for count in counts]
    return np.array(steps[start:])


def wrong_and_rows(scores: Floats, wrong: NDArray[np.bool_], thresholds: Floats) -> list[tuple[int, int]]:
    """(wrong, rows) of the rows at or above each threshold."""
    return [(int(wrong[scores >= threshold].sum()), int((scores >= threshold).sum())) for threshold in thresholds]


def show(steps: Sequence[tuple[int, int]], thresholds: Floats, *, target: float, delta: float) -> Shown | None:
    """The boldest threshold whose error is shown to be at most `target`, but for a probability of `delta` that the rows
    mislead; None where already the first fails. steps: (wrong, rows) of each threshold, on rows that made no ladder.
    """
    last = last_within(steps, target, delta)
    if last is None:
        return None
    wrong, rows = steps[last]
    bound = upper_bound(wrong, rows, delta)
    return Shown(threshold=float(thresholds[last]), wrong=wrong, rows=rows, bound=bound, tries=last + 1)
