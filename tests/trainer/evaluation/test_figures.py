"""Metrics of a split: each is scikit-learn's, and intervals of groups are wider where groups err together."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, hamming_loss

from tests.trainer.evaluation.cases import KINDS, measured, with_positive
from trainer.contract.figures.exact import told_none_wrong
from trainer.contract.figures.metrics import shown_range
from trainer.contract.labels import LabelSpace
from trainer.evaluation.figures import ECE, headline, names, resampled_systems
from trainer.evaluation.groups import Groups
from trainer.evaluation.measured import Measured


def values(case: Measured) -> dict[str, float]:
    """Every metric of a classifier."""
    return resampled_systems({"it": case}, {"it": names(case.space)})["it"].values


def test_metrics_of_two_labels_are_scikit_learns() -> None:
    """Balanced accuracy and the Brier score, the latter of whichever label is the positive one."""
    for case in (measured("binary"), with_positive(measured("binary"), "ham")):
        positive = case.space.positive_id
        found = values(case)
        assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(case.labels, case.scores.decisions))
        expected = brier_score_loss(case.labels == positive, case.scores.probabilities[:, positive])
        assert found["brier"] == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_metrics_of_more_labels_are_scikit_learns() -> None:
    """Balanced accuracy also where a label does not occur, and the Brier score summed over labels."""
    whole = measured("several")
    for case in (whole, whole.take(whole.labels != 2)):
        found = values(case)
        expected = balanced_accuracy_score(case.labels, case.scores.decisions)
        assert found["balanced_accuracy"] == pytest.approx(expected)
        probabilities = case.scores.probabilities.astype(float)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        assert found["brier"] == pytest.approx(brier_score_loss(case.labels, probabilities, labels=[0, 1, 2, 3]))


def test_metrics_of_several_labels_a_row_are_scikit_learns() -> None:
    """Hamming loss, subset accuracy, and the Brier score as the mean over labels."""
    case = measured("multi")
    found = values(case)
    assert found["hamming_loss"] == pytest.approx(hamming_loss(case.labels, case.scores.decisions))
    assert found["subset_accuracy"] == pytest.approx((case.labels == case.scores.decisions).all(axis=1).mean())
    each = [brier_score_loss(case.labels[:, label], case.scores.probabilities[:, label]) for label in range(4)]
    assert found["brier"] == pytest.approx(np.mean(each))


@pytest.mark.parametrize("kind", KINDS)
def test_every_interval_holds_its_value(kind: str) -> None:
    """Of each kind of labels every metric has an interval around it, and headline metrics are among them."""
    case = measured(kind)
    intervals = resampled_systems({"it": case}, {"it": [*names(case.space), ECE]})["it"].intervals()
    assert all(each.low <= each.value <= each.high for each in intervals.values())
    assert {*headline(case.space, "loss")} <= {*intervals}


def test_ten_rows_of_ten_are_no_certainty() -> None:
    """Where no row is wrong every resample is alike: the point is told in words, beside what so few rows can hide."""
    space, labels = LabelSpace(names=("a", "b")), np.arange(10) % 2
    right = Measured(scores=space.decode(4.0 * np.eye(2)[labels]), labels=labels, space=space)
    wanted = ("accuracy", "f1", "mcc", "balanced_accuracy", "roc_auc")
    for figure in resampled_systems({"it": right}, {"it": wanted})["it"].intervals().values():
        assert shown_range(figure.low, figure.high) == "none: no resample differs"
    assert told_none_wrong(0, 10) == (
        "No row of 10 is wrong; of other rows up to 30.85 % may be (exact 95 % interval)."
    )
    assert told_none_wrong(1, 10) == ""


def test_intervals_of_groups_are_wider_where_groups_err_together() -> None:
    """Twenty groups that are right or wrong as a whole: their interval is more than three times as wide as that of
    rows; groups of one row each have the interval of rows.
    """
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(20), 30)
    labels = rng.integers(0, 2, 600)
    wrong = (rng.random(20) < 0.3)[groups]
    space = LabelSpace(names=("a", "b"))
    logits = 4.0 * (np.eye(2)[np.where(wrong, 1 - labels, labels)] - 0.5)
    case = Measured(scores=space.decode(logits), labels=labels, space=space)

    def width(units: np.ndarray | None) -> float:
        found = resampled_systems({"it": case}, {"it": ["accuracy"]}, units)["it"].intervals()["accuracy"]
        return found.high - found.low

    assert width(groups) > 3 * width(None)
    # What `evaluate` writes of groups is of these, and not of rows.
    told = Groups(column="author", of=groups).figures(case)
    assert told is not None
    accuracy = told["intervals"]["accuracy"]
    assert accuracy["high"] - accuracy["low"] == pytest.approx(width(groups))
    assert width(np.arange(600)) == pytest.approx(width(None))


def test_rows_without_a_group_stand_for_themselves() -> None:
    """Equal cells are a group, empty ones none: of five rows with two equal and two empty cells four groups are left,
    and each metric has an interval by them; without a column there are no figures by group.
    """
    groups = Groups.by("author", ["jo", "", "jo", "", "ann"], 5)
    assert groups.of.tolist() == [0, 1, 0, 2, 3]
    case = measured("binary", rows=5)
    found = groups.figures(case)
    assert found is not None
    assert (found["column"], found["groups"], found["largest"]) == ("author", 4, 2)
    assert found["intervals"].keys() == {*names(case.space), ECE}
    assert Groups.by(None, None, 5).figures(case) is None
