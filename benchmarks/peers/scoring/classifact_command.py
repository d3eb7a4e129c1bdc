"""Classifact as a command: from a CSV to a closed Parquet file, with the start of the program and its canary."""

import csv
import json
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from benchmarks.peers.contestant import ON_GPU, Variant
from benchmarks.peers.device import device
from benchmarks.peers.talk import Figures, Request, Round, speak

NEEDS = ()
VARIANTS = (
    Variant(
        name="Classifact int8, CSV to Parquet",
        onnx_runtime=True,
        precision="int8",
        settings={"precision": "int8"},
        quick=True,
        whole=True,
    ),
    Variant(
        name="Classifact cascade, agreement 0.995, CSV to Parquet",
        onnx_runtime=True,
        settings={"precision": "int8", "agreement": 0.995},
        whole=True,
    ),
    Variant(
        name="Classifact fp16, CSV to Parquet" + ON_GPU,
        onnx_runtime=True,
        precision="fp16",
        gpu=True,
        settings={"precision": "fp16"},
        whole=True,
    ),
)


def load(settings: Request) -> Round:
    """A round writes its rows as CSV outside the clock, and reads what was decided after it."""
    import pyarrow.parquet as pq

    numbers = {name: number for number, name in enumerate(settings["labels"])}
    asked = [word for name in ("precision", "agreement") if name in settings for word in (f"--{name}", settings[name])]
    asked += ["--device", device(settings)]

    def round_(request: Request) -> Figures:
        with tempfile.TemporaryDirectory() as folder:
            rows, out = Path(folder) / "rows.csv", Path(folder) / "scored.parquet"
            _write(Path(settings["records"]), request["rows"], rows)
            command = [sys.executable, "-m", "serve", "score", settings["bundle"], rows, "--out", out, *asked]
            started = time.perf_counter()
            done = subprocess.run(list(map(str, [*command, "--quiet"])), capture_output=True, text=True, check=False)
            seconds = time.perf_counter() - started
            if done.returncode not in (0, 3):
                raise RuntimeError(done.stderr.strip()[-300:])
            decided = pq.read_table(out, columns=["prediction"])["prediction"].to_pylist()
            # Of the job's own program, not of this one.
            peak = json.loads(Path(f"{out}.report.json").read_text(encoding="utf-8"))["peak_memory_mb"]
        return {"seconds": seconds, "peak_memory_mb": peak, "labels": [numbers[name] for name in decided]}

    return round_


def _write(records: Path, count: int, out: Path) -> None:
    with records.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in islice(file, count)]
    with out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    speak(load, ("onnxruntime", "pyarrow"))
