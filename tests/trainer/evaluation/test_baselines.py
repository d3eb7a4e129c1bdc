"""Baselines: the majority class, the bag of words, and the difference from the encoder; ROC and precision-recall."""

import numpy as np
import pytest
from sklearn.metrics import auc, roc_auc_score

from tests.trainer.evaluation.cases import KINDS, measured
from trainer.contract.labels import LabelSpace
from trainer.evaluation.bag_of_words import bag_of_words, most_rows
from trainer.evaluation.baselines import Baseline, compared, majority, measured_by
from trainer.evaluation.curves import CURVE_POINTS, curves
from trainer.evaluation.figures import headline, resampled_systems

SINGLE = LabelSpace(names=("ham", "spam"))
MULTI = LabelSpace(names=("a", "b", "c"), kind="multi")
WORDS = ("free prize now", "see you tonight", "the game was won")


def test_the_majority_is_that_of_the_training_rows() -> None:
    """The commonest label with the label shares as probabilities; of several labels, those of half of the rows, or the
    commonest one.
    """
    one = majority(SINGLE, {"ham": 30, "spam": 10}, 40, 3)
    assert one.scores is not None
    assert one.scores.decisions.tolist() == [0, 0, 0]
    assert one.scores.probabilities[0].tolist() == [0.75, 0.25]
    for counts, given in (
        ({"a": 5, "b": 9, "c": 1}, [True, True, False]),
        ({"a": 1, "b": 1, "c": 4}, [False, False, True]),
    ):
        several = majority(MULTI, counts, 10, 2)
        assert several.scores is not None
        assert several.scores.decisions.tolist() == [given, given]


def test_words_are_learnt() -> None:
    """Labels that one word decides are found in new texts, single and multi, and the fit is told."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 300)
    texts = [f"{WORDS[label]} {generator.integers(1000)}" for label in labels]
    found = bag_of_words(texts[:200], labels[:200], texts[200:], SINGLE, 5000)
    assert found.scores is not None
    assert found.fit is not None
    assert (found.scores.decisions == labels[200:]).all()
    assert np.allclose(found.scores.probabilities.sum(axis=1), 1, atol=1e-5)
    assert (found.fit["rows"], found.fit["train_rows"]) == (200, 5000)
    several = generator.random((300, 3)) < 0.4
    texts = [" ".join(np.array(["alpha", "beta", "gamma"])[row]) + " other" for row in several]
    found = bag_of_words(texts[:200], several[:200], texts[200:], MULTI, 200)
    assert found.scores is not None
    assert (found.scores.decisions == several[200:]).all()


def test_words_cope_with_labels_that_training_rows_lack() -> None:
    """A label of no training row, or of all, has a probability all the same; rows without a word are told."""
    space = LabelSpace(names=("a", "b", "c"))
    found = bag_of_words(["x one", "x two"] * 10, np.array([0, 2] * 10), ["one", "two"], space, 20)
    assert found.scores is not None
    assert found.scores.decisions.tolist() == [0, 2]
    assert found.scores.probabilities[:, 1].tolist() == [0, 0]
    truth = np.tile([[True, False, True], [True, False, False]], (10, 1))
    found = bag_of_words(["x one", "x two"] * 10, truth, ["one", "two"], MULTI, 20)
    assert found.scores is not None
    assert found.scores.decisions.tolist() == [[True, False, True], [True, False, False]]
    assert bag_of_words(["!", "?"], np.array([0, 1]), ["!"], SINGLE, 2).missing == "the training rows have no words"


def test_many_labels_take_fewer_rows() -> None:
    """20,000 training rows for two labels, 10,000 for twenty, and never below 2,000."""
    spaces = [LabelSpace(names=tuple(map(str, range(count)))) for count in (2, 20, 1000)]
    assert [most_rows(space) for space in spaces] == [20_000, 10_000, 2_000]


@pytest.mark.parametrize("kind", KINDS)
def test_the_difference_is_paired_and_says_who_is_better(kind: str) -> None:
    """An encoder against itself differs by nothing; against a majority it is better in every metric, those included
    that should be low; and the other way round.
    """
    case = measured(kind, rows=500)
    few = headline(case.space, "f1_macro")
    counts = dict(zip(case.space.names, case.truth.sum(axis=0).tolist(), strict=True))
    most = majority(case.space, counts, 500, 500)
    seen = measured_by(most, case)
    assert seen is not None
    for first, second, better in ((case, case, {None}), (case, seen, {"encoder"}), (seen, case, {"baseline"})):
        sampled = resampled_systems({"encoder": first, "it": second}, {"encoder": few, "it": few})
        found = compared({"it": Baseline(about="", scores=second.scores)}, sampled, few)["it"]["metrics"]
        assert {each["better"] for each in found.values()} == better
        if first is second:
            assert {each["difference"]["high"] for each in found.values()} == {0.0}


@pytest.mark.parametrize("kind", KINDS)
def test_curves_are_few_points_of_the_whole_ones(kind: str) -> None:
    """At most 100 points from end to end, whose area is scikit-learn's within a hundredth."""
    case = measured(kind, rows=3000)
    found = curves(case)
    assert [each["label"] for each in found] == (["spam"] if kind == "binary" else ["a", "b", "c", "d"])
    for each in found:
        label = case.space.names.index(each["label"])
        x, y = each["roc"]["false_positive_rate"], each["roc"]["true_positive_rate"]
        assert len(x) <= CURVE_POINTS
        assert (x[0], x[-1], y[0], y[-1]) == (0, 1, 0, 1)
        expected = roc_auc_score(case.truth[:, label], case.scores.probabilities[:, label])
        assert auc(x, y) == pytest.approx(expected, abs=0.01)
        assert all(0 <= cut <= 1 for cut in each["roc"]["threshold"] + each["precision_recall"]["threshold"])
        recall = each["precision_recall"]["recall"]
        assert len(recall) <= CURVE_POINTS
        assert (recall[0], recall[-1]) == (1, 0)
