"""A linear model of words, fitted to the training rows: what a classifier without an encoder makes of the rows."""

import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from trainer.contract.figures.metrics import Labels
from trainer.contract.labels import LabelSpace, Scores
from trainer.evaluation.baselines import Baseline

FEATURES = 100_000
# Training rows, fewer where there are many labels or long texts: it should take seconds.
MOST_BAG_ROWS = 20_000
LEAST_BAG_ROWS = 2_000
# A model a label, so that rows times labels is what it costs.
_ROWS_AND_LABELS = 200_000
CHARACTERS = 20_000_000
# Of longer texts the head; the tail of one novel would cost as much as thousands of rows.
_LONGEST = 20_000
_STRENGTH = 10.0
ABOUT = (
    "tf-idf of words and pairs of words, and logistic regression (scikit-learn, C = 10; of several labels a row, one "
    "for each label, given from 0.5 on)"
)


def most_rows(space: LabelSpace) -> int:
    """How many training rows it takes."""
    return int(np.clip(_ROWS_AND_LABELS // len(space), LEAST_BAG_ROWS, MOST_BAG_ROWS))


def bag_of_words(
    train: Sequence[str], labels: Labels, texts: Sequence[str], space: LabelSpace, train_rows: int
) -> Baseline:
    """Fit it and ask it. train, labels: of the rows that it takes; train_rows: of how many; texts: to answer for."""
    started = time.perf_counter()
    words = TfidfVectorizer(
        ngram_range=(1, 2),
        sublinear_tf=True,
        # A word of one row alone tells that row apart, and no class.
        min_df=2 if len(train) > LEAST_BAG_ROWS else 1,
        max_features=FEATURES,
        dtype=np.float32,
    )
    try:
        features = words.fit_transform([text[:_LONGEST] for text in train])
    except ValueError:
        return Baseline(about=ABOUT, scores=None, missing="the training rows have no words")
    asked = words.transform([text[:_LONGEST] for text in texts])
    probabilities = (
        _multi(features, labels, asked) if space.kind == "multi" else _single(features, labels, asked, space)
    )
    decisions = probabilities >= 0.5 if space.kind == "multi" else probabilities.argmax(axis=1)
    return Baseline(
        about=ABOUT,
        scores=Scores(probabilities=probabilities, decisions=decisions),
        fit={
            "rows": len(train),
            "train_rows": train_rows,
            "features": len(words.vocabulary_),
            "seconds": round(time.perf_counter() - started, 3),
        },
    )


def _single(features: Any, labels: Labels, asked: Any, space: LabelSpace) -> NDArray[np.float32]:
    """Probabilities [N, C]; 0 for a label that the training rows do not have."""
    found = np.zeros((asked.shape[0], len(space)), dtype=np.float32)
    present = np.unique(labels)
    if len(present) == 1:
        found[:, present[0]] = 1.0
        return found
    found[:, present] = _fitted(features, labels).predict_proba(asked)
    return found


def _multi(features: Any, truth: Labels, asked: Any) -> NDArray[np.float32]:
    """Probabilities [N, C], a model for each label; the share of a label that all training rows have, or none."""
    found = np.empty((asked.shape[0], truth.shape[1]), dtype=np.float32)
    for label in range(truth.shape[1]):
        true = truth[:, label]
        one = 0 < true.sum() < len(true)
        found[:, label] = _fitted(features, true).predict_proba(asked)[:, 1] if one else float(true.mean())
    return found


def _fitted(features: Any, labels: Labels) -> LogisticRegression:
    model = LogisticRegression(C=_STRENGTH, solver="newton-cg", max_iter=50)
    with warnings.catch_warnings():
        # What so many steps reach is the baseline; a few more would change no decision.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(features, labels)
