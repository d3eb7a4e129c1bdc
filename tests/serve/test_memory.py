"""Memory is a function of the window, not of the file."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.words import CORPUS

REPOSITORY = Path(__file__).parents[2]


def _write(path: Path, rows: int) -> Path:
    """Rows of 1 to 300 words, most of them short; 20,000 texts in turn, so that no window holds one twice."""
    words = np.array(" ".join(CORPUS).split())
    generator = np.random.default_rng(0)
    lengths = 1 + generator.exponential(15, 20_000).astype(int) % 300
    texts = [" ".join(generator.choice(words, length)) for length in lengths.tolist()]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows((row, texts[row % len(texts)]) for row in range(rows))
    return path


def _peak(bundle: Path, rows: Path, out: Path) -> float:
    command = [
        sys.executable,
        "-m",
        "serve",
        "score",
        str(bundle),
        str(rows),
        "--out",
        str(out),
        "--quiet",
        "--no-tune",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["peak_memory_mb"])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_ten_times_the_rows_take_the_same_memory(single: Path, tmp_path: Path, suffix: str) -> None:
    """2,000,000 rows of mixed lengths need at most 5 % more memory than 200,000."""
    small = _peak(single, _write(tmp_path / "small.csv", 200_000), tmp_path / f"out-small.{suffix}")
    large = _peak(single, _write(tmp_path / "large.csv", 2_000_000), tmp_path / f"out-large.{suffix}")
    print(f"\npeak memory to {suffix}: {small} and {large} MB")
    assert large < 1.05 * small


def _wide(path: Path, rows: int, width: int) -> Path:
    """Short texts beside a column of `width` characters that is only passed through."""
    if path.suffix == ".parquet":
        pieces = [
            pa.table({"text": ["free prize"] * 100, "wide": [f"{n:06d}" * (width // 6)] * 100})
            for n in range(rows // 100)
        ]
        pq.write_table(pa.concat_tables(pieces), path, use_dictionary=False, compression="none")
        return path
    with path.open("w") as file:
        file.write("text,wide\n")
        file.writelines(f"free prize {row},{row % 10}{'x' * width}\n" for row in range(rows))
    return path


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_wide_columns_that_are_passed_through_are_bounded(single: Path, tmp_path: Path, suffix: str) -> None:
    """Three times the rows of 40 KB each need at most 15 % more memory, though they are few windows by number."""
    small = _peak(single, _wide(tmp_path / f"small.{suffix}", 4_000, 40_000), tmp_path / f"out-small.{suffix}")
    large = _peak(single, _wide(tmp_path / f"large.{suffix}", 12_000, 40_000), tmp_path / f"out-large.{suffix}")
    print(f"\npeak memory of wide rows in {suffix}: {small} and {large} MB")
    assert large < 1.15 * small
