"""Calibration error: its bins, its bias, and intervals that hold the truth."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from tests.trainer.evaluation.cases import KINDS, measured
from trainer.contract.figures.resample import Interval, resamples
from trainer.evaluation.calibration import Binned, CalibrationError
from trainer.evaluation.measured import Measured


def errors(case: Measured, rounds: int = 200) -> tuple[Interval, Interval]:
    """The expected calibration error, and the root mean square one."""
    found = CalibrationError(binned=Binned.of(case))
    for weights in resamples(len(case), rounds):
        found.add(weights)
    return found.expected(), found.root_mean_square()


def test_bins_are_scikit_learns_quantiles() -> None:
    """Mean probability and share true of each bin are those of `calibration_curve(strategy="quantile")`."""
    case = measured("binary", rows=3000)
    share, probability = calibration_curve(
        case.labels == 1, case.scores.probabilities[:, 1], n_bins=15, strategy="quantile"
    )
    found = Binned.of(case).reliability()
    # scikit-learn puts a probability that is an edge into the bin above it, and here into the one below.
    assert [each["share"] for each in found] == pytest.approx(share.tolist(), abs=0.01)
    assert [each["probability"] for each in found] == pytest.approx(probability.tolist(), abs=0.01)
    assert sum(each["count"] for each in found) == 3000
    assert all(each["low"] <= each["probability"] <= each["high"] for each in found)


def test_the_plain_error_is_a_mean_of_gaps() -> None:
    """By hand: half of the rows say 0.8 and 0.5 of them come true, half say 0.2 and 0.2 do: the error is 0.15."""
    case = measured("binary", rows=40)
    probabilities = np.repeat([[0.2, 0.8], [0.8, 0.2]], 20, axis=0).astype(np.float32)
    labels = np.array([1] * 10 + [0] * 10 + [1] * 4 + [0] * 16)
    scores = type(case.scores)(probabilities=probabilities, decisions=probabilities.argmax(axis=1))
    binned = Binned.of(Measured(scores=scores, labels=labels, space=case.space))
    assert binned.ece()[0] == pytest.approx(0.15)
    assert binned.mean_square(debias=False)[0] == pytest.approx(0.045)
    assert binned.mean_square()[0] == pytest.approx(0.045 - (0.25 / 19 + 0.16 / 19) / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_hold_the_truth(kind: str) -> None:
    """Of 30 draws of a calibrated classifier nearly all intervals reach 0; of one that is too sure nearly all hold the
    error of many rows, and most leave 0 out.
    """
    for sharpness in (1.0, 2.5):
        truth = float(Binned.of(measured(kind, rows=60_000, seed=99, sharpness=sharpness)).ece()[0])
        found = [errors(measured(kind, rows=800, seed=seed, sharpness=sharpness))[0] for seed in range(30)]
        truth = 0.0 if sharpness == 1.0 else truth
        assert sum(each.low <= truth <= each.high for each in found) >= 26
        assert sharpness == 1.0 or sum(each.low > 0 for each in found) >= 20
