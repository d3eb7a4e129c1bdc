"""Measure a split with the best checkpoint of a run: every metric with an interval, each class, each prediction."""

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from accelerate import Accelerator

from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import InputError
from trainer.contract.files import atomic_file, read_json, write_json
from trainer.contract.labelled import LabelledRows
from trainer.contract.labels import LabelSpace, Scores
from trainer.contract.metrics import METRICS, allowed, confusion, per_class
from trainer.contract.resample import intervals
from trainer.data.splits import open_split
from trainer.network.load import open_checkpoint
from trainer.predict import EncodedRows, Predictor
from trainer.run_folder.folder import METRICS as RUN_METRICS


@dataclass(frozen=True, kw_only=True)
class MeasureJob:
    """What `python -m trainer evaluate` was asked for. tokens: padded tokens of a batch."""

    run: Path
    split: Literal["validation", "test"] = "test"
    tokens: int = 4096


def measure(job: MeasureJob) -> dict[str, Any]:
    """Write {split}_metrics.json and {split}_predictions.jsonl into the run; gives the figures.

    Opening the test split is recorded in test_opened.jsonl, once for each time: figures that were looked at many times
    and trained against are no longer test figures.
    """
    checkpoint = Checkpoint.best(job.run)
    checkpoint.verify()
    space = checkpoint.contract.labels
    rows = open_split(job.run / "splits", job.split, space)
    if job.split == "validation":
        _refuse_refit(job.run)
    if job.split == "test":
        _record_opening(job.run, checkpoint)
    accelerator = Accelerator()
    classifier = open_checkpoint(checkpoint.path)
    encoder = checkpoint.encoder()
    started = time.perf_counter()
    data = EncodedRows.of(rows, encoder)
    network = accelerator.prepare(classifier.network)
    found = Predictor(
        network=network, inputs=classifier.inputs, encoder=encoder, accelerator=accelerator, tokens=job.tokens
    ).evaluate(data, space)
    seconds = time.perf_counter() - started
    figures = intervals([name for name in METRICS if allowed(name, space)], found.scores, rows.labels, space)
    result = {
        "split": job.split,
        "checkpoint": checkpoint.path.name,
        "rows": len(rows),
        "rows_per_second": len(rows) / seconds,
        "metric": checkpoint.metric,
        "metrics": {name: asdict(interval) for name, interval in figures.items()},
        "per_class": per_class(found.scores, rows.labels, space),
        "confusion": confusion(found.scores, rows.labels, space).tolist(),
        "labels": list(space.names),
        "truncation": data.encoded.truncation(),
    }
    write_json(job.run / f"{job.split}_metrics.json", result)
    _write_predictions(job.run / f"{job.split}_predictions.jsonl", rows, found.scores, space)
    return result


def _refuse_refit(run: Path) -> None:
    figures = run / RUN_METRICS
    if figures.exists() and read_json(figures).get("refit"):
        raise InputError(
            "the run was trained on its validation rows: a figure on them would say nothing",
            where=run,
            do="measure the test split, or the run of the search that it was refitted from",
        )


def _record_opening(run: Path, checkpoint: Checkpoint) -> None:
    line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "checkpoint": checkpoint.path.name}
    with (run / "test_opened.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _write_predictions(path: Path, rows: LabelledRows, scores: Scores, space: LabelSpace) -> None:
    """One JSON object a row: where it is from, its labels, what was decided, and every probability."""
    decided = LabelledRows(
        ids=rows.ids, texts=rows.texts, pairs=rows.pairs, labels=np.asarray(scores.decisions), places=rows.places
    )
    columns = zip(
        rows.ids.tolist(),
        rows.places,
        rows.texts,
        rows.label_names(space),
        decided.label_names(space),
        scores.probabilities.tolist(),
        strict=True,
    )
    with atomic_file(path) as file:
        for number, place, text, true, found, probabilities in columns:
            line = {
                "id": number,
                "place": place,
                "text": text,
                "labels": true,
                "predicted": found,
                "right": true == found,
                "probabilities": dict(zip(space.names, probabilities, strict=True)),
            }
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
