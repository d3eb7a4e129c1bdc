"""The loop, run in this process on a tiny encoder."""

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer import runs
from trainer import loop
from trainer.batches import micro_batches, plan_epoch
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import ClassifactError, InputError
from trainer.optim import learning_rate
from trainer.recipes.file import load
from trainer.recipes.recipe import OptimizerPart
from trainer.run_folder.track import Track
from trainer.stages import train
from trainer.training import TrainJob


def fit(recipe: Path, out: Path, *, resume: bool = False) -> dict[str, Any]:
    """Train in this process, without progress lines."""
    return train(TrainJob(recipe=load(recipe), out=out, resume=resume, quiet=True))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted; its recipe lies beside it."""
    folder = tmp_path_factory.mktemp("whole")
    fit(runs.write_recipe(folder), folder / "run")
    return folder


def test_a_run_learns_and_leaves_what_the_design_names(whole: Path) -> None:
    """A finished run holds its recipe, splits, log, metrics and the best checkpoint, which is better than chance."""
    run = whole / "run"
    for name in (
        "recipe.yaml",
        "splits/validation.jsonl",
        "splits/test.jsonl",
        "metrics.jsonl",
        "metrics.json",
        "best.json",
    ):
        assert (run / name).is_file(), name
    # Test rows are cut and kept, and looked at by `evaluate` alone, which notes it here.
    assert not (run / "test_opened.jsonl").exists()
    metrics = json.loads((run / "metrics.json").read_text())
    best = Checkpoint.best(run)
    assert metrics["value"] == best.value == max(line["f1"] for line in runs.log(run, "evaluation"))
    losses = [line["loss"] for line in runs.log(run, "step")]
    assert min(losses) < losses[0]
    assert {path.name for path in best.path.iterdir()} == {
        "config.json",
        "contract.json",
        "model.safetensors",
        "golden.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_an_output_that_exists_is_refused_and_kept(whole: Path) -> None:
    """A second run into the same folder without --resume is an error, and the first run's files stay."""
    before = sorted(path.name for path in (whole / "run").iterdir())
    with pytest.raises(InputError, match="exists already"):
        fit(whole / "recipe.yaml", whole / "run")
    assert sorted(path.name for path in (whole / "run").iterdir()) == before


def test_resume_of_a_finished_run_changes_nothing(whole: Path) -> None:
    """--resume on a finished run gives its figures and writes no step."""
    steps = len(runs.log(whole / "run", "step"))
    assert fit(whole / "recipe.yaml", whole / "run", resume=True) == json.loads(
        (whole / "run" / "metrics.json").read_text()
    )
    assert len(runs.log(whole / "run", "step")) == steps


def test_resume_with_another_recipe_names_the_difference(whole: Path) -> None:
    """A run cannot go on under another recipe: the error names the key and both values."""
    changed = runs.write_recipe(whole, seed=7).rename(whole / "other.yaml")
    runs.write_recipe(whole)
    with pytest.raises(InputError, match="another recipe") as error:
        fit(changed, whole / "run", resume=True)
    assert "seed: now 7, then 42" in str(error.value)


