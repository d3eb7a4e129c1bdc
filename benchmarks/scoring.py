"""Rows per second of `serve` and of optimum pipelines on one classifier and one file, side by side in one run.

    python benchmarks/scoring.py RUN BUNDLE ROWS.csv [--pipeline-rows 512] [--rounds 2]

A pipeline is what users of optimum write: `ORTModelForSequenceClassification` inside transformers' pipeline, batches of
32, texts cut at the bundle's limit. One holds the run's best checkpoint as optimum exports it, the other the bundle's
fp32 file, which was rewritten to be faster. They score the file's first rows, `serve` all of them, from reading the CSV
to a closed Parquet file. All use every processor. Rates depend on the machine and on what else runs on it; the ratios
less so, since all take turns. BUNDLE is an export of RUN.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from optimum.exporters.onnx import main_export
from optimum.onnxruntime import ORTModelForSequenceClassification
from transformers import AutoTokenizer, pipeline

from export.bundle import Bundle
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.system.files import json_line


def main() -> None:
    """Print a line a round, then the medians as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--pipeline-rows", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    bundle = Bundle.open(given.bundle)
    texts, most = _texts(bundle, given.rows, given.pipeline_rows), bundle.contract.encoding.max_tokens
    runners: dict[str, Callable[[], float]] = {
        **{name: partial(_score, each, texts, most) for name, each in _pipelines(given.run, bundle).items()},
        **{f"serve_{name}": partial(_serve, given.bundle, given.rows, name) for name in ("fp32", "int8")},
    }
    rounds: dict[str, list[float]] = {name: [] for name in runners}
    for number in range(given.rounds):
        # Each round starts with another, so that none always runs on a cool processor.
        order = deque(runners)
        order.rotate(number)
        for name in order:
            rounds[name].append(runners[name]())
        print({name: round(rates[-1], 1) for name, rates in rounds.items()}, file=sys.stderr)
    rates = {name: round(median(found), 1) for name, found in rounds.items()}
    times = {f"{name}_times": round(rates[name] / rates["pipeline_exported"], 2) for name in runners}
    print(json_line({"processors": os.cpu_count(), **rates, **times}))


def _pipelines(run: Path, bundle: Bundle) -> dict[str, Any]:
    tokenizer = AutoTokenizer.from_pretrained(bundle.path)
    with tempfile.TemporaryDirectory() as folder:
        main_export(str(Checkpoint.best(run).path), folder, task="text-classification", do_validation=False)
        exported = ORTModelForSequenceClassification.from_pretrained(folder, file_name="model.onnx")
    rewritten = ORTModelForSequenceClassification.from_pretrained(bundle.path, subfolder="onnx", file_name="model.onnx")
    models = {"pipeline_exported": exported, "pipeline_bundle": rewritten}
    return {name: pipeline("text-classification", model=model, tokenizer=tokenizer) for name, model in models.items()}


def _score(classify: Any, texts: list[str], most: int) -> float:
    start = time.perf_counter()
    classify(texts, batch_size=32, truncation=True, max_length=most)
    return len(texts) / (time.perf_counter() - start)


def _texts(bundle: Bundle, rows: Path, count: int) -> list[str]:
    with rows.open(newline="", encoding="utf-8") as file:
        records = [record for record, _ in zip(csv.DictReader(file), range(count), strict=False)]
    return [bundle.contract.input.read(record)[0] for record in records]


def _serve(bundle: Path, rows: Path, precision: str) -> float:
    command = [sys.executable, "-m", "serve", "bench", str(bundle), str(rows), "--precision", precision, "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["rows_per_second"])


if __name__ == "__main__":
    main()
