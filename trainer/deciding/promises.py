"""What is promised of decisions, shown on rows that chose nothing: precision and recall of labels, and the error among
answered rows.

Each promise is a fixed sequence of thresholds, tested from the most careful on (`contract/figures/selective.py`). What
is counted is binomial for each: wrong rows among those that a label is given to (precision), missed rows among those
that have the label (recall), wrong rows among those answered (of multi-label rows: with any label wrong).
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trainer.contract.errors import GateError, InputError
from trainer.contract.figures.exact import rows_needed, upper_bound
from trainer.contract.figures.selective import STEPS, Shown, ladder, show, wrong_and_rows
from trainer.contract.labels import Abstain, LabelSpace, Scores
from trainer.deciding.parts import Rows
from trainer.deciding.thresholds import cuts, is_label, label_scores, with_threshold


def short_percent(share: float) -> str:
    """A share for a person, two digits: "2 %"."""
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def require_rows(what: str, rows: int, of: str, *, target: float, delta: float) -> None:
    """Raise InputError where so few rows show nothing, even if none of them is wrong."""
    needed = rows_needed(target, delta)
    if rows < needed:
        raise InputError(
            f"too few validation rows for {what}: {short_percent(target)} needs {needed:,} {of} without an error; "
            f"there are {rows:,}",
            expected=f"a chance of at most {delta:.3g} to be misled, for each promise and checkpoint to choose from",
            do="give more validation rows, allow a larger error, or a lower level",
        )


def promise_precision(
    fitted: Rows, tested: Rows, space: LabelSpace, label: int, *, least: float, delta: float
) -> tuple[LabelSpace, Shown]:
    """The labels with the lowest threshold of one label that is shown to have this precision.

    fitted: rows that the thresholds to try are from. Raises GateError where no threshold is shown to.
    """
    name, target = f"precision {least:g} of {space.names[label]!r}", 1 - least
    true = is_label(tested, label, space)
    own, scores = (label_scores(space.decode(rows.logits).probabilities, label, space) for rows in (fitted, tested))
    thresholds = ladder(own, 1 - own, len(tested), target=target, delta=delta)
    # A label that every row gets is decided by nothing.
    thresholds = thresholds[thresholds > 0]
    found = _shown(name, wrong_and_rows(scores, ~true, thresholds), thresholds, target, delta)
    return with_threshold(space, label, found.threshold), found


def promise_recall(
    fitted: Rows, tested: Rows, space: LabelSpace, label: int, *, least: float, delta: float
) -> tuple[LabelSpace, Shown]:
    """The labels with the highest threshold of one label that is shown to have this recall; see `promise_precision`."""
    name, target = f"recall {least:g} of {space.names[label]!r}", 1 - least
    true = is_label(tested, label, space)
    own, scores = (label_scores(space.decode(rows.logits).probabilities, label, space) for rows in (fitted, tested))
    # Below all scores of the label first, where none is missed.
    thresholds = np.append(cuts(own[is_label(fitted, label, space)])[1], own.min() / 2)[::-1]
    chosen = np.unique(np.linspace(0, len(thresholds) - 1, min(STEPS, len(thresholds))).round().astype(np.int64))
    thresholds = thresholds[chosen]
    steps = [(int((scores[true] < threshold).sum()), int(true.sum())) for threshold in thresholds]
    found = _shown(name, steps, thresholds, target, delta)
    return with_threshold(space, label, found.threshold), found


def promise_error(
    fitted: Rows, tested: Rows, space: LabelSpace, *, error: float, level: float, delta: float
) -> tuple[LabelSpace, Shown]:
    """The labels with the rule that leaves the fewest rows unanswered of those whose error is shown to be at most
    `error`; see `promise_precision`. level: what is said of it; delta: what each test may be misled by.
    """
    what = f"at most {short_percent(error)} wrong among the answered"
    plain = replace(space, abstain=None)
    own, scores = plain.decode(fitted.logits), plain.decode(tested.logits)
    thresholds = ladder(own.confidence, _doubt(own), len(tested), target=error, delta=delta)
    steps = wrong_and_rows(scores.confidence, ~scores.right(tested.labels), thresholds)
    found = _shown(what, steps, thresholds, error, delta)
    return replace(space, abstain=Abstain(below=found.threshold, error=error, level=level)), found


def _doubt(scores: Scores) -> NDArray[np.float64]:
    """The chance that each row's decision is wrong, [N], for calibrated probabilities of independent labels."""
    if scores.decisions.ndim == 1:
        return 1 - scores.confidence
    given = scores.probabilities.astype(np.float64)
    return np.asarray(1 - np.where(scores.decisions, given, 1 - given).prod(axis=1))


def _shown(
    what: str, steps: list[tuple[int, int]], thresholds: NDArray[np.float64], target: float, delta: float
) -> Shown:
    found = show(steps, thresholds, target=target, delta=delta)
    if found is None:
        wrong, rows = steps[0] if steps else (0, 0)
        raise GateError(
            f"not shown: {what}",
            found=f"{wrong} of {rows} rows wrong at the most careful threshold that was tried, so up to "
            f"{short_percent(upper_bound(wrong, rows, delta))} may be",
            expected=f"at most {short_percent(target)}",
            do="allow a larger error or a lower level, give more validation rows, or train a better model",
        )
    return found
