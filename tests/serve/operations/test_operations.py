"""What an operator needs: a forecast, progress, a report, and an end that can be resumed from."""

import errno
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from serve.cli import main
from serve.job import ScoreJob, run
from serve.journal.state import JobState
from serve.operations.cli import print_result
from serve.operations.progress import JobProgress
from serve.operations.tune import Tuned
from serve.scorer import Scorer
from serve.scoring.settings import ScorerOptions
from tests.serve import bundles
from tests.serve.helpers import score, write_csv
from trainer.contract.system.progress import QUIET, Progress

REPOSITORY = Path(__file__).parents[3]


def test_sigterm_ends_a_job_that_resumes(single: Path, tmp_path: Path) -> None:
    """SIGTERM finishes a window, journals and exits with 143; resuming gives the bytes of an undisturbed job."""
    rows = write_csv(tmp_path / "in.csv", bundles.texts(6000))
    out = tmp_path / "out.csv"
    # Each window is made safe at once.
    code = "from serve.journal import work_folder; work_folder.COMMIT_SECONDS = 0; from serve.cli import main; main()"
    command = [sys.executable, "-c", code, "score", str(single), str(rows)]
    command += ["--out", str(out), "--window", "64", "--precision", "fp32", "--device", "cpu"]
    job = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    journal = tmp_path / ".out.csv.job" / "journal"
    while not (journal.exists() and b'"state"' in journal.read_bytes()):
        assert job.poll() is None
        time.sleep(0.01)
    job.send_signal(signal.SIGTERM)
    _, complaint = job.communicate(timeout=20)
    assert job.returncode == 143
    assert "--resume" in complaint
    assert not out.exists()
    report = score(single, rows, out=out, window=64, resume=True)
    assert report["rows_read"] == 6000
    assert report["sha256"] == score(single, rows, out=tmp_path / "whole.csv", window=64)["sha256"]


def test_report(single: Path, tmp_path: Path) -> None:
    """The report accounts for every row, token and second, and lies beside the output."""
    rows = write_csv(tmp_path / "in.csv", [*bundles.texts(100), "", "same", "same"])
    report = score(single, rows, out=tmp_path / "out.csv", window=32)
    assert report["rows_read"] == 103 == report["rows_scored"] + report["rows_rejected"]
    assert report["reasons"] == {"null_text": 1}
    assert report["distinct_texts"] < report["rows_scored"]
    assert 0 <= report["padding_share"] < 1
    assert report["rows_cut"] > 0 < report["tokens_cut"]
    assert set(report["phases"]) == {"read", "rows to text", "tokenize", "wait for scores", "write"}
    assert report["peak_memory_mb"] > 10
    assert json.loads((tmp_path / "out.csv.report.json").read_text()) == report


def test_dry_run(single: Path, tmp_path: Path) -> None:
    """A dry run tells rows, rate, time and cost from a sample, and writes nothing."""
    rows = write_csv(tmp_path / "in.csv", bundles.texts(3000))
    command = ["score", str(single), str(rows), "--out", str(tmp_path / "out.csv"), "--window", "1000"]
    result = CliRunner().invoke(main, [*command, "--dry-run", "--price-per-hour", "2"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    assert 2700 < found["rows"] < 3300
    assert found["sampled_rows"] == 1000
    assert found["seconds"] == pytest.approx(found["rows"] / found["rows_per_second"], rel=0.05)
    assert found["cost"] == pytest.approx(found["seconds"] / 1800, abs=1e-3)
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        ("text,prediction\nx,1\n", [], "--prefix"),
        ("text,scored_by\nx,1\n", ["--on-error", "null", "--prefix", ""], None),
        ("text,error\nx,1\n", ["--on-error", "null"], "--prefix"),
        ("text,a\nx,1\n", ["--keep", "b"], "no column 'b'"),
        ("text\n", [], None),
    ],
)
def test_a_dry_run_refuses_what_the_job_would_refuse(
    single: Path, tmp_path: Path, content: str, words: list[str], said: str | None
) -> None:
    """A night is not planned on a forecast of a job that ends at its first row: both give one answer."""
    (tmp_path / "in.csv").write_text(content, encoding="utf-8")
    command = ["score", str(single), str(tmp_path / "in.csv"), "--out", str(tmp_path / "out.csv"), *words]
    answers = [CliRunner().invoke(main, [*command, *more]) for more in (["--dry-run"], [])]
    assert [answer.exit_code for answer in answers] == [0 if said is None else 1] * 2, answers[0].output
    assert said is None or all(said in answer.stderr for answer in answers)


