"""What was proven of a student, and the rule by which it takes rows. Export proves, scoring applies.

Each answer that the encoder may give has a guard, a number. The student takes a row if no answer other than its own is
nearer than its guard. So what is lost of one class is bounded by that class's guard alone, and each guard is found by
itself. How near an answer is: the geometric mean of the student's probability of it and of the student's doubt in its
own answer. So an unlikely answer is far only where the student is sure.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainer.contract.errors import InputError
from trainer.contract.labels import LabelSpace, Scores
from trainer.contract.schema import bounded

VERSION = 2
# Agreements that an export fits, where its rows can prove them.
AGREEMENTS = (0.98, 0.99, 0.995, 0.998)
Bools = NDArray[np.bool_]
Side = tuple[str, Literal["given", "not given", "not answered"]]


@dataclass(frozen=True, kw_only=True)
class ClassBound:
    """What is proven of one answer of the encoder: of the rows that get it, how many the student takes and answers
    otherwise.
    """

    label: str
    """Empty for the rows that the encoder leaves unanswered."""
    answer: Literal["given", "not given", "not answered"] = "given"
    """Which rows these are: those that are given the label, or (multi-label) those that are not."""
    rows: int
    """That set the guards and that the encoder answers so."""
    wrong: int
    """Of them, those that the student takes and answers otherwise."""
    bound: float
    """The proven share of such rows, at most; where it is above 1 minus the agreement, the rows prove no better."""
    guard: float
    """How near this answer may be where the student still gives another, 0 to 1; below 0: never."""


@dataclass(frozen=True, kw_only=True)
class Realised:
    """The disagreement on rows that set nothing."""

    rows: int
    wrong: int
    low: float
    """The ends of the exact 95 % interval of the share."""
    high: float


@dataclass(frozen=True, kw_only=True)
class MetricEffect:
    """The metric of the encoder alone and of the cascade, on the validation rows."""

    metric: str
    rows: int
    encoder: float
    cascade: float
    difference: float
    """The cascade's minus the encoder's."""
    low: float
    """The ends of the difference's 95 % paired bootstrap interval."""
    high: float


@dataclass(frozen=True, kw_only=True)
class Target:
    """One agreement that was proven, and how rows are taken for it."""

    agreement: float
    """At least this share of rows is answered as by the encoder; 1 minus it is the proven bound of all rows."""
    coverage: float
    """The share of the rows that set the guards that the student answers."""
    rows: int = bounded(least=1)
    """That set the guards."""
    wrong: int
    """Of them, those that the student takes and answers otherwise."""
    classes: tuple[ClassBound, ...]
    """In the order of the labels; of multi-label first every label given, then every label not given."""
    realised: Realised | None = None
    """None where no row is left beside those that set the guards."""
    effect: MetricEffect | None = None

    def takes(self, scores: Scores, space: LabelSpace) -> Bools:
        """Which rows the student answers, bool [N], by its own scores of them."""
        said, risk = sides(scores, space)
        guards = np.array([each.guard for each in self.classes], dtype=np.float64)
        return np.asarray(scores.answered & (said | (risk <= guards)).all(axis=1))


@dataclass(frozen=True, kw_only=True)
class Cascade:
    """What the manifest says of a student, under `cascade`. Rows are drawn by a hash of what they say."""

    version: int
    file: str
    precision: str
    """The file of the bundle that taught the student and that it is held against; it scores the other rows."""
    confidence: float
    """With which all bounds of one agreement hold together."""
    student_rows: int
    """That the student learnt from."""
    agreement: float
    """The share of the rows that set the guards on which the student alone would answer as the encoder."""
    targets: tuple[Target, ...]
    """The agreements that were proven, the most careful last."""
    missing: dict[str, str] = field(default_factory=dict)
    """The agreements that the rows cannot prove, and why."""
    rows_per_second: float | None = None
    """Of the student alone on one thread, tokens given; None where nothing was timed."""

    def target(self, agreement: float, where: object) -> Target:
        """The least careful target that proves this agreement. Raises InputError where none does."""
        known = [each for each in self.targets if each.agreement >= agreement - 1e-12]
        if known:
            return min(known, key=lambda each: each.agreement)
        proven = ", ".join(f"{each.agreement:g}" for each in self.targets) or "none"
        raise InputError(
            f"agreement {agreement:g} is not proven",
            where=where,
            found=f"proven: {proven}",
            expected="one of these, or less",
            do=self.missing.get(f"{agreement:g}", "export with --cascade and more rows under --unlabelled"),
        )


def answers(space: LabelSpace) -> list[Side]:
    """Every answer that has a guard, in order: S of them."""
    found: list[Side] = [(name, "given") for name in space.names]
    if space.kind == "multi":
        found += [(name, "not given") for name in space.names]
    return [*found, ("", "not answered")] if space.abstain is not None else found


def answer_name(label: str, answer: str) -> str:
    """Which rows of the encoder a bound is of, in words."""
    if answer == "not answered":
        return "rows that are not answered"
    return f"class {label}" if answer == "given" else f"rows without {label}"


def sides(scores: Scores, space: LabelSpace) -> tuple[Bools, NDArray[np.float64]]:
    """Which answers the scores give, bool [N, S], and how near each is, float64 [N, S]."""
    likely = scores.probabilities.astype(np.float64)
    if space.kind == "multi":
        given = scores.decisions.astype(np.bool_)
        said, likely = np.concatenate([given, ~given], axis=1), np.concatenate([likely, 1 - likely], axis=1)
    else:
        said = scores.decisions[:, None] == np.arange(len(space))
    doubt = 1 - scores.confidence[:, None]
    if space.abstain is not None:
        said = np.concatenate([said & scores.answered[:, None], ~scores.answered[:, None]], axis=1)
        likely = np.concatenate([likely, doubt], axis=1)
    return np.asarray(said, dtype=np.bool_), np.sqrt(likely * doubt)


def differing(student: Scores, encoder: Scores) -> Bools:
    """On which rows the two answer otherwise, bool [N]."""
    same: Any = student.decisions == encoder.decisions
    return np.asarray(~(same if same.ndim == 1 else same.all(axis=1)) | (student.answered != encoder.answered))
