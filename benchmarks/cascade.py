"""How much faster a bundle's student makes a whole job, CSV to Parquet: interleaved rounds, in one process.

    python benchmarks/cascade.py BUNDLE rows.csv [--agreement 0.995 --agreement 0.99] [--rounds 3]

Prints rows/s of the encoder alone and at each agreement, the ratio of their medians, which share the student answered,
and on which share of the rows the output differs from the encoder's alone: rows of the student, which the certificate
bounds, and rows of the encoder, which differ by int8's other batch mates alone. Ratios are of rounds that ran side by
side; the load is told.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import pyarrow as pa
import pyarrow.parquet as pq

from serve.job import ScoreJob, run
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
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--agreement", type=float, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
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
    print("agreement    rows/s   ratio   CPU ratio   by student   differ: student   encoder's batches")
    base = statistics.median(rates[None])
    for kind in kinds:
        rate, found = statistics.median(rates[kind]), reports[kind]["fast_lane"]
        differ = differing(tables[None], tables[kind])
        taken = "-" if found is None else f"{found['coverage']:.1%}"
        work = reports[None]["cpu_seconds"] / reports[kind]["cpu_seconds"]
        name = "encoder" if kind is None else f"{kind:g}"
        print(
            f"{name:<10}{rate:>9,.0f}{rate / base:>8.2f}{work:>12.2f}{taken:>13}{differ['student']:>18.2%}"
            f"{differ['encoder']:>20.2%}"
        )
    phases = reports[kinds[1]]["phases"]
    print(f"seconds of the main thread at {kinds[1]:g}: {phases}")


if __name__ == "__main__":
    main()
