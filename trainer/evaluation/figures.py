"""Every metric of a split with its interval: the contract's, and those that only a person asks for.

Intervals come from one set of resamples, so that figures of two classifiers are paired, row by row.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from trainer.contract.figures.metrics import LOWER_IS_BETTER, METRICS, Floats, Weighed, allowed
from trainer.contract.figures.resample import Interval, Units, resamples
from trainer.contract.labels import LabelSpace
from trainer.evaluation.calibration import Binned, CalibrationError
from trainer.evaluation.measured import Measured

SINGLE = ("balanced_accuracy",)
MULTI = ("subset_accuracy", "hamming_loss")
LOWER = LOWER_IS_BETTER | {"brier", "hamming_loss", "ece"}
ECE = "ece"
# Every label is sorted by its scores for these, so on large splits fewer resamples must do; intervals are narrow there.
_SORTED = ("roc_auc", "average_precision")
_LARGE = 500_000
_FEW = 200


def names(space: LabelSpace) -> list[str]:
    """Every metric that is defined for the labels, but the calibration error."""
    own = SINGLE if space.kind == "single" else MULTI
    return [*(name for name in METRICS if allowed(name, space)), *own, "brier"]


def headline(space: LabelSpace, metric: str) -> list[str]:
    """The few that baselines are compared in, the metric that chose the checkpoint first."""
    if space.kind == "multi":
        few = ["f1_micro", "f1_macro", "subset_accuracy", "hamming_loss", "brier"]
    else:
        few = ["accuracy", "balanced_accuracy", "f1" if len(space) == 2 else "f1_macro", "mcc", "brier"]
        # Sorting by every label's scores is slow on large splits, by one's it is not.
        few += ["roc_auc"] if len(space) == 2 else []
    return list(dict.fromkeys([metric, *few]))


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Resampled rows of a classifier: `Weighed`, and the metrics that the contract has no use for."""

    measured: Measured
    brier: Floats
    """[N]: each row's squared error (see `squared_errors`)."""
    weighed: Weighed

    @classmethod
    def of(cls, measured: Measured, weights: Floats) -> "Weights":
        """The rows, counted as the weights [R, N] say."""
        weighed = Weighed(scores=measured.scores, labels=measured.labels, space=measured.space, weights=weights)
        return cls(measured=measured, brier=squared_errors(measured), weighed=weighed)

    def values(self, name: str) -> Floats:
        """A metric, [R]; NaN without rows.

        balanced_accuracy: mean recall of the labels that occur. subset_accuracy: rows with every label right.
        hamming_loss: share of row and label pairs that are wrong. brier: mean of `squared_errors`.
        """
        if not len(self.measured):
            return np.full(len(self.weighed.weights), np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            if name == "brier":
                return self._mean(self.brier)
            if name == "hamming_loss":
                apart = self.measured.scores.decisions != self.measured.labels
                return self._mean(apart.mean(axis=1))
            if name == "balanced_accuracy":
                counts = self.weighed.counts
                recalls = counts.true_positive / counts.actual
                return np.asarray(np.nansum(recalls, axis=1) / (counts.actual > 0).sum(axis=1))
        return self.weighed.values("accuracy" if name == "subset_accuracy" else name)

    def _mean(self, each: Floats) -> Floats:
        weights = self.weighed.weights
        summed = (weights @ each.astype(weights.dtype)).astype(np.float64)
        return np.asarray(summed / weights.sum(axis=1, dtype=np.float64))


def squared_errors(measured: Measured) -> Floats:
    """Brier's score of each row, [N] (Brier 1950). Of two single labels: of the positive one's probability, 0 to 1; of
    more: summed over labels, 0 to 2; of several labels a row: the mean over them, 0 to 1.
    """
    squares = (measured.scores.probabilities.astype(np.float64) - measured.truth) ** 2
    if measured.space.kind == "multi":
        return np.asarray(squares.mean(axis=1))
    return squares[:, measured.space.positive_id] if measured.is_binary else np.asarray(squares.sum(axis=1))


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """Metrics of some rows, of one classifier, and what resamples make of them."""

    values: dict[str, float]
    samples: dict[str, Floats]
    """[R] each."""
    calibration: CalibrationError | None

    def intervals(self) -> dict[str, Interval]:
        """Each metric with its 95 % interval, the calibration error last."""
        found = {name: Interval.of(value, self.samples[name]) for name, value in self.values.items()}
        return found if self.calibration is None else found | {ECE: self.calibration.expected()}


def resampled_systems(
    systems: Mapping[str, Measured], wanted: Mapping[str, Iterable[str]], units: Units | None = None
) -> dict[str, Resampled]:
    """Metrics of several classifiers of the same rows, resampled together. wanted: which of each, by the classifier's
    name; `ECE` among them asks for the calibration error. units: see `resamples`.

    Of 1,000 resamples; of about _FEW for a metric that sorts, where rows times labels are more than _LARGE.
    """
    metrics = {key: [name for name in wanted[key] if name != ECE] for key in systems}
    rows = len(next(iter(systems.values())))
    calibrations = {
        key: CalibrationError(binned=Binned.of(measured)) if ECE in wanted[key] and rows else None
        for key, measured in systems.items()
    }
    found: dict[str, dict[str, list[Floats]]] = {key: {name: [] for name in metrics[key]} for key in systems}
    done = 0
    for weights in resamples(rows, units=units):
        for key, measured in systems.items():
            weighed, large = Weights.of(measured, weights), rows * len(measured.space) > _LARGE
            for name, values in found[key].items():
                if done < _FEW or not (large and name in _SORTED):
                    values.append(weighed.values(name))
            if (calibration := calibrations[key]) is not None:
                calibration.add(weights)
        done += len(weights)
    once = {key: Weights.of(measured, np.ones((1, rows))) for key, measured in systems.items()}
    return {
        key: Resampled(
            values={name: float(once[key].values(name)[0]) for name in metrics[key]},
            samples={name: np.concatenate(values) for name, values in found[key].items()},
            calibration=calibrations[key],
        )
        for key in systems
    }
