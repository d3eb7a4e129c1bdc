"""Trackers, started by name through Accelerate: what a run tells them, read back from what they wrote."""

import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.trainer import runs
from trainer.contract.errors import InputError
from trainer.recipes.file import load
from trainer.run_folder.trackers import check_trackers
from trainer.stages import train
from trainer.training import TrainJob

needs_wandb = pytest.mark.skipif(
    importlib.util.find_spec("wandb") is None,
    reason="wandb is not installed: of the trackers lane 5's tests have TensorBoard",
)
ONE_EPOCH = [{"epochs": 1, "batch": {"rows": 16}, "optimizer": {"learning_rate": 1.0e-2}}]


def track(folder: Path, name: str) -> Path:
    """A run of one epoch with one tracker."""
    recipe = runs.write_recipe(folder, tracking=[name], stages=ONE_EPOCH, name="a run/of mine")
    train(TrainJob(recipe=load(recipe), out=folder / "run", quiet=True))
    return folder / "run"


def test_tensorboard_holds_the_same_losses_as_the_log(tmp_path: Path) -> None:
    """The event file, read back, has every step's loss and the validation figures under names that do not collide; the
    recipe's values are beside it, without the folders that its files lie in.
    """
    run = track(tmp_path, "tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415 -- slow

    events = EventAccumulator(str(run / "trackers" / "a_run_of_mine"))
    events.Reload()
    assert [path.name for path in (run / "trackers").iterdir()] == ["a_run_of_mine"]
    steps, evaluations = runs.log(run, "step"), runs.log(run, "evaluation")
    found = {event.step: event.value for event in events.Scalars("train/loss")}
    assert found == pytest.approx({line["step"]: line["loss"] for line in steps}, rel=1e-6)
    assert [event.value for event in events.Scalars("validation/f1")] == pytest.approx(
        [line["f1"] for line in evaluations]
    )
    told = b"".join(path.read_bytes() for path in (run / "trackers").rglob("*") if path.is_file())
    assert b"rows.csv" in told
    assert str(tmp_path).encode() not in told


@needs_wandb
def test_wandb_offline_needs_no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In offline mode the run directory holds wandb's own record of the run, with the recipe's values in it."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = track(tmp_path, "wandb")
    offline = list((run / "trackers" / "wandb").glob("offline-run-*"))
    assert len(offline) == 1
    [record] = offline[0].glob("*.wandb")
    # wandb's own process writes it, and may be a moment behind ours.
    deadline, names = time.monotonic() + 30, [b"train/loss", b"validation/f1", b"stages.0.optimizer.learning_rate"]
    while (missing := [name for name in names if name not in record.read_bytes()]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert missing == []


def test_mlflow_holds_the_same_losses_as_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where mlflow is installed, its store has a run of our name with every step's loss and the recipe's values."""
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    run = track(tmp_path, "mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    [experiment] = [found for found in client.search_experiments() if found.name == "a_run_of_mine"]
    [record] = client.search_runs([experiment.experiment_id])
    assert record.info.run_name == "run"
    assert float(record.data.params["stages.0.optimizer.learning_rate"]) == 1.0e-2
    losses = {point.step: point.value for point in client.get_metric_history(record.info.run_id, "train/loss")}
    assert losses == pytest.approx({line["step"]: line["loss"] for line in runs.log(run, "step")})


def test_trackio_holds_the_same_losses_as_the_log(tmp_path: Path) -> None:
    """Where trackio is installed, its database has every step's loss; only its farewell comes behind our result."""
    pytest.importorskip("trackio")
    recipe = runs.write_recipe(tmp_path, tracking=["trackio"], stages=ONE_EPOCH, name="a run/of mine")
    process = subprocess.run(
        [sys.executable, "trainer/run.py", "--config", str(recipe), "--out", str(tmp_path / "run"), "--quiet"],
        cwd=runs.ROOT,
        env={**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio")},
        capture_output=True,
        text=True,
        check=True,
    )
    [result] = [line for line in process.stdout.splitlines() if "Run finished" not in line][-1:]
    assert json.loads(result)["checkpoint"]
    assert "Created new run" not in process.stdout
    [database] = (tmp_path / "trackio").glob("a_run_of_mine*.db")
    with closing(sqlite3.connect(database)) as connection:
        lines = [(step, json.loads(line)) for step, line in connection.execute("select step, metrics from metrics")]
    expected = {line["step"]: line["loss"] for line in runs.log(tmp_path / "run", "step")}
    assert {step: line["train/loss"] for step, line in lines if "train/loss" in line} == pytest.approx(expected)


def test_a_missing_tracker_gives_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracker that is not installed is an error before anything is read, with the pip line."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mlflow" else object())
    check_trackers(("trackio",))
    with pytest.raises(InputError, match="not installed") as error:
        check_trackers(("mlflow",))
    assert "pip install mlflow" in str(error.value)


def test_an_unknown_tracker_gets_the_nearest_name(tmp_path: Path) -> None:
    """A misspelt tracker is refused, and no run directory is left behind."""
    recipe = runs.write_recipe(tmp_path, tracking=["wandbb"])
    with pytest.raises(InputError, match="unknown tracker") as error:
        train(TrainJob(recipe=load(recipe), out=tmp_path / "run", quiet=True))
    assert "did you mean 'wandb'?" in str(error.value)
    assert not (tmp_path / "run").exists()


@needs_wandb
def test_a_tracker_that_does_not_start_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a tracker's own start raises (no account, say) becomes an error that names the tracker."""
    import wandb  # noqa: PLC0415 -- slow

    def refuse(**_: object) -> None:
        raise wandb.errors.UsageError("no API key configured")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(InputError, match="does not start") as error:
        track(tmp_path, "wandb")
    assert "no API key" in str(error.value)
    assert "WANDB_MODE=offline" in str(error.value)
