"""Classifact's own commands: `train`, `export`, and the scorer on the bundle, in int8 where its gates let that pass.

A tenth of the training rows, at least the 40 that an export is proven with, chooses the checkpoint, so it learns from
fewer rows than the others. Three epochs at the example's rate; nothing was tuned on these sets.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.peers.contestant import Variant
from benchmarks.peers.learn import Classify, Labels, Texts, learn
from benchmarks.peers.talk import Request

NEEDS = ()
VARIANTS = (Variant(name="Classifact, MiniLM fine-tuned", settings={"epochs": 3}),)


def load(settings: Request) -> Any:
    """What trains and exports in a folder of its own."""
    from serve import Scorer
    from trainer.contract.system.files import json_line

    names = settings["labels"]

    def fit(texts: Texts, labels: Labels) -> Classify:
        folder = Path(settings["train"]).parent / "classifact"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        rows = [{"text": text, "label": _told(label, names)} for text, label in zip(texts, labels, strict=True)]
        (folder / "rows.jsonl").write_text("".join(f"{json_line(row)}\n" for row in rows), encoding="utf-8")
        (folder / "recipe.yaml").write_text(json_line(_recipe(settings, len(texts))), encoding="utf-8")
        _classifact("train", folder / "recipe.yaml", "--launch", "cpu", "--out", folder / "run")
        # A hundred validation rows prove little: what is measured here are the test rows.
        gates = ("--max-drop", "1", "--min-agreement", "0.9", "--no-timing", "--anyway")
        _classifact("export", folder / "run", "--out", folder / "bundle", "--precision", "fp32,int8", *gates)
        scorer = Scorer.open(str(folder / "bundle"))
        if settings["multi"]:
            return lambda asked: [[int(name in (found or ())) for name in names] for found in scorer.predict(asked)]
        return lambda asked: [names.index(str(found)) for found in scorer.predict(asked)]

    return fit


def _told(label: Any, names: list[str]) -> Any:
    return names[label] if isinstance(label, int) else [name for name, one in zip(names, label, strict=True) if one]


def _recipe(settings: Request, rows: int) -> dict[str, Any]:
    steps = {"batch": {"rows": 16, "tokens": 4096}, "optimizer": {"learning_rate": 1e-4}, "epochs": settings["epochs"]}
    return {
        "model": {"name": settings["encoder"]},
        "data": {"train": {"files": "rows.jsonl"}, "split": {"validation": max(0.1, 40 / rows)}},
        "input": {"text": "text", "max_tokens": settings["max_tokens"]},
        "labels": {
            "column": "label",
            "names": settings["labels"],
            **({"kind": "multi"} if settings["multi"] else {}),
        },
        "stages": [steps],
        "select": {"metric": "f1_macro", "keep": 1},
    }


def _classifact(*words: object) -> None:
    command = [sys.executable, "-m", "classifact", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    sys.stderr.write(done.stderr)
    if done.returncode:
        told = done.stderr.rpartition("error: ")[2].split("\n  do:")[0]
        raise RuntimeError(f"classifact {words[0]} ended with {done.returncode}: {' '.join(told.split())}")


if __name__ == "__main__":
    learn(load, ("torch", "transformers", "onnxruntime"))
