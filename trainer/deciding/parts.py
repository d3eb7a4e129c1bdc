"""Validation rows with torch's logits, and how they are shared out: no row shows what it helped to choose."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from trainer.contract.figures.metrics import Labels
from trainer.contract.labelled import LabelledRows

# Of the rows, for temperature and thresholds, where promises are tested on the others.
FITTED = 1 / 3
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Rows:
    """N rows."""

    logits: NDArray[np.float32]
    """[N, C], of torch in fp32."""
    labels: Labels
    """int64 [N], or bool [N, C] for multi-label."""
    keys: NDArray[np.uint64]
    """[N], equal for equal texts."""

    @classmethod
    def of(cls, logits: NDArray[np.float32], rows: LabelledRows) -> "Rows":
        """The logits of some rows with their labels."""
        pairs: Sequence[str] = rows.pairs or [""] * len(rows)
        texts = ("\0".join(each).encode("utf-8", "surrogatepass") for each in zip(rows.texts, pairs, strict=True))
        keys = [int.from_bytes(blake2b(text, digest_size=8).digest(), "little") for text in texts]
        return cls(logits=logits, labels=rows.labels, keys=np.array(keys, dtype=np.uint64))

    def __len__(self) -> int:
        return len(self.logits)

    def take(self, rows: NDArray[np.bool_]) -> "Rows":
        """Some of them."""
        return Rows(logits=self.logits[rows], labels=self.labels[rows], keys=self.keys[rows])

    def parts(self, shares: Sequence[float]) -> list["Rows"]:
        """Divided by their texts' hashes, so that equal texts lie in one part, whatever the order of the rows.

        shares: of each part, together 1.
        """
        number = self._numbers(shares)
        return [self.take(number == part) for part in range(len(shares))]

    def folds(self) -> NDArray[np.int64]:
        """A number from 0 to FOLDS - 1 for each row, [N], equal for equal texts."""
        return self._numbers([1 / FOLDS] * FOLDS)

    def _numbers(self, shares: Sequence[float]) -> NDArray[np.int64]:
        ordered = np.sort(self.keys)
        ends = (np.cumsum(shares)[:-1] * len(self)).round().astype(np.int64)
        return np.searchsorted(ordered[np.minimum(ends, len(self) - 1)], self.keys, side="right").astype(np.int64)
