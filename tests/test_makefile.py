"""What `make demo` does, as make itself plans it: nothing is run."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MADE = (
    "runs/sms_spam/metrics.json",
    "runs/sms_spam/test_metrics.json",
    "bundles/sms_spam/manifest.json",
    "scores/sms_spam.csv",
    "runs/sms_spam/report.html",
)
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """The files that make looks at, with an environment that is set up."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy2(ROOT / name, tmp_path)
    touch(tmp_path / ".venv" / ".setup")
    return tmp_path


def touch(path: Path) -> None:
    """An empty file, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def planned(desk: Path) -> list[str]:
    """The commands that `make demo` would run."""
    # `make test` hands its own flags and level down, and a make below another says which folder it enters and leaves.
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run(["make", "-n", "demo"], cwd=desk, env=alone, capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()


def test_an_interrupted_demo_goes_on(desk: Path) -> None:
    """From nothing: train, evaluate, export, check, score, report, the summary; what takes long is told to resume."""
    commands = planned(desk)
    words = [line.partition("classifact ")[2].split() for line in commands]
    assert [line[0] for line in words if line] == ["train", "evaluate", "export", "check", "score", "report"]
    assert all("--resume" in line for line in words if line and line[0] in ("train", "score"))
    assert "summary.py" in commands[-1]


@pytest.mark.parametrize("done", range(len(MADE) + 1))
def test_a_second_demo_reuses_what_is_done(desk: Path, done: int) -> None:
    """With the first so many results there, in whatever order their times are, only what is missing is made."""
    for name in reversed(MADE[:done]):
        touch(desk / name)
    kept = " ".join(planned(desk))
    steps = ("classifact train", "classifact evaluate", "classifact export", "classifact score", "classifact report")
    assert [step in kept for step in steps] == [number >= done for number in range(len(MADE))]
    assert "pip install" not in kept
