"""What becomes of a batch that ONNX Runtime cannot score: halves, or an error that names rows."""

import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve import Scorer
from serve.journal.output import merge
from serve.scoring.session import Session
from tests.serve import bundles
from tests.serve.helpers import read_csv, score, write_csv
from trainer.contract.encoding import Batch
from trainer.contract.errors import ClassifactError

TEXTS = list(dict.fromkeys(bundles.texts(120)))[:100]


# As ONNX Runtime 1.2x words them: the arena, C++, CUDA.
MESSAGES = [
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer of size 4294967296",
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc",
    "CUDA failure 2: out of memory ; GPU=0 ; hostname=x",
    "Available memory of 100 is smaller than requested bytes of 200",
    "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED",
]


@pytest.mark.parametrize("message", MESSAGES)
def test_memory_that_runs_out_halves_the_batch(single: Path, fails: list[Any], message: str) -> None:
    """Batches of more than three rows do not fit: all rows are scored in halves, in their places, and it is counted."""
    with Scorer.open(single, precision="fp32", workers=2) as scorer:
        expected = scorer.predict_proba(TEXTS)
        assert scorer.batches_halved == 0
        fails.append(lambda ids: RuntimeError(message) if len(ids) > 3 else None)
        np.testing.assert_allclose(scorer.predict_proba(TEXTS), expected, atol=1e-6)
        assert scorer.batches_halved > 0


def test_memory_that_was_short_for_a_moment_moves_no_score(single: Path, fails: list[Any]) -> None:
    """A batch that fits once no other is scored is not cut: int8 scores stay what the rows' positions make them."""
    seen: list[int] = []
    with Scorer.open(single, precision="int8", workers=4) as scorer:
        expected = scorer.predict_proba(TEXTS)
        once = threading.Event()

        def at_first(ids: np.ndarray) -> Exception | None:
            if once.is_set():
                return None
            once.set()
            seen.append(len(ids))
            return MemoryError()

        fails.append(at_first)
        np.testing.assert_array_equal(scorer.predict_proba(TEXTS), expected)
        assert (len(seen), scorer.batches_halved) == (1, 0)


def test_a_row_that_does_not_fit_is_named(single: Path, fails: list[Any]) -> None:
    """Where a single row is too much, the error names it, by its place and with its repeats, and no other."""
    with Scorer.open(single, precision="fp32", workers=2) as scorer:
        longest = int(scorer.encoder.encode(TEXTS[:1]).lengths[0])
        texts = [TEXTS[0], "prize", "win", TEXTS[0]]
        fails.append(lambda ids: MemoryError() if ids.shape[1] >= longest else None)
        with pytest.raises(ClassifactError, match="not enough memory") as caught:
            scorer.predict(texts)
        assert caught.value.details["where"] == "rows 0, 3"
        fails.append(lambda _: None)
        assert len(scorer.predict(texts)) == 4


def test_another_failure_is_ours_and_names_rows(single: Path, fails: list[Any]) -> None:
    """Any other error of ONNX Runtime names the rows of its batch, counted from the first of all windows."""
    many = [f"{row} win" for row in range(4200)]
    many[4150] = "prize"
    with Scorer.open(single, precision="fp32", workers=2) as scorer:
        prize = scorer.encoder.encode(["prize"]).ids[1]
        fails.append(lambda ids: ValueError("indices element out of data bounds") if (ids == prize).any() else None)
        with pytest.raises(ClassifactError, match="cannot score a batch") as caught:
            scorer.predict(many)
    where = caught.value.details["where"]
    assert " and " in where
    assert min(map(int, re.findall(r"\d{4}", where))) >= 4096
    assert "out of data bounds" in caught.value.details["found"]


def test_a_job_names_file_and_line_and_can_be_resumed(single: Path, tmp_path: Path, fails: list[Any]) -> None:
    """A job that ONNX Runtime ends says in which lines, and --resume goes on to what an undisturbed job writes."""
    rows = write_csv(tmp_path / "in.csv", [*TEXTS, "prize"])
    score(single, rows, out=tmp_path / "expected.csv", window=20)
    fails.append(lambda ids: ValueError("no kernel") if ids.shape[1] == 3 else None)
    with pytest.raises(ClassifactError) as caught:
        score(single, rows, out=tmp_path / "out.csv", window=20)
    assert f"{rows}:" in caught.value.details["where"]
    fails.append(lambda _: None)
    score(single, rows, out=tmp_path / "out.csv", window=20, resume=True)
    assert read_csv(tmp_path / "out.csv") == read_csv(tmp_path / "expected.csv")


def test_the_report_counts_the_halves_of_every_process(single: Path, tmp_path: Path, fails: list[Any]) -> None:
    """A resumed job, and merged shares, report the batches that were halved before too."""
    rows = write_csv(tmp_path / "in.csv", [*TEXTS, "prize"])
    fails.append(lambda ids: MemoryError() if len(ids) > 3 else None)
    whole = score(single, rows, out=tmp_path / "whole.csv", window=20)["batches_halved"]
    fails.append(lambda ids: ValueError("no kernel") if ids.shape[1] == 3 else fails[-2](ids))
    with pytest.raises(ClassifactError, match="cannot score"):
        score(single, rows, out=tmp_path / "out.csv", window=20)
    fails.pop()
    assert score(single, rows, out=tmp_path / "out.csv", window=20, resume=True)["batches_halved"] == whole > 0
    for share in (1, 2):
        score(single, rows, out=tmp_path / "shared.csv", window=20, shard=(share, 2))
    assert merge(tmp_path / "shared.csv")["batches_halved"] == whole


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited by Linux")
def test_real_memory_that_runs_out(single: Path) -> None:
    """In a program that may have little memory, ONNX Runtime's own error is recognised, and every row is scored."""
    code = (
        "import resource, sys\n"
        "from serve import Scorer\n"
        "texts = [f'the cat {row} ' + 'sat on the mat ' * 20 for row in range(4096)]\n"
        "scorer = Scorer.open(sys.argv[1], precision='fp32', workers=1, batch_tokens=10**6)\n"
        "scorer.predict(texts[:1])\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 120 * 2**20,) * 2)\n"
        "print(len(scorer.predict(texts)), scorer.batches_halved)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, single], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3]
    )
    assert done.returncode == 0, done.stderr
    rows, halved = map(int, done.stdout.split())
    assert rows == 4096
    assert halved > 0


def test_a_failed_run_names_its_shape(single: Path, fails: list[Any]) -> None:
    """The session's own error says how many rows of how many tokens there were."""
    with Scorer.open(single, precision="fp32") as scorer:
        encoded = scorer.encoder.encode(["prize"])
        batch: Batch = scorer.encoder.pad(encoded, np.array([0]))
        fails.append(lambda _: ValueError("x"))
        opened: Session = scorer.session
        with pytest.raises(ClassifactError) as caught:
            opened.run(batch)
    assert caught.value.details["found"].startswith("1 rows of 3 tokens: x")
