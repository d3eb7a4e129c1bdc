"""`suspects`: training rows whose label is likely wrong, by confident learning, the least believed first."""

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import InputError
from trainer.contract.labelled import LabelledRows
from trainer.contract.labels import LabelSpace
from trainer.contract.system.files import write_json
from trainer.contract.system.progress import Progress
from trainer.contract.visible import visible
from trainer.data.splits import drop_stored
from trainer.data.stored import StoredRows
from trainer.recipes.file import changed, load
from trainer.review.confident import LEAST_JUDGED_ROWS, JudgedRows, judge_rows
from trainer.review.files import REVIEW_FOLDER, column_name, label_column, place_columns, review_columns, write_tables
from trainer.review.folds import TrainingRows, from_frozen_states, from_trained_folds
from trainer.run_folder.folder import BEST_FIGURES, RUN_LOCK, RUN_RECIPE, locked
from trainer.stages import prepare_splits

SUSPECT_FOLDS = 5
_NAME = "suspects"


@dataclass(frozen=True, kw_only=True)
class SuspectsJob:
    """What `classifact suspects` was asked for."""

    run: Path
    folds: int | None = None
    """Train the recipe so many times, each without a share of the rows; None: regressions on the base model's states,
    in SUSPECT_FOLDS folds.
    """
    quiet: bool = False


def find_suspects(job: SuspectsJob) -> dict[str, Any]:
    """Write RUN/review/suspects.csv, .parquet and .json (see suspects.schema.json); gives what the last holds.

    The training rows are read again from their files. Raises InputError where those have changed, another command works
    in the run, or there are too few rows to judge any label; ArtifactError where the run has no checkpoint.
    """
    best = Checkpoint.best(job.run)
    recipe = load(job.run / RUN_RECIPE)
    count, progress = job.folds or SUSPECT_FOLDS, Progress(quiet=job.quiet)
    # Trained folds are kept over a kill, and of one division only.
    work, done = job.run / REVIEW_FOLDER / f".{_NAME}-{job.folds or 'states'}", False
    with locked(job.run / RUN_LOCK, wait=False):
        try:
            rows = TrainingRows.of(prepare_splits(recipe, job.run, progress=progress))
            _require_enough(rows, best.contract.labels, job.run, count)
            fold = rows.folds(count, recipe.seed)
            work.mkdir(parents=True, exist_ok=True)
            if job.folds is None:
                logits = from_frozen_states(best, recipe, rows, fold, work, progress)
            else:
                plain = changed(recipe, {"tracking": []}, "suspects")
                logits = from_trained_folds(job.run, plain, rows, fold, work, quiet=job.quiet)
            probabilities = best.contract.labels.decode(logits).probabilities
            result = _write(job, rows, probabilities, best.contract.labels)
            done = True
        finally:
            if done or job.folds is None:
                shutil.rmtree(work, ignore_errors=True)
            # A finished run keeps no stored rows; one that is still to be resumed needs them.
            if (job.run / BEST_FIGURES).exists():
                drop_stored(job.run / "splits")
    return result


def told_suspects(result: dict[str, Any]) -> str:
    """What was found, for a person: how many, which labels for which, and where to look."""
    rows, count = result["rows"], result["suspects"]
    lines = [f"{count:,} of {rows:,} training rows ({100 * count / rows:.1f} %) carry a label that is likely wrong"]
    lines += [
        f"  {pair['rows']:>7,}  {visible(pair['label'])} -> {visible(pair['suggestion'])}"
        for pair in result["pairs"][:10]
    ]
    lines += [
        f"{visible(name)!r} is not judged: {number} rows, fewer than {LEAST_JUDGED_ROWS}"
        for name, number in result["not_judged"].items()
    ]
    share = 100 * result["agreement"]
    lines.append(
        f"the models that say so give {share:.1f} % of the labels as they stand: the fewer, the less they know"
    )
    if count:
        lines.append(
            "the least believed first, in " + " and ".join(f"{REVIEW_FOLDER}/{name}" for name in result["files"])
        )
    return "\n".join(lines)


