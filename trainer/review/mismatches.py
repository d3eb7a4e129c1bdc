"""Every wrong row of a split, the worst first: what the model is surest of and wrong about.

Columns: id, text, pair, label, prediction, confidence, answered (false: the model abstained, and would have said this),
loss, file, line, and p_NAME for each label; where rows have several labels, labels and predictions. In Label Studio
each column is a variable ($text) of its tasks. Argilla's `dataset.records.log` takes the Parquet file's rows: id, text
and the given label by their names, what the model says by mapping={"prediction": "label.suggestion", "confidence":
"label.suggestion.score"}.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from trainer.contract.figures.exact import told_none_wrong
from trainer.contract.figures.metrics import row_losses
from trainer.contract.labelled import LabelledRows
from trainer.contract.labels import LabelSpace, Scores
from trainer.review.files import (
    REVIEW_FOLDER,
    column_name,
    formulas,
    label_column,
    place_columns,
    review_columns,
    write_tables,
)


def write_mismatches(run: Path, split: str, rows: LabelledRows, scores: Scores, space: LabelSpace) -> dict[str, Any]:
    """Write the wrong rows into RUN/review/{split}_mismatches.csv and .parquet; gives what {split}_metrics.json says of
    them: how many, how many begin like a formula of a spreadsheet, and each file's SHA-256.
    """
    table = mismatch_table(rows, scores, space)
    files = write_tables(run / REVIEW_FOLDER, f"{split}_mismatches", table, space)
    return {"rows": len(table), "like_formulas": formulas(table), "folder": REVIEW_FOLDER, "files": files}


def told_mismatches(found: dict[str, Any], rows: int) -> str:
    """What `write_mismatches` gave of so many rows, in a sentence."""
    if not found["rows"]:
        return told_none_wrong(0, rows) or "no row is wrong"
    files = " and ".join(f"{found['folder']}/{name}" for name in found["files"])
    line = f"{found['rows']} wrong row{'s' if found['rows'] > 1 else ''}, the worst first, in {files}"
    if count := found["like_formulas"]:
        line += f"; {count} of their texts begin like formulas: import the CSV into a spreadsheet as text"
    return line


def mismatch_table(rows: LabelledRows, scores: Scores, space: LabelSpace) -> pa.Table:
    """The wrong rows by falling loss, and by id where that is equal. loss: as in the metric, of each row by itself."""
    wrong = np.flatnonzero(~scores.right(rows.labels))
    losses = row_losses(scores.probabilities[wrong], rows.labels[wrong], space)
    order = np.lexsort((rows.ids[wrong], -losses))
    chosen, losses = wrong[order], losses[order]
    taken, probabilities = rows.take(chosen), scores.probabilities[chosen]
    decided = LabelledRows(
        ids=taken.ids, texts=taken.texts, pairs=None, labels=np.asarray(scores.decisions[chosen]), places=taken.places
    )
    return pa.table(
        {
            **review_columns(taken, space),
            column_name("prediction", space): label_column([*decided.label_names(space)], space),
            "confidence": pa.array(scores.confidence[chosen], pa.float32()),
            "answered": pa.array(scores.answered[chosen]),
            "loss": pa.array(losses, pa.float64()),
            **place_columns(taken),
            **{f"p_{name}": pa.array(probabilities[:, label]) for label, name in enumerate(space.names)},
        }
    )
