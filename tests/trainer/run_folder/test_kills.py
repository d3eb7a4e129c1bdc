"""Runs that are killed without warning, at a step or in the middle of saving, and go on under the same command."""

import json
import random
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.trainer import runs
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import ClassifactError, InputError
from trainer.network.load import open_checkpoint
from trainer.recipes.file import load
from trainer.run_folder.folder import RUN_LOCK, locked
from trainer.run_folder.track import Track
from trainer.stages import train
from trainer.training import TrainJob

# Steps of the recipe below, and a third of the files and folders that its first process syncs.
STEPS, SYNCS = 21, 50
STAGE = {"evaluate_every": 4, "batch": {"rows": 8, "tokens": 48}}
STAGES = [
    # Accumulation (48 padded tokens of a batch of 8 rows), evaluations within the epoch, dropout.
    {**STAGE, "epochs": 2, "optimizer": {"learning_rate": 1e-3}},
    {**STAGE, "epochs": 1, "optimizer": {"learning_rate": 5e-4}, "freeze": {"embeddings": True, "keep_last_layers": 1}},
]
CONFIGS = {1: "cpu", 2: "two_cpu_processes", 3: "two_cpu_processes"}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of two stages with dropout."""
    return runs.write_recipe(tmp_path_factory.mktemp("kills"), rows=90, stages=STAGES)


@pytest.fixture(scope="module")
def one(recipe: Path) -> Path:
    """The uninterrupted run of one process."""
    train(TrainJob(recipe=load(recipe), out=recipe.parent / "one", quiet=True))
    return recipe.parent / "one"


@pytest.fixture(scope="module")
def two(recipe: Path) -> Path:
    """The uninterrupted run of two processes."""
    finished(recipe, recipe.parent / "two", processes=2)
    return recipe.parent / "two"


def finished(recipe: Path, out: Path, *more: str, processes: int) -> None:
    """Launch a run that must end well."""
    options = ("--num_processes", str(processes))
    process = runs.launch(CONFIGS[processes], recipe, out, "--quiet", *more, options=options)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors


def killed(recipe: Path, out: Path, die: str, *, processes: int, more: tuple[str, ...] = ()) -> None:
    """Launch a run that must not."""
    options = ("--num_processes", str(processes))
    process = runs.launch(CONFIGS[processes], recipe, out, "--quiet", *more, options=options, die=die)
    _, errors = process.communicate(timeout=200)
    assert process.returncode != 0, errors
    assert not (out / "metrics.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("what", ["step", "sync"])
def test_killed_at_any_instant_a_run_ends_as_if_it_had_not_been(
    recipe: Path, request: pytest.FixtureRequest, tmp_path: Path, processes: int, what: str
) -> None:
    """Killed three times, at places drawn at random (steps of both stages, or the middle of what is saved), and resumed
    by the same command, a run of one or two processes ends with the same weights and log.
    """
    whole: Path = request.getfixturevalue("one" if processes == 1 else "two")
    draw = random.Random(f"{what} {processes}")
    # The first place is the start: there is nothing to go on from yet, and the command starts anew.
    for number in [1, *sorted(draw.sample(range(2, STEPS if what == "step" else SYNCS), 2))]:
        killed(recipe, tmp_path / "run", f"{what}:{number}", processes=processes, more=("--resume",))
    finished(recipe, tmp_path / "run", "--resume", processes=processes)
    assert runs.final_weights(tmp_path / "run") == runs.final_weights(whole)
    for kind in ("step", "evaluation"):
        assert losses(tmp_path / "run", kind) == losses(whole, kind)
    assert Checkpoint.best(tmp_path / "run").path.name == Checkpoint.best(whole).path.name
    Checkpoint.best(tmp_path / "run").verify()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_processes_add_up_alike_after_a_kill(recipe: Path, tmp_path: Path) -> None:
    """Three numbers have sums of several roundings, two have one: a resumed run of three processes adds its gradients
    up in the order of the run that was not killed.
    """
    finished(recipe, tmp_path / "whole", processes=3)
    killed(recipe, tmp_path / "run", "step:6", processes=3)
    finished(recipe, tmp_path / "run", "--resume", processes=3)
    assert runs.final_weights(tmp_path / "run") == runs.final_weights(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path, before: int, after: int) -> None:
    """Killed on two processes and resumed on one, or the other way round, a run takes the same optimizer batches (each
    has the loss of its own rows) to the same weights up to rounding.
    """
    # AdamW's default epsilon makes whole steps of rounding where a weight has no gradient (a key's bias).
    stages = [{**stage, "optimizer": {"learning_rate": 1e-3, "epsilon": 1e-4}} for stage in STAGES]
    recipe = runs.write_recipe(
        tmp_path, rows=90, model={"name": str(tmp_path / "encoder"), "dropout": 0.0}, stages=stages
    )
    train(TrainJob(recipe=load(recipe), out=tmp_path / "one", quiet=True))
    killed(recipe, tmp_path / "run", "step:10", processes=before)
    finished(recipe, tmp_path / "run", "--resume", processes=after)
    assert losses(tmp_path / "run", "step") == pytest.approx(losses(tmp_path / "one", "step"), rel=1e-5)
    assert runs.weights_apart(tmp_path / "run", tmp_path / "one") < 1e-5


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_sigterm_saves_a_launched_run_within_seconds(recipe: Path, two: Path, tmp_path: Path) -> None:
    """Where the launcher is told to end, both processes finish their step, the first saves, and all are gone within
    seconds; the resumed run ends with the same weights.
    """
    out = tmp_path / "run"
    process = runs.launch("two_cpu_processes", recipe, out)
    after_two_steps(process, out)
    process.send_signal(signal.SIGTERM)
    told = time.monotonic()
    _, errors = process.communicate(timeout=100)
    assert time.monotonic() - told < 20
    assert process.returncode != 0
    assert "interrupted; the run is saved" in errors
    saved = json.loads((out / "resume" / "current.json").read_text())["folder"]
    assert int(saved[-6:]) == max(line["step"] for line in runs.log(out, "step"))
    finished(recipe, out, "--resume", processes=2)
    assert runs.final_weights(out) == runs.final_weights(two)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_whose_launcher_is_killed_saves_and_ends(
    recipe: Path, request: pytest.FixtureRequest, tmp_path: Path, processes: int
) -> None:
    """Where the launcher alone is killed, its processes notice, save and end; the resumed run ends with the same
    weights.
    """
    out = tmp_path / "run"
    process = runs.launch(CONFIGS[processes], recipe, out)
    after_two_steps(process, out)
    process.kill()
    # The pipe closes when the last of its processes is gone.
    _, errors = process.communicate(timeout=100)
    assert "interrupted; the run is saved" in errors
    finished(recipe, out, "--resume", processes=processes)
    assert runs.final_weights(out) == runs.final_weights(request.getfixturevalue("one" if processes == 1 else "two"))


def after_two_steps(process: subprocess.Popen[str], out: Path) -> None:
    """Wait until a launched run has logged two steps."""
    deadline = time.monotonic() + 150
    while not (out / "metrics.jsonl").exists() or len((out / "metrics.jsonl").read_bytes().splitlines()) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.001)


def test_a_run_that_another_process_works_in_is_left_alone(recipe: Path, one: Path, tmp_path: Path) -> None:
    """Where the processes of a killed launcher are still at work, --resume is refused instead of writing beside them;
    when they are gone it goes on.
    """
    out = tmp_path / "run"
    shutil.copytree(one, out)
    (out / "metrics.json").unlink()
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with locked(out / RUN_LOCK), pytest.raises(InputError, match="another process works in this folder"):
        train(TrainJob(recipe=load(recipe), out=out, resume=True, quiet=True))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    train(TrainJob(recipe=load(recipe), out=out, resume=True, quiet=True))
    assert (out / "metrics.json").exists()


def test_a_disk_that_fills_up_later_loses_nothing(
    recipe: Path, one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk is full after some saves, the run ends with an error of ours, the earlier checkpoint and state are
    whole, and with room again it goes on to the same weights.
    """
    step, limits = Track.step, resource.getrlimit(resource.RLIMIT_FSIZE)

    def then_full(self: Track, place: dict[str, int], values: dict[str, float], tokens: int) -> None:
        step(self, place, values, tokens)
        if place["step"] == 6:
            resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))

    with monkeypatch.context() as patch:
        patch.setattr(Track, "step", then_full)
        try:
            stopped(recipe, tmp_path / "run")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert resumed(recipe, tmp_path / "run") == runs.final_weights(one)


