"""The guards of a student, each with a proof: fixed-sequence tests with exact binomial bounds.

"The student takes this row and differs from the encoder" is 0 or 1, and falls as a guard falls. So a guard whose bound
is shown on rows that neither model has seen holds for rows drawn as those were: risk-controlling prediction sets (Bates
et al. 2021, arXiv 2101.02703), by the tests of Learn then Test (Angelopoulos et al. 2021, arXiv 2110.01052). The chance
of error is shared over the bound of all rows and that of each answer, which then hold together.
"""

import numpy as np
from numpy.typing import NDArray

from export.cascade.certificate import AGREEMENTS, ClassBound, Target, answers, differing, sides
from trainer.contract.figures.exact import last_within, rows_needed, upper_bound
from trainer.contract.labels import LabelSpace, Scores

DELTA = 0.05
# Fixed before any row is looked at: log-odds of how near an answer may be, from most to least careful.
_STEPS = 1 / (1 + np.exp(-np.arange(-16, 16, 1 / 32)))
_GRID: NDArray[np.float64] = np.concatenate([_STEPS, [1.0]])


def certify(student: Scores, encoder: Scores, space: LabelSpace, agreement: float) -> Target | None:
    """The guards that prove an agreement on rows that neither model has seen, or None where nothing can be proven.

    An answer of too few rows gets the bound that they can prove without one mistake, which is then looser than
    1 - agreement; the bound of all rows is never looser.
    """
    error = round(1 - agreement, 12)
    said, risk = sides(student, space)
    given, _ = sides(encoder, space)
    delta = DELTA / (1 + said.shape[1])
    wrong = differing(student, encoder) & student.answered
    # The common guard: one number for all answers.
    largest = np.where(said, -np.inf, risk).max(axis=1)
    common = _guard(largest[wrong], len(wrong), error, delta)
    if common is None:
        return None
    guards, bounds = [], []
    for side in range(said.shape[1]):
        rows = int(given[:, side].sum())
        bounds.append(max(error, floor(rows, delta)))
        lost = given[:, side] & ~said[:, side] & student.answered
        own = _guard(risk[lost, side], rows, bounds[-1], delta) if rows else common
        # Below all: where this answer is not its own, the student takes no row.
        guards.append(min(common, -1.0 if own is None else own))
    taken = student.answered & (said | (risk <= np.array(guards))).all(axis=1)
    return Target(
        agreement=agreement,
        coverage=float(taken.mean()),
        rows=len(taken),
        wrong=int((taken & wrong).sum()),
        classes=tuple(
            ClassBound(
                label=label,
                answer=answer,
                rows=int(given[:, side].sum()),
                wrong=int((taken & given[:, side] & ~said[:, side]).sum()),
                bound=bounds[side],
                guard=guards[side],
            )
            for side, (label, answer) in enumerate(answers(space))
        ),
    )


def certify_all(student: Scores, encoder: Scores, space: LabelSpace) -> tuple[tuple[Target, ...], dict[str, str]]:
    """A target for each of AGREEMENTS that the rows can prove; of the others, by number, why not."""
    found, missing = [], {}
    rows, shares = len(student.decisions), 1 + len(answers(space))
    for agreement in AGREEMENTS:
        needed = rows_needed(1 - agreement, DELTA / shares)
        target = certify(student, encoder, space, agreement) if rows >= needed else None
        if target is not None and target.coverage > 0:
            found.append(target)
        elif rows < needed:
            missing[f"{agreement:g}"] = (
                f"{rows:,} rows prove no better than {floor(rows, DELTA / shares):.2%}, and {needed:,} are needed: "
                "give more with --unlabelled"
            )
        else:
            missing[f"{agreement:g}"] = "the student agrees too little: give it more rows with --unlabelled"
    return tuple(found), missing


def floor(rows: int, delta: float) -> float:
    """The best bound that so many rows can prove, by showing no mistake."""
    return upper_bound(0, rows, delta) if rows else 1.0


def _guard(risks: NDArray[np.float64], rows: int, error: float, delta: float) -> float | None:
    """The boldest guard of the grid whose share of mistakes is shown to be within `error`; None where the first is not.

    risks: how near the encoder's answer was to the student, for each row where it gave another.
    """
    counts = np.searchsorted(np.sort(risks), _GRID, side="right").tolist()
    last = last_within([(count, rows) for count in counts], error, delta)
    return None if last is None else float(_GRID[last])
