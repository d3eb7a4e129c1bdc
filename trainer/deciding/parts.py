"""Validation rows with torch's logits, and how they are shared out: no row shows what it, or one of its group, helped
to choose.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from trainer.contract.figures.metrics import Labels
from trainer.contract.figures.resample import Units
from trainer.contract.labelled import LabelledRows
from trainer.evaluation.groups import Groups

# Of the rows, for temperature and thresholds, where promises are tested on the others.
FITTED = 1 / 3
DECISION_FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Rows:
    """N rows."""

    logits: NDArray[np.float32]
    """[N, C], of torch in fp32."""
    labels: Labels
    """int64 [N], or bool [N, C] for multi-label."""
    keys: NDArray[np.uint64]
    """[N], equal for rows that stay together: equal texts, and rows of one group."""
    groups: Units | None = None
    """[N], a number for each row's group; None where every row stands for itself."""

    @classmethod
    def of(cls, logits: NDArray[np.float32] | None, rows: LabelledRows, groups: Groups | None = None) -> "Rows":
        """The logits of some rows with their labels; None while there are none, for what can be said without. Where
        one group has nearly all rows, nothing could be divided: then equal texts alone stay together.
        """
        pairs: Sequence[str] = rows.pairs or [""] * len(rows)
        texts = ("\0".join(each).encode("utf-8", "surrogatepass") for each in zip(rows.texts, pairs, strict=True))
        keys = np.array([_key(text) for text in texts], dtype=np.uint64)
        given = np.empty((len(rows), 0), dtype=np.float32) if logits is None else logits
        apart = cls(logits=given, labels=rows.labels, keys=keys)
        if groups is None or groups.units is None or not len(rows):
            return apart
        together = replace(apart, keys=_joined(keys, groups.units), groups=groups.units)
        return together if len(np.unique(together.folds())) > 1 else replace(together, keys=keys)

    def __len__(self) -> int:
        return len(self.logits)

    def take(self, rows: NDArray[np.bool_]) -> "Rows":
        """Some of them."""
        units = None if self.groups is None else np.unique(self.groups[rows], return_inverse=True)[1]
        return Rows(logits=self.logits[rows], labels=self.labels[rows], keys=self.keys[rows], groups=units)

    def parts(self, shares: Sequence[float]) -> list["Rows"]:
        """Divided by their keys, which are hashes: what stays together lies in one part, in whatever order rows come.

        shares: of each part, together 1.
        """
        number = self._numbers(shares)
        return [self.take(number == part) for part in range(len(shares))]

    def folds(self) -> NDArray[np.int64]:
        """A number from 0 to DECISION_FOLDS - 1 for each row, [N], equal for rows that stay together."""
        return self._numbers([1 / DECISION_FOLDS] * DECISION_FOLDS)

    def _numbers(self, shares: Sequence[float]) -> NDArray[np.int64]:
        ordered = np.sort(self.keys)
        ends = (np.cumsum(shares)[:-1] * len(self)).round().astype(np.int64)
        return np.searchsorted(ordered[np.minimum(ends, len(self) - 1)], self.keys, side="right").astype(np.int64)


def _key(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


def _joined(keys: NDArray[np.uint64], groups: Units) -> NDArray[np.uint64]:
    """Keys [N] that are equal within whatever equal texts and groups connect."""
    texts = np.unique(keys, return_inverse=True)[1]
    # The least key of each row's part spreads through equal texts and groups until nothing changes: a few rounds, since
    # few texts stand in several groups.
    least, before = keys, np.empty(0, dtype=keys.dtype)
    while not np.array_equal(least, before):
        before = least
        for joined in (groups, texts):
            of_each = np.full(joined.max(initial=-1) + 1, np.iinfo(np.uint64).max)
            np.minimum.at(of_each, joined, least)
            least = of_each[joined]
    # Hashed once more: the least of many keys is small, so that large groups would all lie in the first part.
    found, parts = np.unique(least, return_inverse=True)
    again = np.array([_key(key.tobytes()) for key in found], dtype=np.uint64)
    return again[parts]
