"""How Classifact's time and memory grow: with rows, the length of texts, the number of labels, columns passed through.

A bundle of a tiny random network scores made rows, CSV to Parquet with probabilities, so that what surrounds the
encoder is seen; `scoring` tells what the encoder takes. Each axis gets an exponent b of seconds ~ size^b: a straight
line through the logarithms, with a 95 % interval. Seconds and memory are those of the job's own report: without the
program's start.
"""

import argparse
import csv
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.peers import leash, machine
from tests.serve import bundles
from tests.words import CORPUS
from trainer.contract.checkpoint import Contract
from trainer.contract.encoding import EncodingPolicy
from trainer.contract.inputs import InputSpec
from trainer.contract.labels import LabelSpace
from trainer.contract.system.files import read_json, write_json

# What is not varied: rows, words of a text, labels, columns beside the text.
USUAL = {"rows": 10_000, "words": 12, "labels": 3, "columns": 0}
AXES: dict[str, tuple[int, ...]] = {
    "rows": (10_000, 30_000, 100_000, 300_000, 1_000_000),
    "words": (4, 16, 64, 256),
    "labels": (2, 10, 100, 1_000),
    "columns": (1, 10, 100, 1_000),
}
# What an axis varies beside the usual; wide rows take long to write.
FEWER = {"columns": {"rows": 2_000}, "labels": {"rows": 5_000}, "words": {"rows": 5_000}}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which axes, and how far they go."""
    parser.add_argument("--axis", action="append", choices=list(AXES), help="may be repeated; default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round, and no axis to its end nor above 100,000")


def run(given: argparse.Namespace) -> None:
    """Measure each axis and write growth.json; an axis that was measured before and is not asked for now stays."""
    path = given.out / "growth.json"
    done: dict[str, Any] = read_json(path) if path.exists() else {"axes": {}}
    with tempfile.TemporaryDirectory() as name:
        for axis in given.axis or AXES:
            done["axes"][axis] = measure(axis, Path(name), given)
            write_json(path, done)


def measure(axis: str, made: Path, given: argparse.Namespace) -> dict[str, Any]:
    """The record of an axis. made: where bundles lie."""
    sizes = [size for size in AXES[axis] if not given.quick or size < min(max(AXES[axis]), 200_000)]
    began, rounds = machine.stamp(), 1 if given.quick else given.rounds
    points = [{"size": size, **_point(axis, size, made)} for _ in range(rounds) for size in sizes]
    told = [point["size"] for point in points]
    return {
        "usual": {**USUAL, **FEWER.get(axis, {})},
        "points": points,
        "seconds": exponent(told, [point["seconds"] for point in points]),
        "memory": exponent(told, [point["peak_memory_mb"] for point in points]),
        "made": [began, machine.stamp()],
    }


def exponent(sizes: Sequence[float], values: Sequence[float]) -> dict[str, float]:
    """b of value ~ size^b by least squares on logarithms, and the ends of its 95 % interval (Student's t)."""
    line = stats.linregress(np.log(sizes), np.log(values))
    # Equal values lie on a line exactly, of which scipy gives no error.
    error = 0.0 if np.isnan(line.stderr) else float(line.stderr)
    reach = float(stats.t.ppf(0.975, len(sizes) - 2)) * error
    return {"b": float(line.slope), "low": float(line.slope - reach), "high": float(line.slope + reach)}


def _point(axis: str, size: int, made: Path) -> dict[str, float]:
    """Figures of one job. made: where bundles lie."""
    asked = {**USUAL, **FEWER.get(axis, {}), axis: size}
    bundle = made / f"{asked['labels']} labels"
    if not bundle.exists():
        bundles.make(bundle, _contract(asked["labels"]), precisions=("fp32",))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder / "rows.csv", asked)
        command = [sys.executable, "-m", "serve", "score", bundle, folder / "rows.csv", "--out", folder / "out.parquet"]
        command += ["--precision", "fp32", "--probabilities", "--no-tune", "--quiet"]
        leash.run(list(map(str, command)), stdout=subprocess.DEVNULL)
        report = read_json(folder / "out.parquet.report.json")
    print(f"{axis} {size:,}: {report['seconds']:.2f} s, {report['peak_memory_mb']:.0f} MB", file=sys.stderr, flush=True)
    return {"seconds": report["seconds"], "peak_memory_mb": report["peak_memory_mb"]}


def _contract(labels: int) -> Contract:
    return Contract(
        labels=LabelSpace(names=tuple(f"label {number}" for number in range(labels))),
        input=InputSpec(text=("text",)),
        encoding=EncodingPolicy(max_tokens=512),
    )


def _write(path: Path, asked: dict[str, int]) -> None:
    draw = random.Random(0)  # noqa: S311 -- made rows, not secrets
    words = " ".join(CORPUS).split()
    others = [f"value {number}" for number in range(asked["columns"])]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", *(f"column {number}" for number in range(asked["columns"]))])
        for row in range(asked["rows"]):
            # Numbers make texts differ: repeats would be scored once.
            writer.writerow([f"{row} {' '.join(draw.choices(words, k=asked['words'] - 1))}", *others])
