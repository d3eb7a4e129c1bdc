"""What two classifiers without an encoder make of the same rows: whether the encoder was needed at all."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trainer.contract.figures.resample import Interval
from trainer.contract.labels import LabelSpace, Scores
from trainer.evaluation.figures import LOWER, Resampled
from trainer.evaluation.measured import Measured


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A classifier that the encoder is compared with."""

    about: str
    """What it is, in words."""
    scores: Scores | None
    """What it says of the rows; None where it could not be made."""
    missing: str | None = None
    """Why not."""
    fit: dict[str, Any] | None = None
    """What it was made of, where it was fitted."""


def majority(space: LabelSpace, counts: Mapping[str, int], train_rows: int, rows: int) -> Baseline:
    """What most training rows have: the commonest label; of several labels a row, each that at least half of the rows
    have, else the commonest one. Its probabilities are the label shares.

    counts: training rows of each label. rows: how many to answer for.
    """
    shares = np.array([counts.get(name, 0) for name in space.names], dtype=np.float64) / max(1, train_rows)
    best = int(shares.argmax())
    probabilities = np.broadcast_to(shares.astype(np.float32), (rows, len(space)))
    if space.kind == "single":
        given, decisions = [best], np.full(rows, best)
    else:
        given = np.flatnonzero(shares >= 0.5).tolist() or [best]
        decisions = np.broadcast_to(np.isin(np.arange(len(space)), given), (rows, len(space)))
    about = "always " + " and ".join(repr(space.names[label]) for label in given)
    if space.kind == "single" and len(space) == 2:
        # Else its F1 of 0 puzzles whoever reads it.
        about += f", so never {space.names[1 - best]!r}"
    return Baseline(
        about=about,
        scores=Scores(probabilities=probabilities, decisions=decisions),
    )


def compared(found: Mapping[str, Baseline], sampled: Mapping[str, Resampled], names: Sequence[str]) -> dict[str, Any]:
    """Each baseline's figures, and how far the encoder's are from them. sampled: of each baseline by name, and of the
    "encoder".
    """
    return {
        key: {
            "about": baseline.about,
            "missing": baseline.missing,
            "fit": baseline.fit,
            "metrics": {name: _against(sampled["encoder"], sampled[key], name) for name in names}
            if baseline.scores is not None
            else {},
        }
        for key, baseline in found.items()
    }


def _against(encoder: Resampled, baseline: Resampled, name: str) -> dict[str, Any]:
    """The baseline's figure, the encoder's less the baseline's, and which of both is shown to be better."""
    own = Interval.of(baseline.values[name], baseline.samples[name])
    apart = Interval.of(encoder.values[name] - baseline.values[name], encoder.samples[name] - baseline.samples[name])
    sign = -1 if name in LOWER else 1
    low, high = sorted((sign * apart.low, sign * apart.high))
    better = "encoder" if low > 0 else "baseline" if high < 0 else None
    return {**asdict(own), "difference": asdict(apart), "better": better}


def measured_by(baseline: Baseline, of: Measured) -> Measured | None:
    """The rows as a baseline sees them."""
    return None if baseline.scores is None else Measured(scores=baseline.scores, labels=of.labels, space=of.space)
