"""What the bundle keeps of all validation rows: the distribution that drift is measured against."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.trained_run import Sample
from trainer.contract.labels import LabelSpace, Scores
from trainer.contract.system.files import write_json

CONFIDENCE_EDGES = tuple(round(step / 20, 2) for step in range(21))


def write_reference(path: Path, sample: Sample, scores: Scores, space: LabelSpace) -> None:
    """The distribution of what comes in and of what is decided, on the validation rows."""
    write_json(path, distribution(sample, scores, space))


def distribution(sample: Sample, scores: Scores, space: LabelSpace) -> dict[str, Any]:
    """Histograms as edges and shares, so that a job can be compared without the rows.

    labels: share of rows decided so. tokens: lengths, the edges are the deciles of these rows. confidence: the largest
    probability of a row. unknown_tokens: share of all tokens. rows_cut: share of rows that truncation cut.
    """
    decided = scores.decisions
    given = decided[:, None] == np.arange(len(space)) if space.kind == "single" else decided.astype(np.bool_)
    lengths = sample.encoded.lengths
    deciles = np.unique(np.quantile(lengths, np.linspace(0, 1, 11), method="nearest"))
    unknown = sample.encoder.unknown_id
    return {
        "rows": len(sample),
        "labels": dict(zip(space.names, np.asarray(given).mean(axis=0).tolist(), strict=True)),
        "tokens": histogram(lengths, [*deciles.tolist(), float(deciles[-1]) + 1]),
        "confidence": histogram(scores.probabilities.max(axis=1), list(CONFIDENCE_EDGES)),
        "unknown_tokens": None if unknown is None else float((sample.encoded.ids == unknown).mean()),
        "rows_cut": float((sample.encoded.cut > 0).mean()),
    }


def histogram(values: NDArray[Any], edges: list[float]) -> dict[str, list[float]]:
    """Shares of the values in each bin [edge, next edge), the last bin closed on both sides."""
    counts, _ = np.histogram(values, bins=np.array(edges, dtype=np.float64))
    return {"edges": [float(edge) for edge in edges], "shares": (counts / len(values)).tolist()}
