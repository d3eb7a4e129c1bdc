"""The loop as users start it: `accelerate launch`, on one process and on two, killed and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.trainer import runs
from trainer.contract.errors import ClassifactError
from trainer.processes.start import check_world
from trainer.recipes.file import load
from trainer.stages import TrainJob, train


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe without dropout, whose random numbers differ between processes by design."""
    folder = tmp_path_factory.mktemp("launch")
    return runs.write_recipe(
        folder,
        rows=90,
        model={"name": str(folder / "encoder"), "dropout": 0.0},
        # Accumulation (48 padded tokens of a batch of 8 rows) and evaluations within the epoch.
        stages=[
            {"epochs": 2, "evaluate_every": 4, "batch": {"rows": 8, "tokens": 48}, "optimizer": {"learning_rate": 1e-3}}
        ],
    )


@pytest.fixture(scope="module")
def one(recipe: Path) -> Path:
    """The run of one process."""
    train(TrainJob(recipe=load(recipe), out=recipe.parent / "one", quiet=True))
    return recipe.parent / "one"


def test_two_processes_end_as_one_does(recipe: Path, one: Path) -> None:
    """Two processes take the same steps at the same learning rates, and see the same losses and metrics up to
    rounding.
    """
    two = recipe.parent / "two"
    process = runs.launch("two_cpu_processes", recipe, two, "--quiet")
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    steps, expected = runs.log(two, "step"), runs.log(one, "step")
    assert [line["learning_rate"] for line in steps] == [line["learning_rate"] for line in expected]
    assert [line["loss"] for line in steps] == pytest.approx([line["loss"] for line in expected], rel=1e-3)
    for found, line in zip(runs.log(two, "evaluation"), runs.log(one, "evaluation"), strict=True):
        assert found.pop("kind") == line.pop("kind")
        assert found == pytest.approx(line, rel=1e-3)
    assert json.loads(output.splitlines()[-1])["steps"] == len(expected)
    # Both processes read the rows; one wrote the splits.
    assert (two / "splits" / "validation.jsonl").read_bytes() == (one / "splits" / "validation.jsonl").read_bytes()


def test_kill_9_and_resume_end_with_the_same_weights(recipe: Path, one: Path) -> None:
    """A launched run that is killed without warning goes on under the same command, to the weights of one that was
    not.
    """
    out = recipe.parent / "killed"
    process = runs.launch("cpu", recipe, out)
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline and (not (out / "metrics.jsonl").exists() or len(runs_lines(out)) < 6):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (out / "metrics.json").exists()
    train(TrainJob(recipe=load(recipe), out=out, resume=True, quiet=True))
    assert runs.final_weights(out) == runs.final_weights(one)
    assert [line["loss"] for line in runs.log(out, "step")] == [line["loss"] for line in runs.log(one, "step")]


def test_processes_that_do_not_see_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two launched processes in groups of one would both train and overwrite each other: refused, with the config to
    use.
    """
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_world(2)
    with pytest.raises(ClassifactError, match="do not see each other") as error:
        check_world(1)
    assert "two_cpu_processes.yaml" in str(error.value)


def test_a_full_disk_loses_no_checkpoint(recipe: Path, one: Path, tmp_path: Path) -> None:
    """Where no file can grow past 60 kB, a run ends with an error of ours, and one saved before can still go on from
    it.
    """
    out = tmp_path / "full"
    code = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    code += "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); from trainer.cli import launched; launched()"
    arguments = ["--config", str(recipe), "--out", str(out), "--quiet"]
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=runs.ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-4].startswith("error: ")
    assert "Traceback" not in result.stderr
    assert list((out / "checkpoints").glob("*")) == []
    train(TrainJob(recipe=load(recipe), out=out, resume=True, quiet=True))
    assert runs.final_weights(out) == runs.final_weights(one)


def runs_lines(out: Path) -> list[bytes]:
    """The lines of the log so far, whole or not."""
    return (out / "metrics.jsonl").read_bytes().splitlines()
