"""The certificate: its bounds hold as often as they say, for every answer, and too few rows are told by number."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from export.cascade.certificate import Target, differing, sides
from export.cascade.certify import certify, certify_all
from tests.export.cascade.making import FOUR, SEVERAL, pool
from trainer.contract.labels import Abstain, LabelSpace, Scores

ERROR = 0.02


def broken(target: Target, student: Scores, encoder: Scores, space: LabelSpace) -> bool:
    """Whether any bound of a target is passed on a population."""
    taken = target.takes(student, space)
    given, said = sides(encoder, space)[0], sides(student, space)[0]
    over = (taken & differing(student, encoder)).mean() > 1 - target.agreement
    return over or any(
        (taken[rows] & ~said[rows, side]).mean() > each.bound
        for side, each in enumerate(target.classes)
        if (rows := np.flatnonzero(given[:, side])).size
    )


def naive(student: Scores, encoder: Scores, space: LabelSpace) -> Target:
    """The boldest common guard at which the share of mistakes seen is the error, as most tune a threshold."""
    proven = certify(student, encoder, space, 1 - ERROR)
    assert proven is not None
    said, risk = sides(student, space)
    largest = np.where(said, -np.inf, risk).max(axis=1)
    wrong = np.sort(largest[differing(student, encoder)])
    guard = float(wrong[int(ERROR * len(said))]) - 1e-9
    classes = tuple(dataclasses.replace(each, guard=guard, bound=1.0) for each in proven.classes)
    return dataclasses.replace(proven, classes=classes)


@pytest.mark.parametrize("space", [FOUR, SEVERAL], ids=["single", "multi"])
def test_bounds_hold_for_nineteen_calibrations_of_twenty(space: LabelSpace) -> None:
    """Of 200 resampled calibrations at most 5 % break any bound; a guard set at the error seen breaks far more."""
    student, encoder = pool(10_000, space)
    generator = np.random.default_rng(1)
    failed, careless, covered = 0, 0, []
    for _ in range(200):
        rows = generator.integers(0, 10_000, 3000)
        target = certify(student.take(rows), encoder.take(rows), space, 1 - ERROR)
        assert target is not None
        failed += broken(target, student, encoder, space)
        careless += broken(naive(student.take(rows), encoder.take(rows), space), student, encoder, space)
        covered.append(target.coverage)
    assert failed <= 10
    assert careless >= 60
    # The proof does not come from taking nothing.
    assert np.mean(covered) > 0.3


def test_rows_that_chose_the_encoder_set_guards_that_hold() -> None:
    """Validation rows choose a checkpoint by their labels, and then set its guards. Of 200 such calibrations, each by
    the rows that chose the best of 20 encoders, at most 5 % break a bound.
    """
    draw = np.random.default_rng(2)
    logits = draw.normal(0, 6, (10_000, 4))
    labels = (logits + draw.normal(0, 3, logits.shape)).argmax(axis=1)
    student = FOUR.decode(0.8 * logits + draw.normal(0, 1, logits.shape) * draw.exponential(0.7, (10_000, 1)))
    encoders = [FOUR.decode(logits + draw.normal(0, 1, logits.shape)) for _ in range(20)]
    failed, chosen, covered = 0, set[int](), []
    for _ in range(200):
        rows = draw.integers(0, 10_000, 1500)
        right = [(each.decisions[rows] == labels[rows]).mean() for each in encoders]
        chosen.add(best := int(np.argmax(right)))
        target = certify(student.take(rows), encoders[best].take(rows), FOUR, 1 - ERROR)
        assert target is not None
        failed += broken(target, student, encoders[best], FOUR)
        covered.append(target.coverage)
    assert failed <= 10
    # There was something to choose, and something was taken.
    assert len(chosen) > 5
    assert np.mean(covered) > 0.1


def test_a_class_of_few_rows_is_bounded_by_what_they_prove() -> None:
    """Where a class has few rows the bound is what these can show without a mistake, and no mistake is taken."""
    student, encoder = pool(8000, FOUR)
    rare = np.flatnonzero(encoder.decisions == 3)
    rows = np.setdiff1d(np.arange(8000), rare[60:])
    target = certify(student.take(rows), encoder.take(rows), FOUR, 0.99)
    assert target is not None
    assert [each.rows for each in target.classes][3] == 60
    # (1 - bound)^60 is a fifth of the 5 %.
    assert target.classes[3].bound == pytest.approx(1 - 0.01 ** (1 / 60), rel=1e-6)
    assert target.classes[3].wrong == 0
    assert all(each.bound == pytest.approx(0.01) for each in target.classes[:3])


def test_an_agreement_that_the_rows_cannot_prove_is_told_by_number() -> None:
    """Of the fixed agreements those are proven that the rows allow; of the others the report says what is needed."""
    student, encoder = pool(700, FOUR)
    targets, missing = certify_all(student, encoder, FOUR)
    assert [each.agreement for each in targets] == [0.98, 0.99]
    assert missing["0.995"].startswith("700 rows prove no better than 0.66%, and 919 are needed")
    assert set(missing) == {"0.995", "0.998"}


def test_a_class_without_rows_has_no_bound_and_the_guard_of_all() -> None:
    """Nothing is claimed of a class that no row shows, and its guard is the one that all answers share."""
    student, encoder = pool(4000, FOUR)
    rows = np.flatnonzero(encoder.decisions != 3)
    target = certify(student.take(rows), encoder.take(rows), FOUR, 0.98)
    assert target is not None
    assert (target.classes[3].rows, target.classes[3].bound) == (0, 1.0)
    assert target.classes[3].guard >= max(each.guard for each in target.classes[:3])
    assert target.classes[3].guard < 1


def test_rows_that_the_encoder_leaves_unanswered_are_guarded_too() -> None:
    """Where labels may abstain, a row is taken only if the student answers it, and unanswered rows have a bound."""
    space = dataclasses.replace(FOUR, abstain=Abstain(below=0.8))
    student, encoder = pool(8000, space)
    target = certify(student, encoder, space, 0.98)
    assert target is not None
    assert target.classes[-1].answer == "not answered"
    taken = target.takes(student, space)
    assert taken.any()
    assert student.answered[taken].all()
    assert (taken & ~encoder.answered).sum() == target.classes[-1].wrong <= 0.02 * (~encoder.answered).sum()


def test_more_careful_targets_take_fewer_rows() -> None:
    """Rows that are taken at a higher agreement are taken at every lower one."""
    student, encoder = pool(20_000, SEVERAL)
    targets, _ = certify_all(student, encoder, SEVERAL)
    taken = [target.takes(student, SEVERAL) for target in targets]
    assert len(taken) == 4
    assert all(not (careful & ~bold).any() for bold, careful in pairwise(taken))
