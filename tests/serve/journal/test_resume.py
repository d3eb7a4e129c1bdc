"""A job that is killed at any instant and resumed ends with the bytes of one that was not."""

import fcntl
import hashlib
import json
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from serve.cli import main
from serve.journal.state import ScoredWindow
from serve.scoring.window_scorer import WindowScorer
from serve.writing.rejects import ErrorBound
from tests.serve import bundles
from tests.serve.helpers import read_csv, score, write_csv
from tests.serve.journal.dying import KILLED, Dying
from trainer.contract.errors import ClassifactError, InputError


def _digest(out: Path) -> str:
    """Of an output and its errors: of every file of a folder, with its name."""
    digest = hashlib.sha256()
    errors = out.with_name(f"{out.name}.errors.jsonl")
    for path in [*sorted(out.iterdir()), errors] if out.is_dir() else [out, errors]:
        digest.update(path.name.removeprefix(out.name).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """200 rows, a few of them bad."""
    texts = bundles.texts(200)
    texts[5] = texts[77] = texts[199] = ""
    return write_csv(tmp_path / "in.csv", texts)


def _command(bundle: Path, rows: Path, out: Path, *more: str) -> list[str]:
    return ["score", str(bundle), str(rows), "--out", str(out), "--window", "32", "--device", "cpu", "--quiet", *more]


def _undisturbed(command: list[str]) -> None:
    """Run a command to its end in this process, which spares the start of one."""
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output


def _remove(out: Path) -> None:
    for path in out.parent.glob(f"*{out.name}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


FORMATS = [("out.csv", ()), ("out.jsonl", ()), ("out.parquet", ()), ("p.csv", ("--part-rows", "50"))]
FORMATS += [("p.parquet", ("--part-rows", "50", "--probabilities"))]


# Workers divide the moments: share K of SHARES takes every SHARES-th.
SHARES = 4


@pytest.mark.slow
@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("output", FORMATS, ids=lambda output: output[0])
def test_death_at_every_touch_of_the_disk(
    single: Path, rows: Path, tmp_path: Path, dying: Dying, output: tuple[str, tuple[str, ...]], share: int
) -> None:
    """Killed at each touch of the disk in turn and resumed, int8 output has one digest, for every format."""
    out = tmp_path / output[0]
    command = _command(single, rows, out, *output[1])
    whole = dying(command)
    assert whole.code == 0, whole.stderr
    assert whole.touches > 40
    expected = _digest(out)
    _remove(out)
    for moment in range(1 + share, whole.touches + 1, SHARES):
        end = dying(command, moment=moment)
        assert end.code == KILLED, f"moment {moment} of {whole.touches}: {end.stderr}"
        end = dying([*command, "--resume"])
        assert end.code == 0, f"moment {moment} of {whole.touches}: {end.stderr}"
        assert _digest(out) == expected, f"moment {moment} of {whole.touches}"
        assert not list(tmp_path.glob(".*"))
        _remove(out)


@pytest.mark.parametrize(("name", "more"), [FORMATS[0], FORMATS[-1]])
def test_repeated_death(
    single: Path, rows: Path, tmp_path: Path, dying: Dying, name: str, more: tuple[str, ...]
) -> None:
    """A job that dies again and again, each time a little later, ends with the bytes of one that never died."""
    out = tmp_path / name
    command = _command(single, rows, out, *more)
    _undisturbed(command)
    expected = _digest(out)
    _remove(out)
    for moment in (9, 21):
        assert dying([*command, "--resume"], moment=moment).code == KILLED
    _undisturbed([*command, "--resume"])
    assert _digest(out) == expected


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_twenty_kills_by_the_clock(single: Path, tmp_path: Path, dying: Dying, suffix: str) -> None:
    """Twenty kill -9 at random times, then one digest."""
    rows = write_csv(tmp_path / "in.csv", bundles.texts(4000))
    whole, out = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    assert dying(_command(single, rows, whole)).code == 0
    command = _command(single, rows, out, "--resume")
    generator, kills = random.Random(0), 0
    while kills < 20:
        end = dying(command, seconds=generator.uniform(0.05, 0.5))
        assert end.code in (0, KILLED), end.stderr
        if end.code == 0:
            assert out.read_bytes() == whole.read_bytes()
            _remove(out)
        kills += end.code == KILLED
    assert dying(command).code == 0
    assert out.read_bytes() == whole.read_bytes()


def test_resume_of_nothing_and_of_everything(single: Path, rows: Path, tmp_path: Path) -> None:
    """--resume begins a job that never began, and leaves one that is finished as it is."""
    first = score(single, rows, out=tmp_path / "out.csv", resume=True)
    before = (tmp_path / "out.csv").stat()
    again = score(single, rows, out=tmp_path / "out.csv", resume=True)
    assert again["sha256"] == first["sha256"] == hashlib.sha256((tmp_path / "out.csv").read_bytes()).hexdigest()
    after = (tmp_path / "out.csv").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.fixture
def interrupted(single: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job that was stopped half way."""
    end, ended = WindowScorer.end, [0]

    def stopped(*arguments: Any) -> ScoredWindow:
        ended[0] += 1
        if ended[0] == 3:
            raise KeyboardInterrupt
        return end(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(WindowScorer, "end", stopped)
        with pytest.raises(KeyboardInterrupt):
            score(single, rows, out=tmp_path / "out.csv", window=32)
    return tmp_path / "out.csv"


def test_unfinished_work_is_not_overwritten(single: Path, rows: Path, interrupted: Path) -> None:
    """Without --resume an unfinished job stands in the way, and stays as it is."""
    work = interrupted.parent / ".out.csv.job" / "rows-00000"
    before = work.read_bytes()
    with pytest.raises(InputError, match="unfinished job") as error:
        score(single, rows, out=interrupted, window=32)
    assert "--resume" in str(error.value)
    assert work.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"precision": "int8"}, "precision"),
        ({"window": 16}, "window"),
        ({"probabilities": True}, "probabilities"),
        ({"prefix": "x_"}, "prefix"),
    ],
)
def test_another_setting_is_refused(
    single: Path, rows: Path, interrupted: Path, change: dict[str, object], named: str
) -> None:
    """A resume with another setting is refused, and the setting is named."""
    with pytest.raises(InputError, match=f"{named} differs"):
        score(single, rows, out=interrupted, resume=True, **{"window": 32, **change})


def test_another_bundle_or_input_is_refused(single: Path, multi: Path, rows: Path, interrupted: Path) -> None:
    """A resume with another bundle, or after the input changed, is refused."""
    with pytest.raises(InputError, match="differs"):
        score(multi, rows, out=interrupted, window=32, resume=True)
    with rows.open("a") as file:
        file.write("200,one more\n")
    with pytest.raises(InputError, match="input 0 differs"):
        score(single, rows, out=interrupted, window=32, resume=True)


@pytest.mark.parametrize("resume", [True, False])
def test_two_jobs_on_one_output(single: Path, rows: Path, interrupted: Path, resume: bool) -> None:
    """While one process writes an output, a second is refused, and not told to remove the work of the first."""
    with (interrupted.parent / ".out.csv.job" / "lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process"):
            score(single, rows, out=interrupted, window=32, resume=resume)
    report = score(single, rows, out=interrupted, window=32, resume=True)
    assert report["rows_read"] == 200


def test_input_that_changes_under_the_job(
    single: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An input that changes while it is read ends the job, and no output appears."""
    end = WindowScorer.end

    def touch(*arguments: Any) -> ScoredWindow:
        rows.touch()
        return end(*arguments)

    monkeypatch.setattr(WindowScorer, "end", touch)
    time.sleep(0.01)
    with pytest.raises(InputError, match="changed while it was read"):
        score(single, rows, out=tmp_path / "out.csv", window=16)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("name", ["out.csv.report.json", "out.csv.errors.jsonl"])
def test_a_report_of_another_that_appears_under_the_job_is_kept(
    single: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What somebody puts under the name of the report or the side file while a job runs is no more replaced than an
    output is.
    """
    end = WindowScorer.end

    def put(*arguments: Any) -> ScoredWindow:
        (tmp_path / name).write_text("mine", encoding="utf-8")
        return end(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(WindowScorer, "end", put)
        with pytest.raises(InputError, match="exists already"):
            score(single, rows, out=tmp_path / "out.csv", window=16)
    assert (tmp_path / name).read_text(encoding="utf-8") == "mine"
    (tmp_path / name).unlink()
    assert score(single, rows, out=tmp_path / "out.csv", window=16, resume=True)["rows_read"] == 200


def test_work_that_is_removed_under_the_job(
    single: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A work folder that a cleaner takes away ends the job without a word of room or of kept rows, and --resume begins
    anew.
    """
    end = WindowScorer.end

    def remove(*arguments: Any) -> ScoredWindow:
        shutil.rmtree(tmp_path / ".out.csv.job", ignore_errors=True)
        return end(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(WindowScorer, "end", remove)
        with pytest.raises(ClassifactError, match="what removed it"):
            score(single, rows, out=tmp_path / "out.csv", window=16)
    assert score(single, rows, out=tmp_path / "out.csv", window=16, resume=True)["rows_read"] == 200


def test_parts(single: Path, rows: Path, tmp_path: Path) -> None:
    """A folder of parts holds all rows in order, each part closed at the window that filled it, with a digest each."""
    whole = score(single, rows, out=tmp_path / "whole.csv", window=32)
    report = score(single, rows, out=tmp_path / "out.csv", window=32, part_rows=60)
    parts = sorted((tmp_path / "out.csv").iterdir())
    assert [len(read_csv(part)) for part in parts] == [63, 63, 64, 7]
    found = [row for part in parts for row in read_csv(part)]
    assert found == read_csv(tmp_path / "whole.csv")
    assert report["sha256"] == {part.name: hashlib.sha256(part.read_bytes()).hexdigest() for part in parts}
    assert report["rows_scored"] == whole["rows_scored"]


def test_raised_bound_resumes(single: Path, rows: Path, tmp_path: Path) -> None:
    """A job that --max-errors ended goes on under a higher bound and counts every row once."""
    expected = score(single, rows, out=tmp_path / "whole.csv", window=32)
    with pytest.raises(Exception, match="too many rows"):
        score(single, rows, out=tmp_path / "out.csv", window=32, max_errors=ErrorBound.parse("1"))
    report = score(single, rows, out=tmp_path / "out.csv", window=32, resume=True)
    same = ("sha256", "errors_sha256", "rows_read", "rows_scored", "rows_rejected", "reasons", "tokens")
    assert {name: report[name] for name in same} == {name: expected[name] for name in same}
    assert json.loads((tmp_path / "out.csv.report.json").read_text())["rows_read"] == 200
