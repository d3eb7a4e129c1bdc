"""Windows scored on a Ray cluster give the bytes of a local job, whatever dies: two real workers on this machine."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serve.operations.progress import JobProgress
from serve.writing.rejects import ErrorBound
from tests.serve.helpers import score, write_csv
from trainer.contract.errors import ClassifactError

ray = pytest.importorskip("ray")
# Ray's own processes warn of what is theirs.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Two workers on this machine, shared by the tests that need real ones."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def _actors() -> list[int]:
    """The processes that score."""
    found = []
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if path.name.isdigit() and b"MapBatches(ScoreActor)" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
    return found


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("name", "more"), [("out.csv", {"part_rows": 300}), ("out.parquet", {"probabilities": True, "on_error": "null"})]
)
def test_two_workers_of_which_one_is_killed(
    single: Path, three_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, more: Any
) -> None:
    """With a worker killed in mid-job, parts, rows, errors and counts are those of a local job, each once."""
    whole = score(single, three_files, out=tmp_path / f"whole-{name}", precision="int8", window=32, **more)
    killed: list[int] = []
    update = JobProgress.update

    def kill_once(self: JobProgress, state: Any, share: float | None) -> None:
        if state.windows == 5 and not killed:
            killed.append(_actors()[0])
            os.kill(killed[0], signal.SIGKILL)
        update(self, state, share)

    monkeypatch.setattr(JobProgress, "update", kill_once)
    report = score(single, three_files, out=tmp_path / name, precision="int8", window=32, engine="ray", **more)
    assert len(killed) == 1
    same = ("sha256", "errors_sha256", "rows_read", "rows_scored", "rows_rejected", "reasons", "tokens")
    assert {key: report[key] for key in same} == {key: whole[key] for key in same}
    assert report["workers"] == 2
    assert report["rows_rejected"] == 5


@pytest.mark.usefixtures("cluster")
def test_a_job_goes_from_engine_to_engine(single: Path, three_files: Path, tmp_path: Path) -> None:
    """A job that stopped half way goes on with the parts that are done, on Ray and then in this process."""
    whole = score(single, three_files, out=tmp_path / "whole.csv", window=32, part_rows=100)
    out, options = tmp_path / "out.csv", {"window": 32, "part_rows": 100, "resume": True}
    with pytest.raises(ClassifactError, match="too many rows"):
        score(single, three_files, out=out, engine="ray", max_errors=ErrorBound.parse("1"), **options)
    parts = {path.name: path.stat().st_mtime_ns for path in (tmp_path / ".out.csv.job" / "parts").iterdir()}
    assert len(parts) == 3
    with pytest.raises(ClassifactError, match="too many rows"):
        score(single, three_files, out=out, max_errors=ErrorBound.parse("3"), **options)
    report = score(single, three_files, out=out, engine="ray", **options)
    assert report["sha256"] == whole["sha256"]
    assert report["errors_sha256"] == whole["errors_sha256"]
    assert {name: (out / name).stat().st_mtime_ns for name in parts} == parts


@pytest.mark.usefixtures("cluster")
def test_inputs_without_rows(single: Path, tmp_path: Path) -> None:
    """A file with a header alone is a job of no rows, as it is in this process."""
    rows = write_csv(tmp_path / "in.csv", [])
    score(single, rows, out=tmp_path / "whole.csv")
    assert score(single, rows, out=tmp_path / "out.csv", engine="ray")["rows_read"] == 0
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_command(single: Path, three_files: Path, tmp_path: Path) -> None:
    """The command starts a cluster of its own from relative paths, ends with the local job's bytes and without a
    library's warning, and is stopped by SIGTERM resumably.
    """
    score(single, three_files, out=tmp_path / "whole.csv", precision="int8", window=16)
    command = [sys.executable, "-m", "serve", "score", str(single), "in", "--out", "out.csv", "--window", "16"]
    command += ["--engine", "ray", "--workers", "2", "--device", "cpu", "--resume"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    environment.pop("RAY_ADDRESS", None)
    job = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    begun = tmp_path / ".out.csv.job" / "rows-00000"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (begun.exists() and begun.stat().st_size > 1000):
        time.sleep(0.005)
    job.terminate()
    _, complaint = job.communicate(timeout=60)
    assert job.returncode == 128 + signal.SIGTERM, complaint.decode()
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["rows_read"] == 2003
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    errors = (tmp_path / "out.csv.errors.jsonl").read_text().replace('"in/', f'"{three_files}/')
    assert errors == (tmp_path / "whole.csv.errors.jsonl").read_text()
