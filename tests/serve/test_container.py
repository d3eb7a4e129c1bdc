"""Scoring as a container runs it: a read-only root, no HOME, a user id without a name, one folder to write to."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import serve.operations.tune
from export.bundle import Bundle
from serve.operations.tune import cache_path, cached, tune
from serve.scoring.settings import ScorerOptions
from tests import container
from tests.serve import bundles
from tests.serve.helpers import write_csv

# The command line, with tuning that takes no time.
SERVE = ("-c", "import serve.operations.tune as tune; tune._SECONDS = 0.01; from serve.cli import main; main()")
inside = pytest.mark.skipif(not container.allowed(), reason="needs root, unshare --mount and setpriv")


@pytest.fixture
def writable(tmp_path: Path) -> Path:
    """The one folder that a container may write to."""
    folder = tmp_path / "writable"
    folder.mkdir()
    return folder


@inside
def test_the_container_is_one(writable: Path) -> None:
    """Inside there is neither a home nor a name, and nothing but one folder can be written."""
    code = (
        "import os, pwd, pathlib\n"
        "for act in (lambda: pathlib.Path.home(), lambda: pwd.getpwuid(os.getuid()), lambda: open('x', 'w'),\n"
        "            lambda: open('/tmp/x', 'w'), lambda: open('/mnt/out/x', 'w')):\n"
        "    try: act(); print('done')\n"
        "    except Exception as error: print(type(error).__name__)\n"
    )
    done = container.run(["-c", code], writable)
    assert done.stdout.split() == ["RuntimeError", "KeyError", "OSError", "OSError", "done"], done.stderr


@inside
@pytest.mark.parametrize("suffix", ["csv", pytest.param("parquet", marks=pytest.mark.slow)])
def test_a_tuned_job(single: Path, writable: Path, suffix: str) -> None:
    """A job that tunes itself scores every row; that its settings cannot be kept costs one line."""
    # Mounted under another name, which tells no format.
    rows = write_csv(writable.parent / "in.csv", bundles.texts(60))
    job = ["score", single, rows, "--format", "csv", "--out", container.OUT / f"out.{suffix}", "--tuned"]
    done = container.run([*SERVE, *job], writable)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["rows_scored"] == 60
    (line,) = [line for line in done.stderr.splitlines() if "not kept" in line]
    assert "for next time (this user has no home); XDG_CACHE_HOME" in line
    assert all(line.startswith("tuning: ") for line in done.stderr.splitlines())


def test_nothing_is_kept_in_a_home(single: Path, tmp_path: Path) -> None:
    """Scoring, and what an export opens its sessions by, leave a home as it was: no cache, and no id for the telemetry
    of ONNX Runtime.
    """
    for code in (
        "from serve import Scorer; import sys; print(Scorer.open(sys.argv[1]).predict(['a']))",
        "from pathlib import Path; import sys; from export.proof.runtime import open_session\n"
        "print(open_session(Path(sys.argv[1]) / 'onnx' / 'model.onnx'))",
    ):
        subprocess.run(
            [sys.executable, "-c", code, str(single)],
            cwd=Path(__file__).parents[2],
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
            check=True,
            capture_output=True,
        )
    assert list(tmp_path.rglob("*")) == []


@inside
@pytest.mark.parametrize("home", ["/nonexistent", pytest.param("/proc", marks=pytest.mark.slow)])
def test_a_home_that_takes_nothing(single: Path, writable: Path, home: str) -> None:
    """A HOME that is not there or read-only costs one line, too, in `tune` itself; its settings are printed."""
    done = container.run([*SERVE, "tune", single], writable, HOME=home)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["cache"] is None
    (line,) = [line for line in done.stderr.splitlines() if "not kept" in line]
    assert line.startswith("the settings are not kept for next time (")


@inside
def test_a_cache_that_can_be_written_is(single: Path, writable: Path) -> None:
    """XDG_CACHE_HOME names a folder for the settings, and they are found there again."""
    rows = write_csv(writable.parent / "in.csv", bundles.texts(40))
    for tunes in (True, False):
        done = container.run(
            [*SERVE, "score", single, rows, "--format", "csv", "--out", "-", "--tuned"],
            writable,
            XDG_CACHE_HOME=str(container.OUT / "cache"),
        )
        assert done.returncode == 0, done.stderr
        assert ("tuning" in done.stderr) is tunes


@inside
@pytest.mark.parametrize(
    "command",
    [
        ["check"],
        ["doctor"],
        *(pytest.param(name, marks=pytest.mark.slow) for name in (["bench"], ["score", "--dry-run"])),
    ],
)
def test_the_other_commands(single: Path, writable: Path, command: list[str]) -> None:
    """check, bench, a dry run and the doctor need no home either."""
    rows = write_csv(writable.parent / "in.csv", bundles.texts(40))
    read = [single, rows, "--format", "csv"]
    given = {"check": [single], "bench": read, "score": [*read, "--out", container.OUT / "o.csv"]}
    done = container.run([*SERVE, *command, *given.get(command[0], [])], writable)
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tuning that takes no time."""
    monkeypatch.setattr(serve.operations.tune, "_rate", lambda *_: 1.0)


def _fails(error: Exception) -> object:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.usefixtures("quick")
def test_whatever_goes_wrong_with_the_cache_is_a_line(
    single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No home, no permission, a full disk and a file in the way: settings are found all the same, at one line."""
    bundle, given = Bundle.open(single), ScorerOptions(workers=1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "file").write_text("")
    ways = [
        lambda: monkeypatch.setattr(
            serve.operations.tune, "write_json", _fails(OSError(28, "No space left on device"))
        ),
        lambda: monkeypatch.setattr(Path, "mkdir", _fails(PermissionError(13, "Permission denied"))),
        lambda: monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file")),
        lambda: (monkeypatch.delenv("XDG_CACHE_HOME"), monkeypatch.setattr(Path, "home", _fails(RuntimeError("no")))),
    ]
    for way in ways:
        with monkeypatch.context() as patch:
            del patch
            way()
            said: list[str] = []
            assert tune(bundle, given, ["a", "b"], say=said.append).batch_tokens == bundles.BATCH_TOKENS
            assert sum("not kept" in line for line in said) == 1
            assert cached(bundle, given) is None


@pytest.mark.parametrize(
    "content",
    ["", "[]", "null", '{"batch_tokens": "many"}', '{"batch_tokens": 0, "workers": 1, "threads": 1, "arena": true}'],
)
def test_a_cache_of_another_mind_is_none(
    single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    """A damaged cache, one of another version and one whose settings cannot be count as none; so does a folder, or a
    file that this user may not read.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bundle, given = Bundle.open(single), ScorerOptions(workers=1)
    path = cache_path(bundle, given)
    assert path is not None
    path.parent.mkdir()
    path.write_text(content.replace("}", ', "tokens_per_second": 1.0}') if "true" in content else content)
    assert cached(bundle, given) is None
    path.unlink()
    path.mkdir()
    assert cached(bundle, given) is None
