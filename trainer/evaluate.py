"""Measure a split with the best checkpoint of a run: every metric with an interval, each class, each prediction."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from accelerate import Accelerator
from accelerate.utils import patch_environment
from numpy.typing import NDArray

from trainer.contract.checkpoint import Checkpoint
from trainer.contract.encoding import Encoded
from trainer.contract.figures.stamped import SPLIT_SCHEMA, weights, write_figures
from trainer.contract.labelled import LabelledRows
from trainer.contract.labels import LabelSpace, Scores
from trainer.contract.system.files import atomic_file, json_line, sha256
from trainer.contract.system.progress import QUIET, Progress
from trainer.data.splits import open_split
from trainer.deciding.gains import what_was_gained
from trainer.evaluation.collect import LEAST_SECONDS, OPENED, Subject, collect
from trainer.evaluation.groups import Groups
from trainer.evaluation.robustness import Probe
from trainer.network.load import Classifier, open_checkpoint
from trainer.opening.golden import check_golden
from trainer.predict import EncodedRows, Predictor
from trainer.recipes.file import load
from trainer.review.mismatches import write_mismatches
from trainer.run_folder.folder import RUN_RECIPE


@dataclass(frozen=True, kw_only=True)
class MeasureJob:
    """What `classifact evaluate` was asked for."""

    run: Path
    split: Literal["validation", "test"] = "test"
    tokens: int | None = None
    """Padded tokens of a batch; those of the recipe's last stage where None."""


def measure(job: MeasureJob, progress: Progress = QUIET) -> dict[str, Any]:
    """Write {split}_metrics.json (see split_metrics.schema.json), {split}_predictions.jsonl and the wrong rows
    (`review/`) into the run; gives the figures.

    Opening the test split is recorded in test_opened.jsonl, once for each time: figures that were looked at many times
    and trained against are no longer test figures.
    """
    checkpoint = Checkpoint.best(job.run)
    checkpoint.verify()
    classifier = open_checkpoint(checkpoint.path)
    # Before a row is scored: another version of a library may read the same weights as another function.
    golden = check_golden(checkpoint, classifier.network)
    space = checkpoint.contract.labels
    rows = open_split(job.run / "splits", job.split, space)
    # Noted before it is measured: rows that were looked at were looked at, however this ends.
    if job.split == "test":
        _record_opening(job.run, checkpoint)
    # From here on, so that rows per second hold tokens and network, and not the loading.
    started = time.perf_counter()
    recipe = load(job.run / RUN_RECIPE)
    read = _reader(checkpoint, classifier, job.tokens or recipe.stages[-1].batch.tokens)
    encoder = checkpoint.encoder()
    encoded = encoder.encode(rows.texts, rows.pairs)
    with progress.step("scoring", len(rows), least=LEAST_SECONDS) as tick:
        logits = read(rows, encoded)
        tick(len(rows))
    scores = space.decode(logits)
    seconds = time.perf_counter() - started
    predictions = job.run / f"{job.split}_predictions.jsonl"
    _write_predictions(predictions, rows, scores, space)
    probe = Probe(
        rows=rows,
        encoded=encoded,
        scores=scores,
        encoder=encoder,
        input=checkpoint.contract.input,
        score=lambda rows, encoded: space.decode(read(rows, encoded)),
        seed=recipe.seed,
    )
    subject = Subject(
        run=job.run, split=job.split, checkpoint=checkpoint, recipe=recipe, probe=probe, progress=progress
    )
    result = {
        "schema": SPLIT_SCHEMA,
        "split": job.split,
        "checkpoint": checkpoint.path.name,
        "golden": golden,
        "rows": len(rows),
        "rows_per_second": len(rows) / seconds,
        "truncation": encoded.truncation(),
        "predictions": {"file": predictions.name, "sha256": sha256(predictions)},
        "mismatches": write_mismatches(job.run, job.split, rows, scores, space),
        **collect(subject),
        "decisions": what_was_gained(logits, rows.labels, space, Groups.of_rows(recipe, rows).units),
    }
    write_figures(job.run / f"{job.split}_metrics.json", result, checkpoint)
    return result


def _reader(
    checkpoint: Checkpoint, classifier: Classifier, tokens: int
) -> Callable[[LabelledRows, Encoded], NDArray[np.float32]]:
    """What gives the checkpoint's logits [N, C] of encoded rows, in fp32. tokens: padded, of a batch."""
    # Whatever launch this may be part of.
    with patch_environment(ACCELERATE_MIXED_PRECISION="no"):
        accelerator = Accelerator()
    predictor = Predictor(
        network=accelerator.prepare(classifier.network),
        inputs=classifier.inputs,
        encoder=checkpoint.encoder(),
        accelerator=accelerator,
        tokens=tokens,
    )
    return lambda rows, encoded: predictor.logits(EncodedRows(rows=rows, encoded=encoded))


def _record_opening(run: Path, checkpoint: Checkpoint) -> None:
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "checkpoint": checkpoint.path.name,
        "weights": weights(checkpoint),
    }
    with (run / OPENED).open("a", encoding="utf-8") as file:
        file.write(json_line(line) + "\n")


def _write_predictions(path: Path, rows: LabelledRows, scores: Scores, space: LabelSpace) -> None:
    """One JSON object a row: where it is from, its labels, what was decided, and every probability."""
    answered = scores.answered.tolist()
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
        answered,
        strict=True,
    )
    with atomic_file(path) as file:
        for number, place, text, true, found, probabilities, is_answered in columns:
            line = {
                "id": number,
                "place": place,
                "text": text,
                "labels": true,
                "predicted": found,
                "right": true == found,
                "answered": is_answered,
                "probabilities": dict(zip(space.names, probabilities, strict=True)),
            }
            file.write(json_line(line).encode() + b"\n")
