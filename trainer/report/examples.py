"""A few rows explained by the checkpoint itself, on torch: which words its decision rests on."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.contract.checkpoint import Checkpoint
from trainer.contract.explaining.explain import Asked, ExplainOptions, Explanation, explain
from trainer.network.load import open_checkpoint
from trainer.opening.golden import check_golden, logits_in_fp32
from trainer.report.rows import SeenRow

# Perturbed texts of a row: a page needs the order of a few words, not two digits of each.
SAMPLES = 200
# Labels of a row that are explained, where it may have several.
LABELS_EXPLAINED = 2


@dataclass(frozen=True, kw_only=True)
class Example:
    """An explained row."""

    row: SeenRow
    """Which."""
    explanation: Explanation
    """Why it is decided as it is."""


def explain_examples(
    split: Path, checkpoint: Checkpoint, rows: Sequence[SeenRow], tick: Callable[[int], None]
) -> list[Example]:
    """Explain rows of a split's file, each for the labels that it is given and for those that it has.

    Raises ArtifactError where the checkpoint is another function here than where it was trained.
    """
    if not rows:
        return []
    network, encoder = open_checkpoint(checkpoint.path).network, checkpoint.encoder()
    check_golden(checkpoint, network)

    def logits(texts: Sequence[str], pairs: Sequence[str] | None) -> NDArray[np.float32]:
        """The checkpoint's, float32 [N, C]."""
        return logits_in_fp32(network, encoder, texts, pairs)

    # A split's file holds each text as the model reads it, so the columns are joined and cleaned already.
    told = checkpoint.contract.input
    pair = None if told.pair is None else "pair"
    spec = replace(told, text=("text",), pair=pair, unescape_html=False, unicode=None, on_null="empty")
    asked = Asked(labels=checkpoint.contract.labels, input=spec, logits=logits)
    # What speaks for one of two labels speaks against the other: once is enough.
    most = 1 if asked.labels.kind == "single" and len(asked.labels) == 2 else LABELS_EXPLAINED
    records = _records(split, {row.id for row in rows})
    found = []
    for row in rows:
        labels = tuple(dict.fromkeys([*row.predicted, *row.labels]))[:most]
        options = ExplainOptions(labels=labels, samples=SAMPLES)
        found.append(Example(row=row, explanation=explain(asked, records[row.id], options)))
        tick(1)
    return found


def _records(split: Path, ids: set[int]) -> dict[int, dict[str, object]]:
    found = {}
    with split.open("rb") as file:
        for line in file:
            row = json.loads(line)
            if row["id"] in ids:
                found[row["id"]] = {"text": row["text"], "pair": row.get("pair")}
    return found
