"""How much faster a bundle's student makes a whole job, CSV to Parquet: interleaved rounds, in one process.

    python benchmarks/cascade.py BUNDLE rows.csv [--agreement 0.995 --agreement 0.99] [--rounds 3] [--fresh RUN]

--fresh: RUN was exported with rows.csv under --unlabelled; of its rows only those are scored that neither taught the
student nor set its guards, which the export calls further rows.

Prints rows/s of the encoder alone and at each agreement, the ratio of their medians, how many times fewer tokens the
encoder is given (a figure that no load moves), which share the student answered, and on which share of the rows the
output differs from the encoder's alone: rows of the student, which the certificate bounds, and rows of the encoder,
which differ by int8's other batch mates alone. Ratios are of rounds that ran side by side; the load is told.

Last come the shares of a job's processor time: the encoder's is measured by its workers, the student's by running it
alone on the same rows, the others by the clock of the thread that reads and writes.
"""

import argparse
import csv
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import pyarrow as pa
import pyarrow.parquet as pq

from export.cascade.rows import cascade_rows
from export.trained_run import TrainedRun
from serve.job import ScoreJob, run
from serve.scorer import Scorer
from serve.scoring.session import SessionOptions
from serve.scoring.settings import ScorerOptions


def job(options: argparse.Namespace, agreement: float | None, out: Path) -> dict[str, Any]:
    """One job's report."""
    scorer = ScorerOptions(session=SessionOptions(device="cpu"), agreement=agreement)
    return run(
        ScoreJob(
            bundle=options.bundle,
            inputs=(str(options.rows),),
            out=out,
            scorer=scorer,
            tuned=False,
            canary=False,
            quiet=True,
        )
    )


def fresh_rows(rows: Path, run: Path, out: Path) -> Path:
    """The further rows of a student of `run` and `rows`, as a CSV file."""
    source = TrainedRun.open(run)
    spec = source.checkpoint.contract.input
    wanted = set(cascade_rows(run, [rows], source.validation, spec).further.texts)
    with rows.open(newline="", encoding="utf-8") as file, out.open("w", newline="", encoding="utf-8") as kept:
        reader = csv.DictReader(file)
        writer = csv.DictWriter(kept, reader.fieldnames or [])
        writer.writeheader()
        writer.writerows(row for row in reader if spec.read(row)[0] in wanted)
    return out


def shares(options: argparse.Namespace, agreement: float, report: dict[str, Any]) -> dict[str, float]:
    """Of a job's processor time, by part."""
    with (
        options.rows.open(newline="", encoding="utf-8") as file,
        Scorer.open(options.bundle, device="cpu", agreement=agreement) as scorer,
    ):
        spec = scorer.bundle.contract.input
        encoded = scorer.encoder.encode([spec.read(row)[0] for row in csv.DictReader(file)])
        cascade, spent = scorer.cascade, []
        for _ in range(3):
            started = time.process_time()
            if cascade is not None:
                cascade.answer(encoded)
            spent.append(time.process_time() - started)
    phases, student = report["phases"], min(spent)
    parts = {
        "encoder": report["session_cpu_seconds"],
        "student": student,
        "tokenizing": phases["tokenize"] - student,
        "reading": phases["read"] + phases["rows to text"],
        "writing": phases["write"],
    }
    return {name: round(seconds / report["cpu_seconds"], 4) for name, seconds in parts.items()}


def differing(alone: pa.Table, both: pa.Table) -> dict[str, float]:
    """The share of all rows that differ, of those that the student answered and of those that the encoder did."""
    name = next(name for name in alone.column_names if name.startswith("prediction"))
    rows = list(zip(alone[name].to_pylist(), both[name].to_pylist(), strict=True))
    tiers = both["scored_by"].to_pylist() if "scored_by" in both.column_names else ["encoder"] * len(rows)
    return {
        tier: sum(a != b for (a, b), by in zip(rows, tiers, strict=True) if by == tier) / len(rows)
        for tier in ("student", "encoder")
    }


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--agreement", type=float, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fresh", type=Path, metavar="RUN")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.fresh is not None:
            options.rows = fresh_rows(options.rows, options.fresh, Path(folder) / "fresh.csv")
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Score in rounds and print the table."""
    kinds = [None, *(options.agreement or [0.995, 0.99])]
    rates: dict[float | None, list[float]] = {kind: [] for kind in kinds}
    reports: dict[float | None, dict[str, Any]] = {}
    tables: dict[float | None, pa.Table] = {}
    before = os.getloadavg()[0]
    for _ in range(options.rounds):
        for kind in kinds:
            with tempfile.TemporaryDirectory() as folder:
                reports[kind] = job(options, kind, Path(folder) / "out.parquet")
                tables[kind] = pq.read_table(Path(folder) / "out.parquet")
            rates[kind].append(reports[kind]["rows_per_second"])
    print(
        f"{reports[None]['rows_scored']:,} rows, {options.rounds} rounds, load {before:.1f} to {os.getloadavg()[0]:.1f}"
    )
    print("agreement    rows/s   ratio   CPU ratio   fewer tokens   by student   differ: student   encoder's batches")
    base = statistics.median(rates[None])
    for kind in kinds:
        rate, found = statistics.median(rates[kind]), reports[kind]["cascade"]
        differ = differing(tables[None], tables[kind])
        taken = "-" if found is None else f"{found['coverage']:.1%}"
        work = reports[None]["cpu_seconds"] / reports[kind]["cpu_seconds"]
        tokens = reports[None]["tokens"] / reports[kind]["tokens"]
        name = "encoder" if kind is None else f"{kind:g}"
        print(
            f"{name:<10}{rate:>9,.0f}{rate / base:>8.2f}{work:>12.2f}{tokens:>15.2f}{taken:>13}"
            f"{differ['student']:>18.2%}{differ['encoder']:>20.2%}"
        )
    for kind in kinds[1:]:
        if kind is not None:
            print(f"shares of the processor time at {kind:g}: {shares(options, kind, reports[kind])}")


if __name__ == "__main__":
    main()
