"""How far a figure would move with other rows: 95 % intervals over resampled rows (Efron 1979).

A resample is a count for each row. Metrics are computed from the counts of many resamples at once, so that rows are
decoded, compared and sorted once and not a thousand times.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.contract.figures.metrics import Floats, Labels, Weighed, compute
from trainer.contract.labels import LabelSpace, Scores

Units = NDArray[np.int64]
RESAMPLES = 1000
# Row counts held at a time: 32 MB.
_AT_ONCE = 8_000_000
# Up to so many rows a float32 counts exactly.
_EXACT = 2**24


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, samples: Floats) -> "Interval":
        """The percentile interval of resampled figures [R]. Undefined ones are left out; NaN where none is left."""
        samples = samples[np.isfinite(samples)]
        low, high = np.percentile(samples, [2.5, 97.5]) if len(samples) else (np.nan, np.nan)
        return cls(value=value, low=float(low), high=float(high))


def resamples(rows: int, rounds: int = RESAMPLES, seed: int = 0, units: Units | None = None) -> Iterator[Floats]:
    """How often each of `rows` rows is drawn, [R, rows], some rounds at a time. The same seed draws the same rows.

    units: a number for what each row is drawn with, 0 to the largest: rows of one author, say, come together or not at
    all (the cluster bootstrap; Davison and Hinkley 1997, section 3.8). A resample then has another number of rows.
    """
    generator = np.random.default_rng(seed)
    dtype = np.float32 if rows < _EXACT else np.float64
    size = rows if units is None else int(units.max(initial=-1)) + 1
    for start in range(0, rounds, max(1, _AT_ONCE // max(1, rows))):
        count = min(max(1, _AT_ONCE // max(1, rows)), rounds - start)
        drawn = (generator.integers(0, max(1, size), size) for _ in range(count))
        times: Floats = np.array([np.bincount(each, minlength=size) for each in drawn], dtype=dtype)
        yield times if units is None else np.take(times, units, axis=1)


def resampled(
    names: Iterable[str], scores: Scores, labels: Labels, space: LabelSpace, *, rounds: int = RESAMPLES, seed: int = 0
) -> dict[str, Floats]:
    """Each metric of `rounds` resamples, [R]. With one seed, figures of two scores of the same rows are paired."""
    found: dict[str, list[Floats]] = {name: [] for name in names}
    for weights in resamples(len(labels), rounds, seed):
        rows = Weighed(scores=scores, labels=labels, space=space, weights=weights)
        for name, values in found.items():
            values.append(rows.values(name))
    return {name: np.concatenate(values) for name, values in found.items()}


def intervals(
    names: Iterable[str], scores: Scores, labels: Labels, space: LabelSpace, *, rounds: int = RESAMPLES
) -> dict[str, Interval]:
    """Each metric with its interval; without rows all figures are NaN."""
    found = resampled(names, scores, labels, space, rounds=rounds)
    return {name: Interval.of(compute(name, scores, labels, space), values) for name, values in found.items()}
