"""Measure a split with the best checkpoint of a run: every metric with an interval, each class, each prediction."""

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from accelerate import Accelerator
from accelerate.utils import patch_environment

from trainer.contract.checkpoint import Checkpoint
from trainer.contract.figures.constant import REMEDY, Constant
from trainer.contract.figures.metrics import METRICS, Labels, allowed, confusion, per_class, shown
from trainer.contract.figures.resample import intervals
from trainer.contract.figures.stamped import weights, write_figures
from trainer.contract.labelled import LabelledRows
from trainer.contract.labels import LabelSpace, Scores
from trainer.contract.system.files import atomic_file, json_line, sha256
from trainer.data.splits import also_in_train, open_split
from trainer.network.load import Classifier, open_checkpoint
from trainer.opening.golden import check_golden
from trainer.predict import EncodedRows, Predictor
from trainer.recipes.file import load
from trainer.review.mismatches import told, write_mismatches
from trainer.run_folder.folder import RECIPE


@dataclass(frozen=True, kw_only=True)
class MeasureJob:
    """What `python -m trainer evaluate` was asked for."""

    run: Path
    split: Literal["validation", "test"] = "test"
    tokens: int | None = None
    """Padded tokens of a batch; those of the recipe's last stage where None."""


def measure(job: MeasureJob) -> dict[str, Any]:
    """Write {split}_metrics.json (see split_metrics.schema.json), {split}_predictions.jsonl and the wrong rows
    (`review/`) into the run; gives the figures.

    Opening the test split is recorded in test_opened.jsonl, once for each time: figures that were looked at many times
    and trained against are no longer test figures.
    """
    checkpoint = Checkpoint.best(job.run)
    checkpoint.verify()
    classifier = open_checkpoint(checkpoint.path)
    golden = check_golden(checkpoint, classifier.network)
    space = checkpoint.contract.labels
    rows = open_split(job.run / "splits", job.split, space)
    if job.split == "test":
        _record_opening(job.run, checkpoint)
    started = time.perf_counter()
    data, scores = _score(checkpoint, classifier, rows, job.tokens or load(job.run / RECIPE).stages[-1].batch.tokens)
    seconds = time.perf_counter() - started
    predictions = job.run / f"{job.split}_predictions.jsonl"
    _write_predictions(predictions, rows, scores, space)
    constant = Constant.of(rows.labels, space, checkpoint.metric)
    figures = _figures(scores, rows.labels, space)
    result = {
        "split": job.split,
        "checkpoint": checkpoint.path.name,
        "golden": golden,
        "rows": len(rows),
        "rows_per_second": len(rows) / seconds,
        "metric": checkpoint.metric,
        "metrics": figures,
        "constant": {
            **asdict(constant),
            "beaten": constant.beaten_by({name: figure["value"] for name, figure in figures.items()}),
        },
        "also_in_train": _also_in_train(job, rows, scores, space),
        "per_class": per_class(scores, rows.labels, space),
        "confusion": confusion(scores, rows.labels, space).tolist(),
        "labels": list(space.names),
        "truncation": data.encoded.truncation(),
        "predictions": {"file": predictions.name, "sha256": sha256(predictions)},
        "mismatches": write_mismatches(job.run, job.split, rows, scores, space),
    }
    write_figures(job.run / f"{job.split}_metrics.json", result, checkpoint)
    return result


def table(result: dict[str, Any]) -> str:
    """The figures for a person; with rows that the model has learnt word by word, those without them too."""
    known = result["also_in_train"]
    lines = [
        f"{result['rows']} {result['split']} rows, {result['rows_per_second']:.0f} rows/s, "
        f"checkpoint {result['checkpoint']}",
        result["golden"],
        *_lines(result["metrics"]),
    ]
    if not result["constant"]["beaten"]:
        lines.append(f"the model has learnt nothing: one answer for all rows is as good; {REMEDY}")
    if known["rows"]:
        count, rows = known["rows"], result["rows"]
        lines.append(
            f"{count} of these {rows} rows also stand in the training rows: the figures say what was memorised"
        )
        lines += ["without them:", *_lines(known["metrics_without"])] if known["metrics_without"] else []
    lines.append(told(result["mismatches"]))
    return "\n".join(lines)


def _lines(metrics: dict[str, dict[str, float]]) -> list[str]:
    return [
        f"  {name:<18}{shown(figure['value']):<12}95 % interval {shown(figure['low'])} to {shown(figure['high'])}"
        for name, figure in metrics.items()
    ]


def _score(
    checkpoint: Checkpoint, classifier: Classifier, rows: LabelledRows, tokens: int
) -> tuple[EncodedRows, Scores]:
    """The rows with their tokens, and what the checkpoint makes of them, in fp32. tokens: padded, of a batch."""
    # Whatever launch this may be part of.
    with patch_environment(ACCELERATE_MIXED_PRECISION="no"):
        accelerator = Accelerator()
    encoder = checkpoint.encoder()
    data = EncodedRows.of(rows, encoder)
    network = accelerator.prepare(classifier.network)
    predictor = Predictor(
        network=network, inputs=classifier.inputs, encoder=encoder, accelerator=accelerator, tokens=tokens
    )
    return data, checkpoint.contract.labels.decode(predictor.logits(data))


def _figures(scores: Scores, labels: Labels, space: LabelSpace) -> dict[str, dict[str, float]]:
    """Each metric with its 95 % interval."""
    names = [name for name in METRICS if allowed(name, space)]
    return {name: asdict(interval) for name, interval in intervals(names, scores, labels, space).items()}


def _also_in_train(job: MeasureJob, rows: LabelledRows, scores: Scores, space: LabelSpace) -> dict[str, Any]:
    """How many rows the model has learnt word by word, and the figures without them; None where none is left or all
    are.
    """
    learnt = np.isin(rows.ids, also_in_train(job.run / "splits", job.split))
    count = int(learnt.sum())
    others = scores.take(~learnt)
    without = _figures(others, rows.labels[~learnt], space) if 0 < count < len(rows) else None
    return {"rows": count, "metrics_without": without}


def _record_opening(run: Path, checkpoint: Checkpoint) -> None:
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "checkpoint": checkpoint.path.name,
        "weights": weights(checkpoint),
    }
    with (run / "test_opened.jsonl").open("a", encoding="utf-8") as file:
        file.write(json_line(line) + "\n")


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
            file.write(json_line(line).encode() + b"\n")
