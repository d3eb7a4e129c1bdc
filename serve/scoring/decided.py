"""Scores to what is told of a row: whether it has any, its labels, and the most likely ones."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from trainer.contract.labels import LabelSpace, Scores

# The reason of a row that is scored and not answered: its confidence is too small.
ABSTAINED = "abstained"


def finite_rows(logits: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows of logits [N, C] are numbers, bool [N]: fp16 may overflow, and such a row has no label."""
    return np.asarray(np.isfinite(logits).all(axis=1))


def most_likely(probabilities: NDArray[np.float32], top_k: int | None) -> NDArray[np.int64]:
    """The labels of each row's largest probabilities [N, C], largest first: ids [N, K], all where K is None or above C.

    Of equal ones the bundle's order decides, so that two runs say the same.
    """
    return np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]


def decided_names(labels: LabelSpace, scores: Scores) -> Iterator[list[str]]:
    """The names of each row's labels: one for single-label, any number for multi-label, none of a row that is not
    answered.
    """
    for row, answered in zip(scores.decisions.tolist(), scores.answered.tolist(), strict=True):
        if not answered:
            yield []
        elif labels.kind == "single":
            yield [labels.names[row]]
        else:
            yield [name for name, given in zip(labels.names, row, strict=True) if given]
