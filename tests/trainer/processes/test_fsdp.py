"""FSDP 2 as users start it, `accelerate launch --config_file launch_configs/fsdp.yaml`, here on two CPU processes."""

from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from transformers import AutoConfig, AutoModelForSequenceClassification

from tests.trainer import runs
from tests.trainer.processes.split_runs import STEPS, assert_same, launched, two_stages, write
from trainer.contract.errors import InputError
from trainer.processes.fsdp import check_strategy, layer_classes, shard
from trainer.recipes.file import load
from trainer.stages import train
from trainer.training import TrainJob


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs' recipe."""
    return two_stages(tmp_path_factory.mktemp("fsdp"))


@pytest.fixture(scope="module")
def one(recipe: Path) -> Path:
    """The run of one process."""
    train(TrainJob(recipe=load(recipe), out=recipe.parent / "one", quiet=True))
    return recipe.parent / "one"


def test_a_split_network_ends_as_a_whole_one_does(recipe: Path, one: Path, tmp_path: Path) -> None:
    """Two processes that hold half of the weights each take the steps of one process, in both stages, and leave the
    same files; the frozen layers are said to run in every epoch.
    """
    errors = launched("fsdp", recipe, tmp_path / "run")
    assert_same(tmp_path / "run", one)
    assert "2 process(es) on cpu" in errors
    assert "FSDP trains a split copy" in errors


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_under_fsdp_a_run_goes_on_to_the_same_weights(recipe: Path, one: Path, tmp_path: Path) -> None:
    """Killed in each stage and in the middle of saving, and resumed under FSDP, a run ends with the weights, bit by
    bit, of one that was not killed.
    """
    launched("fsdp", recipe, tmp_path / "whole")
    for die in ("step:6", "sync:20", "step:12"):
        launched("fsdp", recipe, tmp_path / "run", "--resume", die=die)
    launched("fsdp", recipe, tmp_path / "run", "--resume")
    assert runs.final_weights(tmp_path / "run") == runs.final_weights(tmp_path / "whole")
    assert_same(tmp_path / "run", one)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", ["fsdp", "one"])
def test_a_run_moves_between_fsdp_and_one_process(recipe: Path, one: Path, tmp_path: Path, first: str) -> None:
    """Killed under FSDP and resumed on one process, or the other way round, a run ends as if it had not moved: the
    resume state is the same files.
    """
    out = tmp_path / "run"
    if first == "fsdp":
        launched("fsdp", recipe, out, die="step:6")
        train(TrainJob(recipe=load(recipe), out=out, quiet=True, resume=True))
    else:
        process = runs.launch("cpu", recipe, out, die="step:6")
        process.communicate(timeout=200)
        launched("fsdp", recipe, out, "--resume")
    assert_same(out, one)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "change",
    [{"lora": {"rank": 2, "alpha": 4, "dropout": 0.0}}, {"gradient_checkpointing": True}],
    ids=["lora", "gradient_checkpointing"],
)
def test_what_a_stage_may_ask_for_works_under_fsdp(tmp_path: Path, change: dict[str, Any]) -> None:
    """Adapters, merged into plain checkpoints, and gradient checkpointing, with a plain stage after them: as in one
    process.
    """
    if "lora" in change:
        pytest.importorskip("peft")
    recipe = write(tmp_path, change, {})
    train(TrainJob(recipe=load(recipe), out=tmp_path / "one", quiet=True))
    launched("fsdp", recipe, tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "one")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_weights_may_stay_whole_from_forward_to_backward(recipe: Path, one: Path, tmp_path: Path) -> None:
    """With gradients and optimizer state split alone (as ZeRO 2), a run ends as one process does."""
    launched("fsdp", recipe, tmp_path / "run", options=("--fsdp_reshard_after_forward", "false"))
    assert_same(tmp_path / "run", one)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_half_precision_adds_up_in_fp32(recipe: Path, one: Path, tmp_path: Path) -> None:
    """In bf16, whose gradients are added up and exchanged in fp32, a split network learns as one process in fp32 does
    within what eight bits of mantissa allow.
    """
    errors = launched("fsdp", recipe, tmp_path / "run", options=("--mixed_precision", "bf16"))
    found, expected = ([line["loss"] for line in runs.log(out, "step")] for out in (tmp_path / "run", one))
    assert found[:STEPS] == pytest.approx(expected[:STEPS], rel=0.03)
    assert "precision bf16" in errors


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("FSDP_VERSION", "1", "fsdp_version: 2"),
        ("FSDP_CPU_RAM_EFFICIENT_LOADING", "True", "every process reads the weights"),
        ("FSDP_ACTIVATION_CHECKPOINTING", "true", "gradient_checkpointing"),
        ("FSDP_OFFLOAD_PARAMS", "true", "fsdp_offload_params: false"),
    ],
)
def test_settings_of_fsdp_that_would_not_train_right_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    """Version 1, weights that one process alone reads, layers under other names and offloading are errors with what to
    write.
    """
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    check_strategy()
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as error:
        check_strategy()
    assert expected in str(error.value)


def test_one_process_has_nobody_to_share_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """FSDP in a launch of one process is refused, instead of training without it."""
    accelerator = Accelerator(cpu=True)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(InputError, match="there is one") as error:
        shard(accelerator)
    assert "one_gpu.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("family", "layer"),
    [("bert", "BertLayer"), ("roberta", "RobertaLayer"), ("distilbert", "TransformerBlock"), ("albert", "")],
)
def test_a_network_is_cut_between_its_layers(family: str, layer: str) -> None:
    """The classes that Accelerate is told not to cut are the encoder's own layers; one whose layers share their weights
    has none.
    """
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    if family == "distilbert":
        sizes = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
    network = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(family, vocab_size=200, **sizes))
    assert layer_classes(network) == ([layer] if layer else [])


def test_deepspeed_is_refused_with_what_to_use_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A launch under DeepSpeed names the launch config that splits the same things."""
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(InputError, match=r"fsdp\.yaml"):
        check_strategy()
