"""What the bundle keeps of all validation rows: the distribution that drift is measured against."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from export.trained_run import Sample
from trainer.contract.figures.reference import Histogram, Reference, unknown_tokens
from trainer.contract.labels import LabelSpace, Scores
from trainer.contract.system.files import write_json

# Twentieths: finer bins near 1 would show what int8 moves, which is no drift.
CONFIDENCE_EDGES = tuple(round(step / 20, 2) for step in range(21))


def write_reference(path: Path, sample: Sample, scores: Scores, space: LabelSpace) -> None:
    """The distribution of what comes in and of what is decided, on the validation rows."""
    write_json(path, asdict(distribution(sample, scores, space)))


def distribution(sample: Sample, scores: Scores, space: LabelSpace) -> Reference:
    """Histograms as edges and shares, so that a job can be compared without the rows."""
    decided = scores.decisions
    given = decided[:, None] == np.arange(len(space)) if space.kind == "single" else decided.astype(np.bool_)
    lengths, unknown_id = sample.encoded.lengths, sample.encoder.unknown_id
    # Edges where lengths are: in bins of one width nearly all rows of a set of short texts would share the first.
    deciles = np.unique(np.quantile(lengths, np.linspace(0, 1, 11), method="nearest"))
    unknown = unknown_tokens(sample.encoded, unknown_id)
    return Reference(
        rows=len(sample),
        labels=dict(zip(space.names, np.asarray(given).mean(axis=0).tolist(), strict=True)),
        tokens=Histogram.of(lengths, [*deciles.tolist(), float(deciles[-1]) + 1]),
        confidence=Histogram.of(scores.probabilities.max(axis=1), CONFIDENCE_EDGES),
        unknown_tokens=None if unknown_id is None else float(unknown.sum() / lengths.sum()),
        rows_cut=float((sample.encoded.cut > 0).mean()),
        abstained=None if scores.abstained is None else float(scores.abstained.mean()),
        unknown_rows=None if unknown_id is None else float((unknown > 0).mean()),
    )
