"""What every part of the figures is made of: rows with what the checkpoint said of them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trainer.contract.encoding import Ints
from trainer.contract.figures.metrics import Labels
from trainer.contract.labels import LabelSpace, Scores

Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """N rows, their labels, and the scores that some classifier gave them."""

    scores: Scores
    labels: Labels
    space: LabelSpace

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def wrong(self) -> Bools:
        """bool [N]: whether any part of the row's decision is wrong."""
        return ~self.scores.right(self.labels)

    @cached_property
    def truth(self) -> Bools:
        """bool [N, C]: the labels, one column each."""
        if self.space.kind == "multi":
            return self.labels.astype(np.bool_)
        return np.asarray(self.labels[:, None] == np.arange(len(self.space)))

    def take(self, rows: "Ints | Bools") -> "Measured":
        """Some of the rows, by place or by mask."""
        return Measured(scores=self.scores.take(rows), labels=self.labels[rows], space=self.space)

    @property
    def is_binary(self) -> bool:
        """Whether two labels exclude each other, so that one of them is the positive one."""
        return self.space.kind == "single" and len(self.space) == 2
