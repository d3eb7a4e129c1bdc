"""Label names to ids, and logits to probabilities and decisions: the same function in training, export and scoring."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

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
    probabilities, so that a decision can be checked from what is reported. A row that is not answered keeps the one it
    would have, which figures of all rows count.
    """
    abstained: NDArray[np.bool_] | None = None
    """bool [N], rows that are given no label because they are not sure enough; None where every row is answered."""

    @property
    def answered(self) -> NDArray[np.bool_]:
        """bool [N], the other rows."""
        return np.ones(len(self.decisions), dtype=np.bool_) if self.abstained is None else ~self.abstained

    @property
    def confidence(self) -> NDArray[np.float64]:
        """How sure each row's decision is, float64 [N]: the probability that it is right, for calibrated probabilities.

        Single-label: the probability of the decided label. Multi-label: the smallest over labels of the probability
        that this label's answer is right (its own where it is given, else 1 minus it), so a row is as sure as its least
        sure label, however many there are.
        """
        given = self.probabilities.astype(np.float64)
        if self.decisions.ndim == 1:
            return given[np.arange(len(given)), self.decisions.astype(np.int64)]
        return np.asarray(np.where(self.decisions, given, 1 - given).min(axis=1))

    def right(self, labels: NDArray[np.int64] | NDArray[np.bool_]) -> NDArray[np.bool_]:
        """bool [N], rows whose whole decision is that of `labels`, as `LabelSpace.ids` gives them."""
        return _whole_rows(self.decisions == labels)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Scores":
        """The scores of some rows, in that order."""
        return Scores(
            probabilities=self.probabilities[rows],
            decisions=self.decisions[rows],
            abstained=None if self.abstained is None else self.abstained[rows],
        )

    def joined(self, other: "Scores") -> "Scores":
        """The scores of these rows and then of others, by the same labels."""
        answers_all = self.abstained is None and other.abstained is None
        return Scores(
            probabilities=np.concatenate([self.probabilities, other.probabilities]),
            decisions=np.concatenate([self.decisions, other.decisions]),
            abstained=None if answers_all else np.concatenate([~self.answered, ~other.answered]),
        )

    def agreement(self, other: "Scores") -> float:
        """Share of rows whose whole decision is equal, and that both answer or neither, 0 to 1. No rows: 1."""
        rows = _whole_rows(self.decisions == other.decisions) & (self.answered == other.answered)
        return float(rows.mean()) if len(rows) else 1.0


@dataclass(frozen=True, kw_only=True)
class Abstain:
    """When a row is given no label: where it is less sure than this.

    Where `error` is set, `classifact decide` has shown on validation rows that at most this share of the answered rows
    is wrong (of multi-label rows: has any label wrong), for rows drawn as those were.
    """

    below: float
    """A row whose `Scores.confidence` is below this is not answered; 0 to 1."""
    error: float | None = None
    """The share; None where nothing was shown."""
    level: float | None = None
    """The confidence with which it was shown, such as 0.95."""

    def __post_init__(self) -> None:
        if not 0 <= self.below <= 1:
            raise ValueError(f"below: expected a number from 0 to 1, found {self.below}")
        if (self.error is None) != (self.level is None):
            raise ValueError("error and level belong together")
        if any(value is not None and not 0 < value < 1 for value in (self.error, self.level)):
            raise ValueError(f"error and level: expected numbers between 0 and 1, found {self.error} and {self.level}")


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
    costs: tuple[tuple[float, ...], ...] | None = None
    """What a decision costs, single-label: a row for each true label, in it a number for each decided one. The label
    with the least expected cost wins (Elkan 2001). None: thresholds decide.
    """
    abstain: Abstain | None = None
    """When a row is not answered; None: every row is."""
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
        if self.costs is not None:
            self._check_costs(self.costs)
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature: expected a positive number, found {self.temperature}")
        if self.positive is not None and self.positive not in self.names:
            hint = nearest(self.positive, self.names) or f"labels: {list(self.names)}"
            raise ValueError(f"positive: {self.positive!r} is not a label; {hint}")

    def _check_costs(self, costs: tuple[tuple[float, ...], ...]) -> None:
        if self.kind == "multi" or self.thresholds is not None:
            raise ValueError("costs: they are for single labels, in place of thresholds")
        if [len(row) for row in costs] != [len(self)] * len(self):
            raise ValueError(f"costs: expected {len(self)} rows of {len(self)} numbers")
        if any(not 0 <= cost < float("inf") for row in costs for cost in row):
            raise ValueError("costs: expected numbers, 0 or more")

    def __len__(self) -> int:
        return len(self.names)

    def undecided(self) -> "LabelSpace":
        """These labels as training leaves them: no temperature, no threshold, no cost, every row answered."""
        return replace(self, thresholds=None, temperature=1.0, costs=None, abstain=None)

    def plain(self) -> dict[str, Any]:
        """As JSON-like values. What is newer than the first bundles is left out where it says nothing, so that hashes
        of what they hold stay, and versions before it read them.
        """
        content = asdict(self)
        return {name: value for name, value in content.items() if value is not None or name not in ("costs", "abstain")}

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
        # `id` is slow, and raises with the nearest name: it is for names that are none.
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
        """Logits [N, C] to probabilities, decisions and rows that are not answered, in float64 inside.

        NaN logits stay NaN, and so does a single-label row with an infinite one: scoring rejects such rows.
        """
        if logits.ndim != 2 or logits.shape[1] != len(self):
            raise ValueError(f"expected logits [N, {len(self)}], found {list(logits.shape)}")
        # Infinite logits (an overflow in half precision) are the caller's to reject; numpy need not warn of each.
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = logits.astype(np.float64) / self.temperature
            probabilities = (_sigmoid(scaled) if self.kind == "multi" else _softmax(scaled)).astype(np.float32)
        scores = Scores(probabilities=probabilities, decisions=self._decide(scaled, probabilities))
        return scores if self.abstain is None else replace(scores, abstained=scores.confidence < self.abstain.below)

    def _decide(self, scaled: NDArray[np.float64], probabilities: NDArray[np.float32]) -> NDArray[np.generic]:
        """Which labels are given: bool [N, C] for multi-label, int64 [N] for single-label."""
        if self.kind == "multi":
            limits = self.thresholds if self.thresholds is not None else (0.5,) * len(self)
            return probabilities >= np.array(limits, dtype=np.float64)
        if self.costs is not None:
            return np.asarray((probabilities.astype(np.float64) @ np.array(self.costs)).argmin(axis=1))
        if self.thresholds is None:
            return np.asarray(scaled.argmax(axis=1))
        if len(self) == 2:
            # The rule below, solved for the second probability: exact where that one equals t, and ties are its own.
            first, second = self.thresholds
            return (probabilities[:, 1] >= second / (first + second)).astype(np.int64)
        return np.asarray((probabilities / np.array(self.thresholds, dtype=np.float64)).argmax(axis=1))


def _whole_rows(same: Any) -> NDArray[np.bool_]:
    """Which rows are the same: of single-label as they are, of multi-label those that are in every label."""
    return np.asarray(same if np.ndim(same) == 1 else same.all(axis=1), dtype=np.bool_)


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    # exp only of non-positive numbers: no overflow at either end.
    small = np.exp(-np.abs(logits))
    return np.asarray(np.where(logits >= 0, 1 / (1 + small), small / (1 + small)), dtype=np.float64)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True), dtype=np.float64)
