"""Label names to ids, and logits to probabilities and decisions: the same function in training, export and scoring."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainer.contract.errors import InputError, nearest


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What logits mean. N rows, C labels."""

    probabilities: NDArray[np.float32]
    """float32 [N, C]; softmax for single-label (a row sums to 1), sigmoid for multi-label."""
    decisions: NDArray[np.generic]
    """Single-label int64 [N], the label's id; multi-label bool [N, C]. Thresholds are compared with the float32
    probabilities, so that a decision can be checked from what is reported.
    """

    def agreement(self, other: "Scores") -> float:
        """Share of rows whose whole decision is equal, 0 to 1. No rows: 1."""
        same = self.decisions == other.decisions
        rows = same if same.ndim == 1 else same.all(axis=1)
        return float(rows.mean()) if len(rows) else 1.0


@dataclass(frozen=True, kw_only=True)
class LabelSpace:
    """The ordered labels of a classifier and how logits become decisions."""

    names: tuple[str, ...]
    kind: Literal["single", "multi"] = "single"
    """Either "single" (softmax, one label a row) or "multi" (sigmoid, any number of labels a row)."""
    thresholds: tuple[float, ...] | None = None
    """One probability a label. Multi-label: a label is given where its probability reaches it (0.5 where None).
    Single-label: the label with the largest probability / threshold wins, which for two labels with thresholds (1 - t,
    t) means "the second where its probability reaches t"; None is the largest logit.
    """
    temperature: float = 1.0
    """Logits are divided by it first (Guo et al. 2017, arXiv 1706.04599)."""
    positive: str | None = None
    """The name whose precision, recall and F1 are reported; the second name where None."""

    def __post_init__(self) -> None:
        least = 2 if self.kind == "single" else 1
        if len(self.names) < least:
            raise ValueError(f"names: expected at least {least} labels, found {list(self.names)}")
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"names: a label is named twice in {list(self.names)}")
        if self.thresholds is not None and len(self.thresholds) != len(self.names):
            raise ValueError(f"thresholds: expected {len(self.names)}, one a label, found {len(self.thresholds)}")
        if any(not 0 < threshold < 1 for threshold in self.thresholds or ()):
            raise ValueError(f"thresholds: expected numbers between 0 and 1, found {list(self.thresholds or ())}")
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature: expected a positive number, found {self.temperature}")
        if self.positive is not None and self.positive not in self.names:
            hint = nearest(self.positive, self.names) or f"labels: {list(self.names)}"
            raise ValueError(f"positive: {self.positive!r} is not a label; {hint}")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def positive_id(self) -> int:
        """The id of the positive label: `positive`, else the second name (the only one where there is one)."""
        return min(1, len(self.names) - 1) if self.positive is None else self.names.index(self.positive)

    def id(self, name: str) -> int:
        """The id of a label. Raises InputError with the nearest name where there is none."""
        try:
            return self.names.index(name)
        except ValueError:
            raise InputError(
                f"label {name!r} is not one of the labels", expected=", ".join(self.names), do=nearest(name, self.names)
            ) from None

    def ids(self, rows: Iterable[Iterable[str]]) -> NDArray[np.int64] | NDArray[np.bool_]:
        """Label names, a collection per row, to an array: int64 [N] for single-label, bool [N, C] for multi-label.

        Raises InputError for a name that is not a label, and for a single-label row without exactly one.
        """
        known = {name: number for number, name in enumerate(self.names)}
        found = [[known[name] if name in known else self.id(name) for name in names] for names in rows]
        if self.kind == "single":
            wrong = next((ids for ids in found if len(ids) != 1), None)
            if wrong is not None:
                raise InputError(
                    "a row needs exactly one label",
                    found=", ".join(self.names[number] for number in wrong) or "none",
                    do="correct the row, or say `kind: multi` where a row may have any number of labels",
                )
            return np.array(found, dtype=np.int64).reshape(-1)
        array = np.zeros((len(found), len(self)), dtype=np.bool_)
        for row, ids in enumerate(found):
            array[row, ids] = True
        return array

    def decode(self, logits: NDArray[np.floating]) -> Scores:
        """Logits [N, C] to probabilities and decisions, in float64 inside.

        NaN logits stay NaN, and so does a single-label row with an infinite one: scoring rejects such rows.
        """
        if logits.ndim != 2 or logits.shape[1] != len(self):
            raise ValueError(f"expected logits [N, {len(self)}], found {list(logits.shape)}")
        # Infinite logits (an overflow in half precision) are the caller's to reject; numpy need not warn of each.
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = logits.astype(np.float64) / self.temperature
            probabilities = (_sigmoid(scaled) if self.kind == "multi" else _softmax(scaled)).astype(np.float32)
        return Scores(probabilities=probabilities, decisions=self._decide(scaled, probabilities))

    def _decide(self, scaled: NDArray[np.float64], probabilities: NDArray[np.float32]) -> NDArray[np.generic]:
        """Which labels are given: bool [N, C] for multi-label, int64 [N] for single-label."""
        if self.kind == "multi":
            limits = self.thresholds if self.thresholds is not None else (0.5,) * len(self)
            return probabilities >= np.array(limits, dtype=np.float64)
        if self.thresholds is None:
            return np.asarray(scaled.argmax(axis=1))
        if len(self) == 2:
            # The rule below, solved for the second probability: exact where that one equals t, and ties are its own.
            first, second = self.thresholds
            return (probabilities[:, 1] >= second / (first + second)).astype(np.int64)
        return np.asarray((probabilities / np.array(self.thresholds, dtype=np.float64)).argmax(axis=1))


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    # exp only of non-positive numbers: no overflow at either end.
    small = np.exp(-np.abs(logits))
    return np.asarray(np.where(logits >= 0, 1 / (1 + small), small / (1 + small)), dtype=np.float64)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True), dtype=np.float64)
