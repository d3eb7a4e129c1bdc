"""The loop as users start it: `accelerate launch`, on one process and on two, killed and resumed."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState

from tests.trainer import runs
from trainer.contract.errors import ClassifactError
from trainer.evaluate import MeasureJob, measure
from trainer.processes.launch import LaunchJob, launch
from trainer.processes.start import check_world, fitting_precision
from trainer.recipes.file import load
from trainer.run_folder.keeper import Interrupted
from trainer.stages import train
from trainer.training import TrainJob


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
        mine, theirs = found.pop("constant"), line.pop("constant")
        assert {**mine, "loss": 0} == {**theirs, "loss": 0}
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-3)
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


# In this process, and later in a run, it is tests/trainer/run_folder/test_kills.py.
@pytest.mark.slow
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


@pytest.mark.parametrize("quiet", [(), pytest.param(("--quiet",), marks=pytest.mark.slow)])
def test_bf16_where_the_processor_has_none(recipe: Path, one: Path, tmp_path: Path, quiet: tuple[str, ...]) -> None:
    """On a processor whose oneDNN has AVX2 at most, the launch config for CPUs trains in fp32 as it stands: one line on
    standard error says so unless it is to be quiet, the run records it, and the losses are those of a launch that
    asked for fp32.
    """
    masked = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    process = runs.launch(
        "cpu", recipe, tmp_path / "run", *quiet, options=("--mixed_precision", "bf16"), environment=masked
    )
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    said = [line for line in errors.splitlines() if "has no instructions" in line]
    assert len(said) == (0 if quiet else 1)
    assert all("precision fp32: bf16, which the launch config asks for" in line for line in said)
    assert "instructions" not in output
    assert [line["precision"] for line in json.loads(output.splitlines()[-1])["launches"]] == ["fp32"]
    # Other kernels round otherwise; in bf16 the losses would be apart by more than 1e-3.
    losses = [[line["loss"] for line in runs.log(run, "step")] for run in (tmp_path / "run", one)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_resume_in_another_precision_says_so(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that begins on a processor with bf16 and goes on where there is none changes its precision in one line, and
    keeps both launches.
    """
    out = tmp_path / "run"
    monkeypatch.setattr("trainer.processes.start.cpu_has_bf16", lambda: True)
    with launched_in("bf16", monkeypatch), pytest.raises(Interrupted):
        train(TrainJob(recipe=load(recipe), out=out, quiet=True, watch=stop_soon))
    monkeypatch.setattr("trainer.processes.start.cpu_has_bf16", lambda: False)
    errors = io.StringIO()
    with launched_in("bf16", monkeypatch), redirect_stderr(errors):
        result = train(TrainJob(recipe=load(recipe), out=out, resume=True))
    saved = result["launches"][1]["step"]
    assert [(line["precision"], line["step"]) for line in result["launches"]] == [("bf16", 0), ("fp32", saved)]
    assert saved > 0
    assert f"the run was trained in bf16 up to step {saved}, and is in fp32 from here on" in errors.getvalue()
    assert errors.getvalue().count("has no instructions") == 1


def test_a_launch_that_left_no_step_is_forgotten(recipe: Path, tmp_path: Path) -> None:
    """Where a run was killed before its first save, what it was trained in is no part of it."""
    out = tmp_path / "run"

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(TrainJob(recipe=load(recipe), out=out, quiet=True, watch=die))
    assert len(runs.log(out, "launch")) == 1
    result = train(TrainJob(recipe=load(recipe), out=out, resume=True, quiet=True))
    assert [line["step"] for line in result["launches"]] == [0]


def test_all_processes_take_the_precision_that_each_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """One processor without bf16 in a launch is enough for fp32; where bf16 was not asked for, nothing changes."""
    state = types.SimpleNamespace(device=torch.device("cpu"), num_processes=2)
    monkeypatch.setattr("trainer.processes.start.cpu_has_bf16", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda flag, _: flag.fill_(0.0))
    for asked, expected in (("bf16", "no"), ("fp16", "fp16"), ("no", "no")):
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", asked)
        assert fitting_precision(state) == expected


def test_a_gpu_without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that would emulate bf16 trains in fp32 too."""
    asked = []
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **given: bool(asked.append(given)))
    monkeypatch.setattr(torch, "tensor", lambda value, **_: torch.ones(()) * value)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert fitting_precision(types.SimpleNamespace(device=torch.device("cuda"), num_processes=1)) == "no"
    assert asked == [{"including_emulation": False}]


def test_figures_are_of_fp32_under_a_launch_too(one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`evaluate` under a launch config that asks for bf16 gives the digits of one that nobody launched."""
    found = []
    for precision in ("no", "bf16"):
        run = tmp_path / precision
        shutil.copytree(one, run)
        with launched_in(precision, monkeypatch):
            measure(MeasureJob(run=run))
        found.append((run / "test_predictions.jsonl").read_bytes())
    assert found[0] == found[1]


@pytest.mark.parametrize(("cores", "expected"), [(None, "3"), (2, None)])
def test_a_machine_that_does_not_tell_of_its_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, expected: str | None
) -> None:
    """Where the number of cores is not told, Accelerate's launcher, which would divide it, gets a number of threads;
    elsewhere it chooses for itself.
    """
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr("psutil.cpu_count", lambda **_: cores)
    monkeypatch.setattr("trainer.processes.launch.cpu_count", lambda: 3)
    started: list[str | None] = []
    monkeypatch.setattr(
        "trainer.processes.launch.launch_command", lambda _: started.append(os.environ.get("OMP_NUM_THREADS"))
    )
    launch(LaunchJob(words=("--config", "x"), config="cpu"))
    assert started == [expected]


def stop_soon(*_: object) -> None:
    """Ask for an end as a user does, after the first evaluation."""
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def launched_in(precision: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As a process of a launch in that precision; Accelerate, which keeps the first one it meets, forgets it after."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", precision)
    AcceleratorState._reset_state()
    try:
        yield
    finally:
        AcceleratorState._reset_state()


def runs_lines(out: Path) -> list[bytes]:
    """The lines of the log so far, whole or not."""
    return (out / "metrics.jsonl").read_bytes().splitlines()
