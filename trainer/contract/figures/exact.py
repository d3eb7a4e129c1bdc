"""Exact binomial bounds, the choice of a threshold whose error rate is bounded with a stated confidence, and p values
of many tests.

Bounds are those of Clopper and Pearson (1934): they hold for any number of rows. The choice is fixed-sequence testing,
as in Learn then Test (Angelopoulos et al. 2021, arXiv 2110.01052): thresholds are tried from the most careful on, each
against the bound, and the first that fails ends the sequence. So the error of the last that passed is within the bound
with the stated confidence, although many were tried.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

# Halvings of [0, 1]: the bound is then exact to the last bit of a double near one, and to 1e-18 near zero.
HALVINGS = 60
# Terms of the continued fraction, which grow with the square root of the number of rows: enough for 10^9 rows.
BETA_TERMS = 100_000


def holm(found: Sequence[float]) -> list[float]:
    """p values adjusted for how many there are (Holm 1979), in their order: the chance that any of those below a level
    is there by chance is at most that level, whatever depends on what.
    """
    adjusted, worst = [0.0] * len(found), 0.0
    for place, number in enumerate(sorted(range(len(found)), key=found.__getitem__)):
        worst = max(worst, min(1.0, found[number] * (len(found) - place)))
        adjusted[number] = worst
    return adjusted


@lru_cache(maxsize=10_000)  # A choice of a threshold asks for the same counts again and again.
def upper_bound(wrong: int, rows: int, delta: float = 0.05) -> float:
    """The largest error rate that `wrong` errors among `rows` do not rule out: above it with probability `delta`.

    A rate in [0, 1]; 1 where there is no row. Raises `ValueError` for counts or a `delta` that cannot be.
    """
    _check(wrong, rows, delta)
    if rows == wrong:
        return 1.0
    # P(X <= wrong) falls as the rate rises, and is delta at the bound.
    return _where(lambda rate: _incomplete_beta(rows - wrong, wrong + 1, 1.0 - rate) > delta)


def lower_bound(wrong: int, rows: int, delta: float = 0.05) -> float:
    """The smallest error rate that `wrong` errors among `rows` do not rule out; see `upper_bound`."""
    _check(wrong, rows, delta)
    if wrong == 0:
        return 0.0
    # P(X >= wrong) rises with the rate, and is delta at the bound.
    return _where(lambda rate: _incomplete_beta(wrong, rows - wrong + 1, rate) < delta)


def interval(wrong: int, rows: int, level: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of an error rate: each end is passed with probability (1 - level) / 2 at most."""
    half = (1.0 - level) / 2
    return lower_bound(wrong, rows, half), upper_bound(wrong, rows, half)


def told_none_wrong(wrong: int, rows: int) -> str:
    """What rows without one error leave possible, in a sentence; empty where one is wrong, or there is no row."""
    if wrong or not rows:
        return ""
    share = f"{interval(0, rows)[1]:.2%}".replace("%", " %")
    return f"No row of {rows:,} is wrong; of other rows up to {share} may be (exact 95 % interval)."


def at_most(wrong: int, rows: int, rate: float) -> float:
    """The chance of at most `wrong` errors among `rows` rows where each is wrong with probability `rate`, in [0, 1]."""
    if not 0 <= wrong <= rows or not 0.0 <= rate <= 1.0:
        raise ValueError(f"at most {wrong} errors among {rows} rows at a rate of {rate} cannot be")
    return 1.0 if wrong == rows else _incomplete_beta(rows - wrong, wrong + 1, 1.0 - rate)


def rows_needed(target: float, delta: float = 0.05) -> int:
    """How many rows without one error show that the error rate is within `target`, in (0, 1)."""
    if not 0.0 < target < 1.0:
        raise ValueError(f"a target lies between 0 and 1, not at {target}")
    return math.ceil(math.log(delta) / math.log1p(-target))


def last_within(steps: Sequence[tuple[int, int]], target: float, delta: float = 0.05) -> int | None:
    """The index of the boldest step whose error rate is shown to be within `target`, or None where the first is not.

    `steps` holds (wrong, rows) from the most careful to the boldest threshold. They must be fixed before the rows are
    looked at. The rate of the returned step is above `target` with probability `delta` at most, over the rows drawn.
    """
    last = None
    for index, (wrong, rows) in enumerate(steps):
        if upper_bound(wrong, rows, delta) > target:
            break
        last = index
    return last


def _check(wrong: int, rows: int, delta: float) -> None:
    if not 0 <= wrong <= rows:
        raise ValueError(f"{wrong} errors among {rows} rows cannot be")
    if not 0.0 < delta < 1.0:
        raise ValueError(f"a probability of error lies between 0 and 1, not at {delta}")


def _where(below: Callable[[float], bool]) -> float:
    """The rate in [0, 1] at which `below` turns from true to false."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return high


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularized incomplete beta function I_x(a, b), by the continued fraction of DLMF 8.17.22."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1.0) / (a + b + 2.0):  # There the fraction of the other side converges faster.
        return 1.0 - _incomplete_beta(b, a, 1.0 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    tiny = 1e-300
    fraction, numerator, denominator = 1.0, 1.0, 0.0
    for term in range(BETA_TERMS):
        half = term // 2
        if term == 0:
            factor = 1.0
        elif term % 2 == 0:
            factor = half * (b - half) * x / ((a + 2 * half - 1.0) * (a + 2 * half))
        else:
            factor = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1.0))
        denominator = 1.0 / (1.0 + factor * denominator or tiny)
        numerator = 1.0 + factor / numerator or tiny
        fraction *= numerator * denominator
        if abs(1.0 - numerator * denominator) < 1e-15:
            break
    return front * (fraction - 1.0) / a
