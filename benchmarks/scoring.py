"""Rows per second of `serve` and of an optimum pipeline on one bundle and one file, side by side in one run.

    python benchmarks/scoring.py BUNDLE ROWS.csv [--pipeline-rows 512] [--rounds 2]

The pipeline is what users of optimum write: `ORTModelForSequenceClassification` on the bundle's fp32 file inside
transformers' pipeline, batches of 32, texts cut at the bundle's limit. It scores the file's first rows, `serve` all of
them, from reading the CSV to a closed Parquet file. Both use every processor. Rates depend on the machine and on what
else runs on it; the ratio less so, since the two take turns.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from optimum.onnxruntime import ORTModelForSequenceClassification
from transformers import AutoTokenizer, pipeline

from export.bundle import Bundle


def main() -> None:
    """Print a line a round, then the medians as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--pipeline-rows", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    bundle = Bundle.open(given.bundle)
    classify, texts = _pipeline(bundle), _texts(bundle, given.rows, given.pipeline_rows)
    rounds: dict[str, list[float]] = {"pipeline_fp32": [], "serve_fp32": [], "serve_int8": []}
    for _ in range(given.rounds):
        start = time.perf_counter()
        classify(texts, batch_size=32, truncation=True, max_length=bundle.contract.encoding.max_tokens)
        rounds["pipeline_fp32"].append(len(texts) / (time.perf_counter() - start))
        for precision in ("fp32", "int8"):
            rounds[f"serve_{precision}"].append(_serve(given.bundle, given.rows, precision)["rows_per_second"])
        print({name: round(rates[-1], 1) for name, rates in rounds.items()}, file=sys.stderr)
    rates = {name: round(median(found), 1) for name, found in rounds.items()}
    times = {f"{name}_times": round(rates[name] / rates["pipeline_fp32"], 2) for name in ("serve_fp32", "serve_int8")}
    print(json.dumps({"processors": os.cpu_count(), **rates, **times}))


def _pipeline(bundle: Bundle) -> Any:
    model = ORTModelForSequenceClassification.from_pretrained(bundle.path, subfolder="onnx", file_name="model.onnx")
    return pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(bundle.path))


def _texts(bundle: Bundle, rows: Path, count: int) -> list[str]:
    with rows.open(newline="", encoding="utf-8") as file:
        records = [record for record, _ in zip(csv.DictReader(file), range(count), strict=False)]
    return [bundle.contract.input.read(record)[0] for record in records]


def _serve(bundle: Path, rows: Path, precision: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "serve", "bench", str(bundle), str(rows), "--precision", precision, "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