def test_a_folder_that_cannot_be_written_loses_nothing(
    recipe: Path, one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where the run's folders take no new ones any more."""
    step, mkdir = Track.step, Path.mkdir

    def then_closed(self: Track, place: dict[str, int], values: dict[str, float], tokens: int) -> None:
        step(self, place, values, tokens)
        if place["step"] == 6:
            patch.setattr(Path, "mkdir", refused)

    def refused(self: Path, mode: int = 0o777, *, parents: bool = False, exist_ok: bool = False) -> None:
        if not self.exists():
            raise PermissionError(13, "Permission denied", str(self))
        mkdir(self, mode, parents=parents, exist_ok=exist_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Track, "step", then_closed)
        stopped(recipe, tmp_path / "run")
    assert resumed(recipe, tmp_path / "run") == runs.final_weights(one)


def stopped(recipe: Path, out: Path) -> None:
    """Train until the disk refuses; what was saved before is whole, and nothing half written stays."""
    with pytest.raises((ClassifactError, OSError)):
        train(TrainJob(recipe=load(recipe), out=out, quiet=True))
    best = Checkpoint.best(out)
    best.verify()
    assert best.step == 4
    open_checkpoint(best.path)
    current = out / "resume" / json.loads((out / "resume" / "current.json").read_text())["folder"]
    assert json.loads((current / "progress.json").read_text())["step"] == 4
    assert list(out.rglob("*.partial")) == []


def resumed(recipe: Path, out: Path) -> str:
    """The hash of the weights that the same command ends with, once there is room again."""
    train(TrainJob(recipe=load(recipe), out=out, resume=True, quiet=True))
    return runs.final_weights(out)


def losses(run: Path, kind: str) -> list[float]:
    """The losses that a run logged."""
    return [line["loss"] for line in runs.log(run, kind)]
