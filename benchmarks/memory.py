"""The most memory that scoring takes, by the number of rows: texts of 1 to 450 words, most of them short, in any order.

    python benchmarks/memory.py BUNDLE [--rows 20000 200000]

The words are those of the bundle's golden rows. Prints a line a size: the peak of the whole program, from `bench`.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from export.bundle import Bundle


def main() -> None:
    """Write rows, score them in a program of their own, print its peak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 200_000])
    given = parser.parse_args()
    bundle = Bundle.open(given.bundle)
    words = np.array(" ".join(row.text for row in bundle.golden()).split())
    for rows in given.rows:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rows.csv"
            _write(file, bundle.contract.input.columns, words, rows)
            command = [sys.executable, "-m", "serve", "bench", str(given.bundle), str(file), "--quiet"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"{rows:,} rows: {found['peak_memory_mb']:.0f} MB, {found['rows_per_second']:,.0f} rows/s", flush=True)


def _write(file: Path, columns: tuple[str, ...], words: "np.ndarray[tuple[int], np.dtype[np.str_]]", rows: int) -> None:
    generator = np.random.default_rng(0)
    lengths = np.clip(generator.lognormal(np.log(12), 1, rows), 1, 450).astype(int)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        for row, length in enumerate(lengths.tolist()):
            text = " ".join([str(row), *generator.choice(words, length - 1)])
            writer.writerow([text, *[""] * (len(columns) - 1)])


if __name__ == "__main__":
    main()
