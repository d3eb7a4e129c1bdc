"""What one answer for all rows is worth, and when a model has learnt more than that."""

import math

import numpy as np
import pytest

from trainer.contract.figures.constant import Constant
from trainer.contract.figures.metrics import compute_all
from trainer.contract.labels import LabelSpace

TWO = LabelSpace(names=("ham", "spam"))
MANY = LabelSpace(names=("a", "b", "c"), kind="multi")
RARE = np.arange(100) % 10 == 0
FLAGS = np.stack([np.arange(100) % 10 < 6, np.arange(100) % 10 < 3, np.arange(100) % 10 == 0], axis=1)


def test_the_best_of_the_constant_answers() -> None:
    """Accuracy is that of the commoner label, F1 of the positive label that of always giving it, a rank metric a half,
    and the loss the entropy of the label shares.
    """
    labels = RARE.astype(np.int64)
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    found = {metric: Constant.of(labels, TWO, metric) for metric in ("accuracy", "f1", "roc_auc", "loss")}
    assert (found["accuracy"].value, found["accuracy"].labels) == (pytest.approx(0.9), ("ham",))
    assert (found["f1"].value, found["f1"].labels) == (pytest.approx(2 * 0.1 / 1.1), ("spam",))
    assert found["roc_auc"].value == 0.5
    assert found["loss"].value == found["f1"].loss == pytest.approx(entropy, rel=1e-5)


def test_several_labels_are_given_where_that_is_better() -> None:
    """Of three labels with shares of 0.6, 0.3 and 0.1, micro F1 is best with the first alone or with the first two."""
    one, two = (2 * 0.6 / (1 + 1.0), 2 * 0.9 / (2 + 1.0))
    found = Constant.of(FLAGS, MANY, "f1_micro")
    assert found.value == pytest.approx(max(one, two))
    assert found.labels == (("a", "b") if two > one else ("a",))


@pytest.mark.parametrize(("space", "labels"), [(TWO, RARE.astype(np.int64)), (MANY, FLAGS)])
@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "f1_micro", "roc_auc", "loss"])
def test_one_answer_for_all_rows_has_learnt_nothing(space: LabelSpace, labels: np.ndarray, metric: str) -> None:
    """A model that gives every row the label shares, give or take a little noise of no use, does not beat them."""
    shares = np.bincount(labels) / 100 if space.kind == "single" else labels.mean(axis=0)
    logits = np.log(shares) if space.kind == "single" else np.log(shares / (1 - shares))
    noise = np.random.default_rng(0).normal(size=(100, len(space))) * 1e-3
    noise -= noise.mean(axis=0)
    assert not Constant.of(labels, space, metric).beaten_by(
        compute_all(space.decode(np.tile(logits, (100, 1))), labels, space)
    )
    if metric != "roc_auc":
        assert not Constant.of(labels, space, metric).beaten_by(
            compute_all(space.decode(logits + noise), labels, space)
        )


@pytest.mark.parametrize(("space", "labels"), [(TWO, RARE.astype(np.int64)), (MANY, FLAGS)])
@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "f1_micro", "roc_auc", "loss"])
def test_a_model_that_ranks_rows_has_learnt_something(space: LabelSpace, labels: np.ndarray, metric: str) -> None:
    """Probabilities that lean the right way beat the shares, also where no decision is another than the constant."""
    true = labels[:, None] == np.arange(2) if space.kind == "single" else labels
    shares = true.mean(axis=0)
    logits = np.log(shares if space.kind == "single" else shares / (1 - shares)) + np.where(true, 0.9, -0.3)
    assert Constant.of(labels, space, metric).beaten_by(compute_all(space.decode(logits), labels, space))


def test_rows_that_cannot_tell_say_nothing() -> None:
    """Rows of one class, or none, are no reason to call a model useless."""
    labels = np.zeros(20, dtype=np.int64)
    figures = compute_all(TWO.decode(np.tile([1.0, 0.0], (20, 1))), labels, TWO)
    assert Constant.of(labels, TWO, "accuracy").beaten_by(figures)
    assert Constant.of(labels[:0], TWO, "accuracy").beaten_by({"accuracy": float("nan"), "loss": float("nan")})
