"""Runs made by hand, for pages: any number of labels and rows, any text, every file that a run may have."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests import tiny
from trainer.contract.checkpoint import Checkpoint, Contract
from trainer.contract.encoding import EncodingPolicy
from trainer.contract.figures.stamped import write_figures
from trainer.contract.inputs import InputSpec
from trainer.contract.labels import LabelSpace
from trainer.contract.system.files import json_line, sha256, write_json
from trainer.recipes.file import load, save_recipe

BASELINES = ("majority", "bag_of_words")


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a made run is like."""

    names: tuple[str, ...] = ("ham", "spam")
    kind: str = "single"
    texts: list[str] = field(default_factory=lambda: [f"win a prize {row}" for row in range(60)])
    wrong: float = 0.2
    """Share of rows that are decided wrongly."""
    f1: float = 0.9
    opened: tuple[str, ...] = ("own",)
    """Which weights the test rows were opened for."""


def make_run(folder: Path, made: Made) -> Path:
    """A run of that kind; no training."""
    folder.mkdir(parents=True)
    space = LabelSpace(names=made.names, kind=made.kind)  # type: ignore[arg-type]
    contract = Contract(labels=space, input=InputSpec(text=("text",)), encoding=EncodingPolicy(max_tokens=32))
    (folder / "checkpoints").mkdir()
    checkpoint = tiny.checkpoint(folder / "checkpoints" / "stage1-step000010", contract)
    write_json(folder / "best.json", {"checkpoint": checkpoint.path.name, "metric": "f1", "value": 0.5, "step": 10})
    _recipe(folder, made)
    lines = list(_predictions(made))
    (folder / "test_predictions.jsonl").write_text("".join(json_line(line) + "\n" for line in lines), "utf-8")
    kept = ("id", "place", "text", "labels")
    (folder / "splits").mkdir()
    rows = [{key: line[key] for key in kept} for line in lines]
    (folder / "splits" / "test.jsonl").write_text("".join(json_line(row) + "\n" for row in rows), "utf-8")
    write_json(folder / "splits" / "splits.json", _splits(made, rows))
    write_figures(folder / "metrics.json", {"stage": 1, "launches": [], "constant": None}, checkpoint)
    log = [{"kind": "step", "stage": 1, "epoch": 1, "step": step, "loss": 1 / step} for step in range(1, 11)]
    log += [{"kind": "evaluation", "stage": 1, "step": step, "loss": 1 / step, "f1": step / 12} for step in (5, 10)]
    (folder / "metrics.jsonl").write_text("".join(json_line(line) + "\n" for line in log), "utf-8")
    own = sha256(checkpoint.path / "model.safetensors")
    opened = [json_line({"weights": own if of == "own" else of}) + "\n" for of in made.opened]
    (folder / "test_opened.jsonl").write_text("".join(opened), "utf-8")
    write_figures(folder / "test_metrics.json", figures(made, folder, lines), checkpoint)
    return folder


def checkpoint_of(run: Path) -> Checkpoint:
    """The run's only checkpoint."""
    return Checkpoint.best(run)


def _recipe(folder: Path, made: Made) -> None:
    labels = {"column": "label", "kind": made.kind}
    content = {
        "name": "made <b>bold</b>",
        "model": {"name": "pkg://none/model"},
        "data": {"train": {"files": "rows.csv"}},
        "input": {"text": "text", "max_tokens": 32},
        "labels": labels,
    }
    path = folder / "given.yaml"
    path.write_text(json.dumps(content), "utf-8")
    save_recipe(load(path), folder / "recipe.yaml")
    path.unlink()


