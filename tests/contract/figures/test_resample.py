"""Intervals over resampled rows: the same figures as row by row, right as often as they say, and quick."""

import math
import time
from typing import Any

import numpy as np
import pytest

from tests.contract.figures.test_metrics import CASES, Labels, data
from trainer.contract.figures.metrics import METRICS, allowed, compute
from trainer.contract.figures.resample import Interval, intervals, resampled, resamples
from trainer.contract.labels import LabelSpace, Scores

ALL = [case for case in CASES if case[2] > 1]


@pytest.mark.parametrize("case", ALL, ids=str)
def test_a_resample_is_measured_as_its_rows_are(case: tuple[int, Any, int, bool]) -> None:
    """Each metric of each resample is that of the rows it draws, written out with their repeats."""
    scores, truth, space = data(*case)
    names = [name for name in METRICS if allowed(name, space)]
    found = resampled(names, scores, truth, space, rounds=20)
    counts = np.concatenate(list(resamples(len(truth), 20)))
    assert counts.sum(axis=1).tolist() == [len(truth)] * 20
    for place, row in enumerate(counts):
        rows = np.repeat(np.arange(len(truth)), row.astype(np.int64))
        drawn = Scores(probabilities=scores.probabilities[rows], decisions=scores.decisions[rows])
        for name in names:
            expected = compute(name, drawn, truth[rows], space)
            assert found[name][place] == pytest.approx(expected, abs=1e-6, nan_ok=True), name


def flat(right: Labels) -> tuple[Scores, Labels, LabelSpace]:
    """Rows of label 0, of which those in `right` are decided so."""
    space = LabelSpace(names=("a", "b"))
    return space.decode(np.where(right[:, None], [1.0, -1.0], [-1.0, 1.0])), np.zeros(len(right), dtype=int), space


def test_the_interval_covers_the_true_value_as_often_as_it_says() -> None:
    """Of 200 samples of 200 rows with a true accuracy of 0.8, about 95 % of the intervals hold 0.8."""
    random = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        interval = intervals(["accuracy"], *flat(random.random(200) < 0.8), rounds=300)["accuracy"]
        held += interval.low <= 0.8 <= interval.high
    assert 178 <= held <= 198


def test_the_interval_is_reproducible_and_leaves_undefined_resamples_out() -> None:
    """One seed gives one interval; resamples without the rare class do not make it NaN, and no rows do."""
    space = LabelSpace(names=("a", "b"))
    scores = space.decode(np.random.default_rng(0).normal(size=(20, 2)))
    truth = np.arange(20) % 20 == 0
    first, again = (intervals(["roc_auc"], scores, truth.astype(int), space)["roc_auc"] for _ in range(2))
    assert first == again
    assert first.low < first.value < first.high
    samples = [resampled(["roc_auc"], scores, truth.astype(int), space, seed=seed)["roc_auc"] for seed in (0, 1)]
    assert np.isnan(samples[0]).any()
    assert not np.array_equal(*samples, equal_nan=True)
    assert math.isnan(Interval.of(1.0, np.array([np.nan])).low)
    empty = intervals(["accuracy", "roc_auc"], *flat(np.zeros(0, dtype=bool)))
    assert all(math.isnan(figure.value) and math.isnan(figure.low) for figure in empty.values())


@pytest.mark.slow
def test_sixty_thousand_rows_of_twenty_labels() -> None:
    """All metrics of 60,000 rows and 20 labels, a thousand resamples each: seconds, not the minutes of row by row."""
    random = np.random.default_rng(0)
    space = LabelSpace(names=tuple(f"label{number}" for number in range(20)), kind="multi")
    table = random.normal(size=(60_000, 20))
    truth = table + random.normal(size=table.shape) > 2
    started = time.perf_counter()
    found = intervals([name for name in METRICS if allowed(name, space)], space.decode(table), truth, space)
    print(f"{time.perf_counter() - started:.1f} s")
    assert all(figure.low <= figure.value <= figure.high for figure in found.values())
    assert found["roc_auc"].low < found["roc_auc"].value < found["roc_auc"].high