@pytest.mark.parametrize(
    ("words", "rows"), [(["--limit", "1500"], 1500), (["--limit", "7"], 7), (["--shard", "1/3"], 1000)]
)
def test_a_dry_run_forecasts_what_the_job_would_score(
    single: Path, tmp_path: Path, words: list[str], rows: int
) -> None:
    """Of --limit and --shard the forecast is of those rows, and not of all that the input holds."""
    given = write_csv(tmp_path / "in.csv", bundles.texts(3000))
    command = ["score", str(single), str(given), "--out", str(tmp_path / "out.csv"), "--window", "1000", "--dry-run"]
    result = CliRunner().invoke(main, [*command, *words])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1])["rows"] == pytest.approx(rows, rel=0.1, abs=0.5)


@pytest.mark.parametrize(("words", "workers"), [([], None), (["--tuned"], 3), (["--no-tune"], None)])
def test_a_dry_run_takes_the_settings_of_the_job(
    single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], workers: int | None
) -> None:
    """Where the job would run as tuned, and `tune` has run here, so does the forecast."""
    found = Tuned(batch_tokens=512, workers=3, threads=1, arena=True, tokens_per_second=1.0)
    monkeypatch.setattr("serve.operations.dry_run.cached", lambda *_: found)
    opened: list[ScorerOptions] = []
    monkeypatch.setattr(
        "serve.operations.dry_run.Scorer", lambda bundle, options: opened.append(options) or Scorer(bundle, options)
    )
    given = write_csv(tmp_path / "in.csv", bundles.texts(20))
    out = str(tmp_path / "out.csv")
    result = CliRunner().invoke(main, ["score", str(single), str(given), "--out", out, "--dry-run", *words])
    assert result.exit_code == 0, result.output
    assert [options.workers for options in opened] == [workers]


def test_bench_without_room_names_the_temporary_folder(
    single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full under bench is no job to go on with: the folder is named, and what moves it."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    rows = write_csv(tmp_path / "in.csv", bundles.texts(10))
    for place in ("append", "Journal.append"):
        with monkeypatch.context() as patch:
            patch.setattr(f"serve.journal.work_folder.{place}", full)
            result = CliRunner().invoke(main, ["bench", str(single), str(rows), "--quiet"])
        assert result.exit_code == 1
        assert "TMPDIR" in result.stderr
        assert "--resume" not in result.stderr


def test_progress_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Off a terminal progress is plain lines with rows/s, tokens/s, padding, errors and the time left."""
    clock = iter([0.0, 0.0, 0.0, 10.0, 10.0, 10.0, 10.0])
    monkeypatch.setattr("trainer.contract.system.progress.time.monotonic", lambda: next(clock))
    progress = JobProgress(Progress(), [100, 300])
    progress.begin(JobState(read=50, scored=50, tokens=100), 0.0)
    state = JobState(read=1050, scored=1040, rejected=10, tokens=900, padded_tokens=1000)
    progress.update(state, progress.share(1, 0.5))
    progress.close()
    going, line = capsys.readouterr().err.splitlines()
    assert going.startswith("going on after 50 rows")
    assert line == "1,050 rows, 99 rows/s, 80 tokens/s, 10.0% padding, 10 errors, 62.5% done, 6 s left"


def test_metrics_port(single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a job runs its counts are answered in Prometheus' format, and the port is free afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    seen: list[str] = []

    def look(*_: Any) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            seen.append(answer.read().decode())

    monkeypatch.setattr(JobProgress, "update", look)
    rows = write_csv(tmp_path / "in.csv", [*bundles.texts(60), ""])
    score(single, rows, out=tmp_path / "out.csv", window=32, metrics_port=port)
    assert "classifact_rows_read_total 32\n" in seen[0]
    assert "classifact_rows_scored_total 60\n" in seen[-1]
    assert "classifact_rows_rejected_total 1\n" in seen[-1]
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)


def test_the_pass_over_columns_is_shown(
    single: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While JSON lines are read for their columns, a line says how far that is; with --quiet nothing is said."""
    monkeypatch.setattr("trainer.contract.system.progress._PLAIN_SECONDS", 0.0)
    monkeypatch.setattr("serve.reading.columns._LOOK", 30)
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "win"}\n' * 60)
    job = ScoreJob(bundle=single, inputs=(str(path),), out=tmp_path / "out.csv", canary=False)
    run(job)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("looking")]
    assert lines == [f"looking at columns: {rows} rows, 100.0% done, 0 s left" for rows in (30, 60)]
    run(replace(job, quiet=True, out=tmp_path / "quiet.csv"))
    assert capsys.readouterr().err == ""


def test_progress_of_unknown_size() -> None:
    """Where an input's size is unknown no time left is told."""
    assert JobProgress(QUIET, [None, 5]).share(0, 0.5) is None
    assert JobProgress(QUIET, [5]).share(0, None) is None


def test_the_last_line_is_json_whatever_the_figures_are(capsys: pytest.CaptureFixture[str]) -> None:
    """NaN and infinity, which JSON lacks, are null in the line that programs read."""
    print_result({"rows_per_second": float("nan"), "deep": [{"bound": float("inf")}], "rows": 2})
    assert capsys.readouterr().out == '{"rows_per_second": null, "deep": [{"bound": null}], "rows": 2}\n'
