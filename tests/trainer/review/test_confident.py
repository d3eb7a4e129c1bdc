"""Confident learning on made probabilities and states."""

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from trainer.review import regression
from trainer.review.confident import LEAST_JUDGED_ROWS, judge, judge_rows
from trainer.review.regression import Regression


def made_states(rows: int, labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """States of 16 numbers around a centre for each label, rather apart; and the labels."""
    generator = np.random.default_rng(seed)
    true = generator.integers(0, labels, rows)
    centres = generator.normal(size=(labels, 16)) * 1.5
    return (centres[true] + generator.normal(size=(rows, 16))).astype(np.float32), true


def held_out(states: np.ndarray, targets: np.ndarray, kind: str, folds: int = 5) -> np.ndarray:
    """Logits of each row from a regression without its fold."""
    logits, fold = np.zeros(targets.shape, dtype=np.float32), np.arange(len(states)) % folds
    for number in range(folds):
        model = Regression.fit(states, targets, np.flatnonzero(fold != number), kind)  # type: ignore[arg-type]
        model.predict(states, np.flatnonzero(fold == number), logits)
    return logits


def test_planted_errors_are_found_with_their_true_labels() -> None:
    """Of 5 % turned labels at least 60 % are among the suspects, of which at least half are turned ones, and nearly
    all of those found get their true label back.
    """
    states, true = made_states(1500, 4)
    generator = np.random.default_rng(1)
    turned = generator.choice(len(true), 75, replace=False)
    labels = true.copy()
    labels[turned] = (true[turned] + generator.integers(1, 4, 75)) % 4
    logits = held_out(states, np.eye(4, dtype=np.float32)[labels], "single")
    found = judge_rows(np.exp(log_softmax(logits, axis=1)), labels)
    planted = np.isin(np.arange(len(true)), turned)
    assert found.suspects[planted].mean() >= 0.6
    assert planted[found.suspects].mean() >= 0.5
    assert (found.suggested[found.suspects & planted] == true[found.suspects & planted]).mean() > 0.9
    assert found.joint.sum(axis=1).tolist() == np.bincount(labels).tolist()


def test_planted_errors_of_several_labels_are_found_label_by_label() -> None:
    """Single labels that are left out or added are turned back in the suggestion, the others stay."""
    states, true = made_states(1500, 4)
    given = np.stack([true == 0, true <= 1, true >= 2], axis=1)
    generator = np.random.default_rng(1)
    rows, places = generator.choice(1500, 75, replace=False), generator.integers(0, 3, 75)
    labels = given.copy()
    labels[rows, places] ^= True
    logits = held_out(states, labels.astype(np.float32), "multi")
    found = judge_rows(1 / (1 + np.exp(-logits)), labels)
    planted = np.isin(np.arange(1500), rows)
    assert found.suspects[planted].mean() >= 0.6
    assert planted[found.suspects].mean() >= 0.5
    both = found.suspects & planted
    assert (found.suggested[both] == given[both]).all(axis=1).mean() > 0.9
    assert (found.self_confidence[both] < 0.5).all()


def test_sound_labels_that_are_told_apart_give_no_suspect() -> None:
    """Where the models are sure and right of every row, nobody is suspected."""
    labels = np.arange(60) % 3
    assert not judge(np.eye(3)[labels] * 0.97 + 0.01, labels).suspects.any()


def test_a_label_of_few_rows_is_neither_suspected_nor_suggested() -> None:
    """Nine rows of a label are too few to say what its mean confidence is."""
    labels = np.array([0] * 50 + [1] * 50 + [2] * (LEAST_JUDGED_ROWS - 1))
    probabilities = np.tile([0.1, 0.1, 0.8], (len(labels), 1))
    found = judge(probabilities, labels)
    assert not found.suspects.any()
    assert np.isnan(found.thresholds[2])
    assert set(found.suggested.tolist()) <= {0, 1}


def test_suspects_are_those_of_the_authors_library() -> None:
    """cleanlab, where it is installed, finds the same rows, as many as off the joint's diagonal, least believed."""
    cleanlab = pytest.importorskip("cleanlab.filter")
    states, true = made_states(900, 4, seed=2)
    labels = np.where(np.random.default_rng(0).random(900) < 0.06, (true + 1) % 4, true)
    probabilities = np.exp(log_softmax(held_out(states, np.eye(4, dtype=np.float32)[labels], "single"), axis=1))
    expected = cleanlab.find_label_issues(labels, probabilities, filter_by="low_self_confidence", n_jobs=1)
    found = judge(probabilities, labels).suspects
    assert (found == expected).mean() > 0.995
    assert found.sum() > 20


def test_the_regression_is_scikit_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that are fitted piece by piece predict as scikit-learn's on the whole array do."""
    monkeypatch.setattr(regression, "_PIECE", 100)
    states, true = made_states(400, 3)
    rows = np.arange(0, 400, 2)
    model = Regression.fit(states, np.eye(3, dtype=np.float32)[true], rows, "single")
    found = np.zeros((400, 3), dtype=np.float32)
    model.predict(states, np.arange(400), found)
    scaled = (states - states[rows].mean(axis=0)) / states[rows].std(axis=0)
    theirs = LogisticRegression(C=1 / (len(rows) * regression.STRENGTH), tol=1e-8, max_iter=1000)
    expected = theirs.fit(scaled[rows], true[rows]).predict_proba(scaled)
    assert np.abs(np.exp(log_softmax(found, axis=1)) - expected).max() < 5e-3