def _predictions(made: Made) -> Any:
    generator = np.random.default_rng(0)
    many = len(made.names)
    for row, text in enumerate(made.texts):
        true = row % many
        other = (true + 1 + row // many % (many - 1)) % many
        decided = other if generator.random() < made.wrong else true
        chances = np.full(many, 0.1 / many)
        chances[decided] += 0.6 + 0.3 * generator.random()
        given = dict(zip(made.names, (chances / chances.sum()).round(6).tolist(), strict=True))
        labels, predicted = [made.names[true]], [made.names[decided]]
        place = f"/data/rows.csv:{row + 2}"
        yield {
            "id": row,
            "place": place,
            "text": text,
            "labels": labels,
            "predicted": predicted,
            "right": labels == predicted,
            "probabilities": given,
        }


def _splits(made: Made, rows: list[dict[str, Any]]) -> dict[str, Any]:
    labels = dict.fromkeys(made.names, 0)
    for row in rows:
        for name in row["labels"]:
            labels[name] += 1
    part = {"rows": len(rows), "labels": labels}
    splits = {"train": part, "validation": part, "test": part}
    return {
        "fingerprint": "f" * 64,
        "rows_read": 3 * len(rows),
        "nulls_dropped": 0,
        "exact_repeats": 0,
        "splits": splits,
        "made": None,
        "files": [{"file": "/data/rows.csv", "rows": 3 * len(rows)}],
    }


def interval(value: float, about: float = 0.02) -> dict[str, float]:
    """A figure with ends."""
    return {
        "value": value,
        "low": None if value is None else value - about,
        "high": None if value is None else value + about,
    }


def figures(made: Made, run: Path, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """test_metrics.json of schema 2, with every part filled."""
    names, single = list(made.names), made.kind == "single"
    file = run / "test_predictions.jsonl"
    metrics = {"f1": interval(made.f1), "accuracy": interval(0.9), "ece": interval(0.02, 0.01), "loss": interval(0.3)}
    points = [round(step / 20, 3) for step in range(21)]
    curve = {
        "roc": {
            "false_positive_rate": points,
            "true_positive_rate": [point**0.3 for point in points],
            "threshold": points[::-1],
        },
        "precision_recall": {"recall": points, "precision": [1 - point / 2 for point in points], "threshold": points},
    }
    baseline = {
        "about": "it",
        "missing": None,
        "fit": None,
        "metrics": {"f1": {**interval(0.5), "difference": interval(0.4, 0.05), "better": "encoder"}},
    }
    slice_ = {
        "by": "length",
        "column": False,
        "value": "1 to 5 words",
        "rest": False,
        "rows": 30,
        "wrong": 3,
        "accuracy": interval(0.9),
        "metric": interval(0.9),
        "p": 0.5,
        "p_adjusted": 1.0,
        "flagged": False,
    }
    return {
        "schema": 2,
        "split": "test",
        "checkpoint": "stage1-step000010",
        "golden": "none",
        "rows": len(lines),
        "rows_per_second": 100.0,
        "metric": "f1",
        "kind": made.kind,
        "labels": names,
        "positive": names[1] if single else None,
        "model_name": "none",
        "task": "binary_classification",
        "target_label": "label",
        "data": {
            "n_samples": 3 * len(lines),
            "n_train": len(lines),
            "n_validation": len(lines),
            "n_test": len(lines),
            "train_size": 0.3,
            "test_size": 0.3,
            "random_state": 0,
        },
        "metrics": {name: figure["value"] for name, figure in metrics.items()},
        "confusion_matrix": None,
        "timestamp": "2026-01-01T00:00:00+00:00",
        "notes": "",
        "intervals": metrics,
        "by_group": None,
        "constant": {"metric": "f1", "value": 0.3, "labels": names[:1], "loss": 0.6, "beaten": True},
        "baselines": dict.fromkeys(BASELINES, baseline),
        "also_in_train": {"rows": 0, "metrics_without": None},
        "per_class": [
            {
                "label": name,
                "precision": 0.9,
                "recall": 0.8,
                "f1": 0.85,
                "support": sum(name in line["labels"] for line in lines),
            }
            for name in names
        ],
        "confusion": _confusion(made, lines),
        "curves": [{"label": name, **curve} for name in names[:20]],
        "calibration": {
            "of": "the probability of 'spam'",
            "estimator": "it",
            "bins": 2,
            "ece_plain": 0.02,
            "rms": interval(0.02),
            "reliability": [
                {
                    "low": low,
                    "high": low + 0.5,
                    "count": 30,
                    "probability": low + 0.2,
                    "share": low + 0.25,
                    "share_low": low + 0.1,
                    "share_high": low + 0.4,
                }
                for low in (0.0, 0.5)
            ],
        },
        "slices": {
            "metric": "f1",
            "test": "a one-sided test",
            "level": 0.05,
            "tested": 1,
            "least_rows": 20,
            "columns": [],
            "found": [slice_],
        },
        "worst_slices": {"method": "a tree", "found_on": 30, "checked_on": 30, "level": 0.05, "found": []},
        "robustness": {
            "sample": 1000,
            "seed": 0,
            "kinds": [
                {
                    "kind": "case",
                    "about": "all letters small",
                    "swap": False,
                    "rows": 60,
                    "same_tokens": 60,
                    "flips": 0,
                    "share": interval(0.0, 0.0),
                    "flipped": [],
                }
            ],
        },
        "test_openings": len(made.opened),
        "truncation": {"rows": len(lines), "rows_cut": 0, "tokens": 100, "tokens_cut": 0},
        "predictions": {"file": file.name, "sha256": sha256(file)},
        "mismatches": {
            "rows": sum(not line["right"] for line in lines),
            "like_formulas": 0,
            "folder": "review",
            "files": {"test_mismatches.csv": "a" * 64},
        },
        "decisions": None,
    }


def _confusion(made: Made, lines: list[dict[str, Any]]) -> list[Any]:
    names = {name: place for place, name in enumerate(made.names)}
    counts = np.zeros((len(names), len(names)), dtype=int)
    for line in lines:
        counts[names[line["labels"][0]], names[line["predicted"][0]]] += 1
    if made.kind == "single":
        return list(counts.tolist())
    right = counts.diagonal()
    missed, wrongly = counts.sum(axis=1) - right, counts.sum(axis=0) - right
    tables = zip(missed.tolist(), wrongly.tolist(), right.tolist(), strict=True)
    return [[[len(lines) - fn - fp - tp, fp], [fn, tp]] for fn, fp, tp in tables]
