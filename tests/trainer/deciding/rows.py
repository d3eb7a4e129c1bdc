"""Validation rows with logits of a model that is too sure of itself, drawn from a population whose truth is known."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.contract.labels import LabelSpace
from trainer.deciding.parts import Rows

TEMPERATURE = 3.0


@dataclass(frozen=True, kw_only=True)
class Population:
    """Many rows: labels are drawn by the softmax (or sigmoids) of the logits over TEMPERATURE."""

    space: LabelSpace
    rows: Rows

    @classmethod
    def of(cls, space: LabelSpace, size: int = 20_000, seed: int = 0) -> "Population":
        """Draw it."""
        generator = np.random.default_rng(seed)
        # As many rows are hard with several labels, of which each may be wrong, as with one.
        true = generator.normal(size=(size, len(space))) * (7.0 if space.kind == "multi" else 2.5)
        if space.kind == "multi":
            labels = generator.random(true.shape) < 1 / (1 + np.exp(-true))
        else:
            labels = (true + generator.gumbel(size=true.shape)).argmax(axis=1)
        keys = generator.integers(0, 2**63, size).astype(np.uint64)
        return cls(space=space, rows=Rows(logits=(true * TEMPERATURE).astype(np.float32), labels=labels, keys=keys))

    def sample(self, size: int, seed: int) -> Rows:
        """Some of its rows."""
        chosen = np.zeros(len(self.rows), dtype=np.bool_)
        chosen[np.random.default_rng(seed).choice(len(self.rows), size, replace=False)] = True
        return self.rows.take(chosen)

    def wrong(self, decided: LabelSpace) -> float:
        """The share of wrong rows among those that are answered, of the whole population."""
        scores = decided.decode(self.rows.logits)
        return float((~scores.right(self.rows.labels))[scores.answered].mean())


def is_given(decided: LabelSpace, rows: Rows, label: int) -> NDArray[np.bool_]:
    """Which rows are given the label."""
    found = decided.decode(rows.logits).decisions
    return np.asarray(found[:, label] if decided.kind == "multi" else found == label, dtype=np.bool_)
