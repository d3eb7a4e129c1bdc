"""Calibration error: its bins, its bias, and intervals that hold the truth."""

from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from tests.trainer.evaluation.cases import KINDS, measured
from trainer.contract.figures.exact import interval
from trainer.contract.figures.resample import Interval, resamples
from trainer.contract.labels import LabelSpace, Scores
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
    found = CalibrationError.of(case).reliability()
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


@pytest.mark.parametrize("kind", KINDS)
def test_bands_hold_the_true_share(kind: str) -> None:
    """Of calibrated probabilities the true share of a bin is its mean: over 8 draws nearly all bands hold it, those of
    bins where nothing came true as well; of a model that is too sure many do not.
    """
    held = {sharpness: np.mean(list(_held(kind, sharpness))) for sharpness in (1.0, 2.5)}
    assert held[1.0] >= 0.9
    assert held[2.5] < 0.75


def _held(kind: str, sharpness: float) -> Iterator[bool]:
    for seed in range(8):
        for one in CalibrationError.of(measured(kind, rows=600, seed=seed, sharpness=sharpness)).reliability():
            yield one["share_low"] <= one["probability"] <= one["share_high"]


def test_labels_that_hang_together_widen_the_band() -> None:
    """Twenty labels of a row that all come true together or not at all say no more than one: their band is that of one,
    where a binomial interval of all of them would be four times narrower.
    """
    generator = np.random.default_rng(0)
    chance = generator.uniform(0.2, 0.8, 300)
    true = generator.random(300) < chance
    space = LabelSpace(names=tuple(map(str, range(20))), kind="multi")
    probabilities = np.repeat(chance[:, None], 20, axis=1).astype(np.float32)
    scores = Scores(probabilities=probabilities, decisions=probabilities >= 0.5)
    labels = np.repeat(true[:, None], 20, axis=1)
    for one in CalibrationError.of(Measured(scores=scores, labels=labels, space=space)).reliability():
        low, high = interval(round(one["share"] * one["count"] / 20), int(one["count"]) // 20)
        assert one["share_high"] - one["share_low"] > 0.6 * (high - low)
