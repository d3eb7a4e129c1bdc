"""Whether a probability means what it says: calibration error with intervals, and the bins of a reliability diagram.

Bins hold equally many probabilities (Nguyen and O'Connor 2015, arXiv 1508.05154): bins of equal width leave most of
them nearly empty where a classifier is sure. The bins are those of the rows themselves and stay so in every resample.
"""

from dataclasses import asdict, dataclass, field
from functools import cached_property

import numpy as np

from trainer.contract.figures.exact import interval
from trainer.contract.figures.metrics import Floats
from trainer.contract.figures.resample import Interval, Units, resamples
from trainer.evaluation.measured import Bools, Measured

BINS = 15
# A bin of fewer rows says little but noise.
LEAST_IN_BIN = 20
# Of fewer that came true, or did not, resamples say too little of how many there might be.
_LEAST_OF_EACH = 5


@dataclass(frozen=True, kw_only=True)
class Binned:
    """The probabilities of N rows in B bins: of each row one for single labels, C for several."""

    count: Floats
    """[N, B]: how many of the row's probabilities lie in the bin."""
    probability: Floats
    """[N, B]: their sum."""
    true: Floats
    """[N, B]: how many of them came true."""
    edges: Floats
    """[B + 1]: the smallest probability, the largest one of each bin but the last, and the largest."""

    @classmethod
    def of(cls, measured: Measured) -> "Binned":
        """Of two single labels the positive one's probability, of more the decided one's, of several all."""
        probabilities, true = _claims(measured)
        rows, each = probabilities.shape
        bins = int(np.clip(rows // LEAST_IN_BIN, 1, BINS))
        edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, bins + 1))) if rows else np.array([0.0, 1.0])
        # A probability that many rows share falls into one bin, so there may be fewer.
        place = np.searchsorted(edges[1:-1], probabilities, side="left")
        # The outer edges part nothing: the extreme probabilities belong to the outer bins.
        size = max(1, len(edges) - 1)
        flat = (np.arange(rows)[:, None] * size + place).ravel()

        def summed(of: Floats | Bools) -> Floats:
            """Sums of [R, N] by bin, [R, B]."""
            found = np.bincount(flat, weights=of.ravel().astype(np.float64), minlength=rows * size)
            return np.asarray(found.reshape(rows, size), dtype=np.float64)

        return cls(
            count=summed(np.ones((rows, each))), probability=summed(probabilities), true=summed(true), edges=edges
        )

    @cached_property
    def _all(self) -> Floats:
        return np.ones((1, len(self.count)))

    def ece(self, weights: Floats | None = None) -> Floats:
        """Expected calibration error, [R]: the mean over probabilities of |mean probability - share true| of their bin
        (Guo et al. 2017, arXiv 1706.04599). Noise of the bins makes it too large with few rows.
        """
        count, gap, _ = self._summed(self._all if weights is None else weights)
        return np.asarray((count * np.abs(gap)).sum(axis=1) / count.sum(axis=1))

    def mean_square(self, weights: Floats | None = None, *, debias: bool = True) -> Floats:
        """The mean square of those gaps, [R]. debias: without the share that noise adds (Kumar et al. 2019, arXiv
        1909.10155, definition 4.1), so that it is zero on average, and at times below, where nothing is wrong.
        """
        count, gap, share = self._summed(self._all if weights is None else weights)
        noise = share * (1 - share) / np.maximum(count - 1, 1) if debias else 0.0
        return np.asarray((count * (gap**2 - noise)).sum(axis=1) / count.sum(axis=1))

    def _summed(self, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Of each bin, [R, B]: rows, mean probability less the share true, and that share."""
        count, probability, true = (
            weights @ each.astype(weights.dtype) for each in (self.count, self.probability, self.true)
        )
        held = np.where(count > 0, count, 1.0)
        return count, (probability - true) / held, true / held

    def shares(self, weights: Floats) -> Floats:
        """The share of each bin that came true, [R, B]; NaN where a resample has none of its rows."""
        count, _, share = self._summed(weights)
        return np.where(count > 0, share, np.nan)

    def reliability(self, shares: Floats) -> list[dict[str, float | int]]:
        """Each bin with the share that came true, and its 95 % band. shares: of resampled rows, [R, B].

        The band is the percentile interval of the share. Where fewer than _LEAST_OF_EACH came true, or did not, it is
        the exact one, of as many rows as the bin has: labels of one row hang together, and count as one.
        """
        found = []
        rows, sums = (self.count > 0).sum(axis=0).tolist(), (self.count.sum(axis=0), self.true.sum(axis=0))
        for place, (count, true) in enumerate(zip(*sums, strict=True)):
            if not count:
                continue
            share = float(true / count)
            if min(true, count - true) >= _LEAST_OF_EACH:
                band = Interval.of(share, shares[:, place])
                low, high = band.low, band.high
            else:
                low, high = interval(round(share * rows[place]), rows[place])
            found.append(
                {
                    "low": float(self.edges[place]),
                    "high": float(self.edges[min(place + 1, len(self.edges) - 1)]),
                    "count": int(count),
                    "probability": float(self.probability[:, place].sum() / count),
                    "share": share,
                    "share_low": low,
                    "share_high": high,
                }
            )
        return found


def _claims(measured: Measured) -> tuple[Floats, Bools]:
    """Probabilities and whether each came true, [N, 1] or, for several labels, [N, C]."""
    probabilities = measured.scores.probabilities.astype(np.float64)
    if measured.space.kind == "multi":
        return probabilities, measured.truth
    if measured.is_binary:
        positive = measured.space.positive_id
        return probabilities[:, [positive]], measured.truth[:, [positive]]
    decided = measured.scores.decisions.astype(np.int64)
    return np.take_along_axis(probabilities, decided[:, None], axis=1), ~measured.wrong[:, None]


def claim(measured: Measured) -> str:
    """What the probabilities are of, in words."""
    if measured.space.kind == "multi":
        return "the probability of every label of every row"
    if measured.is_binary:
        return f"the probability of {measured.space.names[measured.space.positive_id]!r}"
    return "the probability of the decided label"


@dataclass(frozen=True, kw_only=True)
class CalibrationError:
    """Collects resampled calibration errors, and gives their intervals.

    A resample has the noise of its rows on top of theirs, so the percentile interval lies above the truth: of
    calibrated probabilities it never holds it. These are basic bootstrap intervals (Davison and Hinkley 1997, section
    5.2): what resamples say of the rows' own figure, the rows say of the one sought.
    """

    binned: Binned
    ece: list[Floats] = field(default_factory=list)
    """The expected calibration error of the resamples so far, [R] each."""
    square: list[Floats] = field(default_factory=list)
    """Their debiased mean square, [R] each."""
    shares: list[Floats] = field(default_factory=list)
    """The share of each bin that came true in them, [R, B] each."""

    @classmethod
    def of(cls, measured: Measured, units: Units | None = None) -> "CalibrationError":
        """Of these rows, resampled 1,000 times. units: what is drawn together (see `resamples`)."""
        found = cls(binned=Binned.of(measured))
        for weights in resamples(len(measured), units=units):
            found.add(weights)
        return found

    def add(self, weights: Floats) -> None:
        """Note some resamples, [R, N]."""
        self.ece.append(self.binned.ece(weights))
        self.square.append(self.binned.mean_square(weights))
        self.shares.append(self.binned.shares(weights))

    def reliability(self) -> list[dict[str, float | int]]:
        """The bins with their bands."""
        return self.binned.reliability(np.concatenate(self.shares))

    def root_mean_square(self) -> Interval:
        """The root of the debiased mean square gap."""
        truth = float(self.binned.mean_square(debias=False)[0])
        found = _basic(float(self.binned.mean_square()[0]), np.concatenate(self.square), truth)
        return Interval(**{name: value**0.5 for name, value in asdict(found).items()})

    def expected(self) -> Interval:
        """The expected calibration error, less the bias that the resamples show. Its interval reaches down to 0 where
        that of the mean square does: both are 0 together, and only the mean square has no bias there.
        """
        plain, samples = float(self.binned.ece()[0]), np.concatenate(self.ece)
        found = _basic(plain, samples, plain)
        return Interval(
            value=float(np.clip(2 * plain - samples.mean(), found.low, found.high)),
            low=found.low if self.root_mean_square().low > 0 else 0.0,
            high=found.high,
        )


def _basic(value: float, samples: Floats, truth: float) -> Interval:
    """The basic bootstrap interval of a figure that is never below 0; truth: the resamples' own."""
    low, high = value - np.percentile(samples - truth, [97.5, 2.5])
    return Interval(value=max(0.0, value), low=max(0.0, float(low)), high=max(0.0, float(high)))
