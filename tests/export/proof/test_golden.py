"""Which rows become golden ones."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from export.proof.golden import golden_rows
from trainer.contract.labels import Abstain, LabelSpace


def test_rows_nearest_to_being_left_unanswered_are_golden() -> None:
    """Where rows may be left unanswered, those nearest to that on both sides are among the golden rows: another machine
    may answer other rows, though it decides all alike.
    """
    space = LabelSpace(names=("ham", "spam"), abstain=Abstain(below=0.9))
    count = 2_000
    # Confidences from 0.5 to 0.99, so that few rows lie near both a decision and the rule.
    logits = np.stack([np.zeros(count), np.linspace(0, 4.6, count)], axis=1).astype(np.float32)
    scores = space.decode(logits)
    rows = SimpleNamespace(texts=[str(row) for row in range(count)], pairs=[""] * count)
    sample: Any = SimpleNamespace(rows=rows, encoded=SimpleNamespace(lengths=np.ones(count, dtype=np.int64)))
    chosen = set(golden_rows(sample, scores, space).tolist())
    first = int(np.flatnonzero(scores.answered)[0])
    assert set(range(first - 8, first + 8)) <= chosen
    assert len(chosen) < 120