def _require_enough(rows: TrainingRows, space: LabelSpace, run: Path, folds: int) -> None:
    # Equal texts lie in one fold, and one without a row would be trained for nothing.
    if folds > (texts := len(np.unique(rows.keys))):
        raise InputError("there are more folds than texts", found=f"{folds} folds, {texts} texts", do="lower --folds")
    carried = _carried(rows.labels, space)
    if sum(number >= LEAST_JUDGED_ROWS for number in carried.values()) < (2 if space.kind == "single" else 1):
        raise InputError(
            "there are too few rows to judge labels",
            where=run,
            found=", ".join(f"{name}: {number}" for name, number in carried.items()),
            expected=f"at least {LEAST_JUDGED_ROWS} rows of two labels",
        )


def _carried(labels: NDArray[Any], space: LabelSpace) -> dict[str, int]:
    """Rows of each label."""
    given = labels[:, None] == np.arange(len(space)) if space.kind == "single" else labels
    return dict(zip(space.names, np.asarray(given).sum(axis=0).tolist(), strict=True))


def _write(
    job: SuspectsJob, rows: TrainingRows, probabilities: NDArray[np.float32], space: LabelSpace
) -> dict[str, Any]:
    judged = judge_rows(probabilities, rows.labels)
    parts = zip(rows.parts, rows.stages, rows.starts, strict=False)
    tables = [_table(part.train, stage, start, judged, probabilities, space) for part, stage, start in parts]
    order = [("self_confidence", "ascending"), ("stage", "ascending"), ("id", "ascending")]
    table = pa.concat_tables(tables).sort_by(order)
    files = write_tables(job.run / REVIEW_FOLDER, _NAME, table, space)
    carried = _carried(rows.labels, space)
    result = {
        "rows": len(rows),
        "suspects": len(table),
        "models": "trained folds" if job.folds else "regressions on the base model's states",
        "folds": job.folds or SUSPECT_FOLDS,
        "agreement": judged.agreement,
        "labels": carried,
        "not_judged": {name: number for name, number in carried.items() if number < LEAST_JUDGED_ROWS},
        "joint": judged.joint.tolist(),
        "pairs": _pairs(table, space),
        "fingerprints": [part.summary["fingerprint"] for part in rows.parts],
        "folder": REVIEW_FOLDER,
        "files": files,
    }
    write_json(job.run / REVIEW_FOLDER / f"{_NAME}.json", result)
    return result


def _table(
    rows: StoredRows, stage: int, start: int, judged: JudgedRows, probabilities: NDArray[np.float32], space: LabelSpace
) -> pa.Table:
    """The suspects of one part, whose rows begin at `start`."""
    chosen = np.flatnonzero(judged.suspects[start : start + len(rows)])
    taken, places = rows.take(chosen), start + chosen
    suggested = LabelledRows(
        ids=taken.ids, texts=taken.texts, pairs=None, labels=judged.suggested[places], places=taken.places
    )
    return pa.table(
        {
            **review_columns(taken, space),
            column_name("suggestion", space): label_column([*suggested.label_names(space)], space),
            "self_confidence": pa.array(judged.self_confidence[places]),
            **place_columns(taken),
            "stage": pa.array([stage] * len(places), pa.int64()),
            **{f"p_{name}": pa.array(probabilities[places, label]) for label, name in enumerate(space.names)},
        }
    )


def _pairs(table: pa.Table, space: LabelSpace) -> list[dict[str, Any]]:
    """Which labels stand for which, most often first."""
    given, suggested = (table[column_name(name, space)].to_pylist() for name in ("label", "suggestion"))
    counts = Counter((_shown(a), _shown(b)) for a, b in zip(given, suggested, strict=True))
    return [{"label": a, "suggestion": b, "rows": rows} for (a, b), rows in counts.most_common()]


def _shown(labels: str | list[str]) -> str:
    return labels if isinstance(labels, str) else " + ".join(labels) or "no label"
