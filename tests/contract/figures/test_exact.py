"""Exact binomial bounds against scipy's beta distribution, and how often a chosen threshold breaks its bound."""

import numpy as np
import pytest
from scipy.stats import beta

from trainer.contract.figures.exact import interval, last_within, lower_bound, rows_needed, upper_bound

COUNTS = [
    (0, 1),
    (1, 1),
    (0, 149),
    (3, 149),
    (1, 2),
    (57, 100),
    (0, 10_000),
    (12, 10_000),
    (9_999, 10_000),
    (700, 10**7),
]


@pytest.mark.parametrize(("wrong", "rows"), COUNTS)
@pytest.mark.parametrize("delta", [0.05, 0.0125])
def test_bounds_are_clopper_and_pearsons(wrong: int, rows: int, delta: float) -> None:
    """Both bounds are the quantiles of the beta distribution that define them."""
    upper = 1.0 if wrong == rows else float(beta.ppf(1 - delta, wrong + 1, rows - wrong))
    lower = 0.0 if wrong == 0 else float(beta.ppf(delta, wrong, rows - wrong + 1))
    assert upper_bound(wrong, rows, delta) == pytest.approx(upper, rel=1e-7)
    assert lower_bound(wrong, rows, delta) == pytest.approx(lower, rel=1e-7)
    assert interval(wrong, rows, 1 - 2 * delta) == pytest.approx((lower, upper), rel=1e-7)


def test_no_row_shows_nothing() -> None:
    """Without a row every rate is possible."""
    assert interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("wrong", "rows", "delta"), [(2, 1, 0.05), (-1, 3, 0.05), (0, 3, 0.0), (0, 3, 1.0)])
def test_counts_that_cannot_be_are_refused(wrong: int, rows: int, delta: float) -> None:
    """More errors than rows, negative counts and a confidence of all or nothing are errors."""
    with pytest.raises(ValueError, match=r"cannot be|between 0 and 1"):
        upper_bound(wrong, rows, delta)
    with pytest.raises(ValueError, match=r"cannot be|between 0 and 1"):
        lower_bound(wrong, rows, delta)


@pytest.mark.parametrize("target", [0.02, 0.005, 0.002])
def test_rows_needed_is_the_first_number_that_shows_a_target(target: float) -> None:
    """With that many rows and no error the bound is within the target; with one row less it is not."""
    rows = rows_needed(target)
    assert upper_bound(0, rows) <= target < upper_bound(0, rows - 1)


def test_the_sequence_ends_at_the_first_step_that_fails() -> None:
    """A bolder step that would pass by luck, after one that failed, is not taken; a first one that fails gives None."""
    steps = [(0, 1000), (1, 1000), (40, 1000), (0, 5000)]
    assert last_within(steps, 0.01) == 1
    assert last_within([(40, 1000), (0, 1000)], 0.01) is None
    assert last_within([], 0.01) is None


def test_a_chosen_threshold_breaks_its_bound_in_at_most_delta_of_draws() -> None:
    """Over 2,000 drawn calibrations the true error of the chosen step is above the target in 5 % at most, and in some.

    Choosing the best step by its own error, which is what the bound protects from, breaks it in over a third of them.
    """
    generator = np.random.default_rng(7)
    rates, rows, target = np.linspace(0.0, 0.06, 61), 600, 0.02
    drawn = (
        generator.uniform(size=(2_000, rows, 1)) < rates
    )  # Errors grow with the step, row by row, as thresholds' do.
    counts = drawn.sum(axis=1)
    chosen = [last_within([(int(wrong), rows) for wrong in row], target) for row in counts]
    broken = np.mean([step is not None and rates[step] > target for step in chosen])
    naive = np.mean([rates[np.flatnonzero(row / rows <= target)[-1]] > target for row in counts])
    assert 0.005 < broken <= 0.06
    assert naive > 0.3