def stopped_at(step: int, recipe: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train until a signal comes after this step."""
    plain = Track.step

    def step_then_signal(self: Track, place: dict[str, int], values: dict[str, float], tokens: int) -> None:
        plain(self, place, values, tokens)
        if place["step"] == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Track, "step", step_then_signal)
        with pytest.raises(loop.Interrupted, match="--resume"):
            fit(recipe, out)


def test_what_changes_no_statistics_may_change_on_a_resume(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an interruption a smaller token budget, another name and more checkpoints to keep are taken over, told, and
    written into the run's recipe; the micro-batches get smaller, and the steps stay the same.
    """
    stopped_at(3, whole / "recipe.yaml", tmp_path / "run", monkeypatch)
    changes = ("stages.0.batch.tokens=30", "name=other", "select.keep=9", "stages.0.gradient_checkpointing=true")
    recipe = load(whole / "recipe.yaml", changes)
    sizes: list[int] = []
    plain = loop.micro_batches
    monkeypatch.setattr(loop, "micro_batches", lambda *given, **named: sizes.append(given[2]) or plain(*given, **named))
    train(TrainJob(recipe=recipe, out=tmp_path / "run", resume=True, quiet=True))
    assert set(sizes) == {30}
    assert load(tmp_path / "run" / "recipe.yaml") == recipe
    found, expected = (runs.log(run, "step") for run in (tmp_path / "run", whole / "run"))
    # The drawn dropout is another where micro-batches are; the rows, their order and the rates are the same.
    for key in ("step", "batch", "batches", "learning_rate"):
        assert [line[key] for line in found] == [line[key] for line in expected]


def test_a_resume_tells_what_changed(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each value that differs from the run's first start is a line."""
    stopped_at(1, whole / "recipe.yaml", tmp_path / "run", monkeypatch)
    recipe = load(whole / "recipe.yaml", ("stages.0.batch.tokens=48",))
    train(TrainJob(recipe=recipe, out=tmp_path / "run", resume=True))
    assert "changed since the run began: stages.0.batch.tokens: now 48, then 64" in capsys.readouterr().err


def test_a_warm_up_longer_than_the_stage_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A rate that never gets where the recipe says is told before the first step, with the one it ends at."""
    stages = [{"epochs": 1, "batch": {"rows": 8}, "optimizer": {"learning_rate": 1e-2, "warmup": 99}}]
    recipe = runs.write_recipe(tmp_path, rows=40, stages=stages)
    train(TrainJob(recipe=load(recipe), out=tmp_path / "long"))
    said = capsys.readouterr().err
    told = "warning: the warm-up of 99 steps is longer than the stage (3): the learning rate ends at 0.0003"
    assert 0 < said.index(told) < said.index("step 1 ")
    train(TrainJob(recipe=load(recipe, ("stages.0.optimizer.warmup=3",)), out=tmp_path / "short"))
    assert "longer than the stage" not in capsys.readouterr().err


@pytest.mark.parametrize("stop_at", [1, 8, 13])
def test_a_signal_saves_and_resume_ends_with_the_same_weights(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    """SIGTERM in the middle of an epoch or at its end saves; the resumed run's last weights and log equal the whole
    run's.
    """
    stopped_at(stop_at, whole / "recipe.yaml", tmp_path / "run", monkeypatch)
    assert not (tmp_path / "run" / "metrics.json").exists()
    fit(whole / "recipe.yaml", tmp_path / "run", resume=True)
    assert runs.final_weights(tmp_path / "run") == runs.final_weights(whole / "run")
    for kind in ("step", "evaluation"):
        assert [line["loss"] for line in runs.log(tmp_path / "run", kind)] == [
            line["loss"] for line in runs.log(whole / "run", kind)
        ]


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A NaN loss ends the run with the batch's rows by file and line, and the checkpoints stay."""
    total = loop.Loss.total
    monkeypatch.setattr(loop.Loss, "total", lambda self, logits, labels: total(self, logits, labels) * math.nan)
    with pytest.raises(ClassifactError, match="not finite") as error:
        fit(whole / "recipe.yaml", tmp_path / "run")
    assert "rows.csv:" in str(error.value)


def test_running_out_of_memory_halves_the_micro_batches(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An out-of-memory error at 64 tokens goes on at 32, and the optimizer batches and the result stay the same."""
    real = loop.micro_loss

    def small_memory(job: loop.Fit, micro: loop.MicroBatch) -> torch.Tensor:
        if job.train.encoded.lengths[micro.rows].max() * len(micro.rows) > 32:
            raise torch.OutOfMemoryError
        return real(job, micro)

    monkeypatch.setattr(loop, "micro_loss", small_memory)
    recipe = runs.write_recipe(tmp_path / "same", model={"name": str(whole / "encoder"), "dropout": 0.0})
    fit(recipe, tmp_path / "small")
    monkeypatch.undo()
    fit(recipe, tmp_path / "large")
    losses = [[line["loss"] for line in runs.log(tmp_path / name, "step")] for name in ("small", "large")]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)


def test_running_out_of_memory_at_one_row_is_an_error(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a single row does not fit, the run says what to lower instead of trying for ever."""

    def no_memory(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(loop, "micro_loss", no_memory)
    with pytest.raises(ClassifactError, match="out of memory"):
        fit(whole / "recipe.yaml", tmp_path / "run")


def test_early_stopping_and_keep(tmp_path: Path) -> None:
    """Without gain for `patience` evaluations the stage ends early, and at most `keep` checkpoints stay, the best among
    them.
    """
    recipe = runs.write_recipe(
        tmp_path,
        stages=[
            {
                "epochs": 6,
                "evaluate_every": 3,
                "batch": {"rows": 8, "tokens": 64},
                "optimizer": {"learning_rate": 1e-12, "schedule": "constant", "warmup": 0},
                "early_stopping": {"patience": 2},
            }
        ],
        select={"metric": "accuracy", "keep": 1},
    )
    fit(recipe, tmp_path / "run")
    assert [line["step"] for line in runs.log(tmp_path / "run", "evaluation")] == [3, 6, 8]
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == [
        Checkpoint.best(tmp_path / "run").path.name
    ]


def test_two_stages_start_from_the_best_of_the_one_before(tmp_path: Path) -> None:
    """A second stage with a learning rate of nearly nothing ends where the first stage's best checkpoint was; frozen
    parts are counted.
    """
    tiny_step = {"learning_rate": 1e-12, "schedule": "constant", "warmup": 0}
    recipe = runs.write_recipe(
        tmp_path,
        stages=[
            {"epochs": 2, "batch": {"rows": 8}, "optimizer": {"learning_rate": 1e-3}},
            {
                "epochs": 1,
                "batch": {"rows": 8},
                "optimizer": tiny_step,
                "freeze": {"embeddings": True, "keep_last_layers": 1},
            },
        ],
    )
    fit(recipe, tmp_path / "run")
    evaluations = runs.log(tmp_path / "run", "evaluation")
    best = max((line for line in evaluations if line["stage"] == 1), key=lambda line: (line["f1"], -line["step"]))
    assert evaluations[-1]["stage"] == 2
    assert evaluations[-1]["loss"] == pytest.approx(best["loss"], abs=1e-5)
    assert Checkpoint.best(tmp_path / "run").stage == 1


def test_the_plan_is_pure_and_holds_every_row_once() -> None:
    """The same key gives the same plan, another epoch another one, and each row stands in exactly one batch."""
    lengths = np.random.default_rng(0).integers(3, 90, 1003)
    plan = plan_epoch(lengths, 32, (1, 0, 0))
    assert all(np.array_equal(a, b) for a, b in zip(plan, plan_epoch(lengths, 32, (1, 0, 0)), strict=True))
    assert sorted(np.concatenate(plan)) == list(range(1003))
    assert not np.array_equal(np.concatenate(plan), np.concatenate(plan_epoch(lengths, 32, (1, 0, 1))))
    assert sorted(map(len, plan)) == [11] + [32] * 31


@pytest.mark.parametrize("processes", [1, 2, 4, 40])
def test_processes_share_an_optimizer_batch(processes: int) -> None:
    """Every row of a batch is counted on exactly one process, within the token budget; a process without rows has a
    stand-in.
    """
    lengths = np.random.default_rng(0).integers(3, 90, 32)
    shares = [micro_batches(np.arange(32), lengths, 128, rank, processes) for rank in range(processes)]
    counted = [micro.rows for share in shares for micro in share if micro.counted]
    assert sorted(np.concatenate(counted)) == list(range(32))
    assert all(len(rows) == 1 or len(rows) * lengths[rows].max() <= 128 for rows in counted)
    assert all(share for share in shares)


@pytest.mark.parametrize("processes", [1, 2, 3, 40])
def test_micro_batches_in_step(processes: int) -> None:
    """Where each micro-batch takes all processes, they run equally many: those of their own, then stand-ins."""
    lengths = np.random.default_rng(0).integers(3, 90, 33)
    shares, own = (
        [micro_batches(np.arange(33), lengths, 128, rank, processes, even=even) for rank in range(processes)]
        for even in (True, False)
    )
    assert {len(share) for share in shares} == {max(map(len, own))}
    counted = [[micro.rows.tolist() for micro in share if micro.counted] for share in shares]
    assert counted == [[micro.rows.tolist() for micro in share if micro.counted] for share in own]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", [0.5, 1.0, 0.75, 0.5, 0.25]),
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0]),
        ("cosine", [0.5, 1.0, (1 + math.cos(math.pi / 4)) / 2, 0.5, (1 + math.cos(3 * math.pi / 4)) / 2]),
    ],
)
def test_the_learning_rate_is_a_function_of_the_step(schedule: Any, expected: list[float]) -> None:
    """One warm-up step of five, then the schedule, as shares of the rate."""
    part = OptimizerPart(learning_rate=1.0, warmup=0.2, schedule=schedule)
    assert [learning_rate(part, step, 5) for step in range(5)] == pytest.approx(expected)
