"""DeepSpeed's ZeRO 2 as users start it, `accelerate launch --config_file launch_configs/deepspeed.yaml`, here on two
CPU processes. Where DeepSpeed is not installed, only what is refused is tested.
"""

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer import runs
from tests.trainer.processes.split_runs import STEPS, assert_same, launched, two_stages, write
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import ClassifactError, InputError
from trainer.network.load import open_checkpoint
from trainer.processes.fsdp import check_strategy
from trainer.recipes.file import load
from trainer.stages import TrainJob, train

installed = pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs' recipe."""
    return two_stages(tmp_path_factory.mktemp("zero"))


@pytest.fixture(scope="module")
def one(recipe: Path) -> Path:
    """The run of one process."""
    train(TrainJob(recipe=load(recipe), out=recipe.parent / "one", quiet=True))
    return recipe.parent / "one"


def optimizer_state(run: Path) -> dict[str, Any]:
    """What the run's last save holds of its optimizer."""
    training = torch.load(next((run / "resume").glob("*/training.pt")), weights_only=True)
    state: dict[str, Any] = training["optimizer"]
    return state


@installed
def test_split_gradients_end_as_whole_ones_do(recipe: Path, one: Path, tmp_path: Path) -> None:
    """Two processes that hold half of the gradients and moments each take the steps of one process, in both stages, and
    leave the same files, the optimizer's state included; the frozen layers are said to run in every epoch.
    """
    errors = launched("deepspeed", recipe, tmp_path / "run")
    assert_same(tmp_path / "run", one)
    found, expected = (optimizer_state(out) for out in (tmp_path / "run", one))
    assert found["param_groups"] == expected["param_groups"]
    assert found["state"].keys() == expected["state"].keys()
    for number, parts in expected["state"].items():
        torch.testing.assert_close(found["state"][number], parts, rtol=1e-3, atol=1e-6)
    assert "2 process(es) on cpu" in errors
    assert "DeepSpeed trains a split copy" in errors


@installed
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_under_zero_a_run_goes_on_to_the_same_weights(recipe: Path, one: Path, tmp_path: Path) -> None:
    """Killed in each stage and in the middle of saving, and resumed under ZeRO 2, a run ends with the weights, bit by
    bit, of one that was not killed.
    """
    launched("deepspeed", recipe, tmp_path / "whole")
    for die in ("step:6", "sync:20", "step:12"):
        launched("deepspeed", recipe, tmp_path / "run", "--resume", die=die)
    launched("deepspeed", recipe, tmp_path / "run", "--resume")
    assert runs.final_weights(tmp_path / "run") == runs.final_weights(tmp_path / "whole")
    assert_same(tmp_path / "run", one)


@installed
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", ["deepspeed", "cpu"])
def test_a_run_moves_between_zero_and_one_process(recipe: Path, one: Path, tmp_path: Path, first: str) -> None:
    """Killed under ZeRO 2 and resumed on one process, or the other way round, a run ends as if it had not moved: the
    resume state is the same files.
    """
    out = tmp_path / "run"
    launched(first, recipe, out, die="step:6")
    if first == "deepspeed":
        train(TrainJob(recipe=load(recipe), out=out, quiet=True, resume=True))
    else:
        launched("deepspeed", recipe, out, "--resume")
    assert_same(out, one)


@installed
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "change",
    [
        {"lora": {"rank": 2, "alpha": 4, "dropout": 0.0}},
        {"gradient_checkpointing": True},
        {"optimizer": {"learning_rate": 1e-3, "epsilon": 1e-4, "layer_decay": 0.5, "clip_norm": None}},
    ],
    ids=["lora", "gradient_checkpointing", "layer_decay"],
)
def test_what_a_stage_may_ask_for_works_under_zero(tmp_path: Path, change: dict[str, Any]) -> None:
    """Adapters, merged into plain checkpoints, gradient checkpointing, and many groups of parameters whose gradient is
    not clipped, with a plain stage after them: as in one process.
    """
    if "lora" in change:
        pytest.importorskip("peft")
    recipe = write(tmp_path, change, {})
    train(TrainJob(recipe=load(recipe), out=tmp_path / "one", quiet=True))
    launched("deepspeed", recipe, tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "one")


@installed
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_half_precision_is_autocast_over_fp32(recipe: Path, one: Path, tmp_path: Path) -> None:
    """In bf16 the weights learn as one process's in fp32 do within what eight bits of mantissa allow, and those that
    are saved are no bf16 numbers.
    """
    errors = launched("deepspeed", recipe, tmp_path / "run", options=("--mixed_precision", "bf16"))
    found, expected = ([line["loss"] for line in runs.log(out, "step")] for out in (tmp_path / "run", one))
    assert found[:STEPS] == pytest.approx(expected[:STEPS], rel=0.03)
    assert found[:STEPS] != pytest.approx(expected[:STEPS], rel=1e-5)
    assert "precision bf16" in errors
    weights = open_checkpoint(Checkpoint.best(tmp_path / "run").path).network.state_dict()
    assert not torch.equal(weights["classifier.weight"], weights["classifier.weight"].bfloat16().float())


@installed
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    """A rate that blows the weights up is an error with the rows of the step, and what was saved before stays."""
    recipe = write(tmp_path, {"optimizer": {"learning_rate": 1e30, "clip_norm": None}})
    process = runs.launch("deepspeed", recipe, tmp_path / "run")
    _, errors = process.communicate(timeout=200)
    assert process.returncode != 0
    assert "the loss is not finite" in errors
    assert all(math.isfinite(line["loss"]) for line in runs.log(tmp_path / "run", "step"))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ACCELERATE_DEEPSPEED_ZERO_STAGE", "3", "fsdp.yaml"),
        ("ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE", "cpu", "offload_optimizer_device: none"),
        ("ACCELERATE_DEEPSPEED_CONFIG_FILE", "ds.json", "zero_stage: 2"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4", "batch.tokens"),
        ("ACCELERATE_GRADIENT_CLIPPING", "1.0", "clip_norm"),
        ("ACCELERATE_MIXED_PRECISION", "fp16", "bf16 or no"),
    ],
)
def test_settings_of_deepspeed_that_would_not_train_right_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    """Another stage, offloading, a file of DeepSpeed's own, what the recipe says already, and fp16 are errors with what
    to write.
    """
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as error:
        check_strategy()
    assert expected in str(error.value)


@pytest.mark.skipif(find_spec("deepspeed") is not None, reason="DeepSpeed is installed")
def test_deepspeed_that_is_not_installed_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to install it."""
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ClassifactError, match="not installed") as error:
        check_strategy()
    assert "pip install 'classifact[deepspeed]'" in str(error.value)
