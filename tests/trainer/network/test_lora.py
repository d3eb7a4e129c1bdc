"""Adapters that learn beside frozen weights, and gradients that are computed twice to spare memory."""

import importlib.util
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests import tiny
from tests.trainer import runs
from trainer import loop, stages
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import InputError
from trainer.contract.golden import Golden
from trainer.network import lora
from trainer.network.layers import Sizes, checkpoint_gradients, freeze
from trainer.network.load import open_checkpoint
from trainer.network.lora import attach, detach, plain_weights
from trainer.recipes.file import load
from trainer.recipes.recipe import FreezePart, LoraPart
from trainer.run_folder.track import Track
from trainer.stages import train
from trainer.training import TrainJob

STAGE: dict[str, Any] = {"epochs": 2, "batch": {"rows": 8, "tokens": 64}, "optimizer": {"learning_rate": 1.0e-2}}


def fit(recipe: Path, out: Path, *settings: str, resume: bool = False) -> Path:
    """Train in this process; gives the run."""
    train(TrainJob(recipe=load(recipe, settings), out=out, quiet=True, resume=resume))
    return out


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two stages with adapters, the second on top of the first one's best."""
    folder = tmp_path_factory.mktemp("adapted")
    recipe = runs.write_recipe(
        folder,
        stages=[
            {**STAGE, "lora": {"rank": 4, "dropout": 0.1}},
            {**STAGE, "epochs": 1, "freeze": {"embeddings": True, "keep_last_layers": 1}, "lora": {"targets": "query"}},
        ],
    )
    fit(recipe, folder / "run")
    return folder


def test_adapters_learn_and_checkpoints_are_plain(adapted: Path) -> None:
    """A run with adapters learns; its checkpoints have the names and shapes of a network without, and other weights
    than the encoder where the adapters were, the same ones elsewhere.
    """
    pytest.importorskip("peft")
    losses = [line["loss"] for line in runs.log(adapted / "run", "step")]
    assert min(losses) < losses[0]
    before = load_file(adapted / "encoder" / "model.safetensors")
    found = load_file(Checkpoint.best(adapted / "run").path / "model.safetensors")
    assert {name.removeprefix("bert.") for name in found} == {*before, "classifier.weight", "classifier.bias"}
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, found[f"bert.{name}"])}
    layers = {name for name in before if "layer." in name and name.endswith("weight") and "LayerNorm" not in name}
    assert changed == layers | {"pooler.dense.weight", "pooler.dense.bias"}


@pytest.mark.parametrize("stop_at", [5, 17])
def test_resume_with_adapters(adapted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int) -> None:
    """A run with adapters that is interrupted in either stage ends with the weights of one that was not."""
    pytest.importorskip("peft")
    real = Track.step

    def step_then_signal(self: Track, place: dict[str, int], values: dict[str, float], tokens: int) -> None:
        real(self, place, values, tokens)
        if place["step"] == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Track, "step", step_then_signal)
        with pytest.raises(loop.Interrupted):
            fit(adapted / "recipe.yaml", tmp_path / "run")
    fit(adapted / "recipe.yaml", tmp_path / "run", resume=True)
    assert runs.final_weights(tmp_path / "run") == runs.final_weights(adapted / "run")


@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert"])
def test_merged_weights_give_the_same_logits(family: str, tmp_path: Path) -> None:
    """The plain weights of an adapted network, in a network without adapters, give its logits; taking the adapters out
    gives those from before.
    """
    pytest.importorskip("peft")
    path = tiny.checkpoint(tmp_path / "checkpoint", model_type=family).path
    network, plain = (open_checkpoint(path).network for _ in range(2))
    ids = torch.randint(5, 50, (3, 9), generator=torch.Generator().manual_seed(0))
    before = network(input_ids=ids).logits.detach()
    attach(network, LoraPart(rank=3, alpha=12), (0, 0))
    with torch.no_grad():
        for name, weights in network.named_parameters():
            if "lora_B" in name:
                weights.normal_(std=0.2)
    adapted = network.eval()(input_ids=ids).logits.detach()
    weights = plain_weights(network)
    assert weights is not None
    plain.load_state_dict(weights)
    torch.testing.assert_close(plain(input_ids=ids).logits.detach(), adapted, atol=1e-5, rtol=1e-5)
    assert float((adapted - before).abs().max()) > 1e-2
    detach(network)
    assert plain_weights(network) is None
    assert torch.equal(network(input_ids=ids).logits, before)


def test_what_learns_beside_adapters(tmp_path: Path) -> None:
    """Adapters, pooler and head learn, the encoder's own weights do not; a frozen layer gets no adapter."""
    pytest.importorskip("peft")
    network = open_checkpoint(tiny.checkpoint(tmp_path / "checkpoint").path).network
    freeze(network, FreezePart(keep_last_layers=1))
    attach(network, LoraPart(rank=2, targets=("query", "value")), (0, 0))
    learning = {name for name, weights in network.named_parameters() if weights.requires_grad}
    place = "bert.encoder.layer.1.attention.self"
    adapters = {f"{place}.{name}.lora_{half}.default.weight" for name in ("query", "value") for half in ("A", "B")}
    assert learning == adapters | {
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
        "classifier.weight",
        "classifier.bias",
    }
    assert Sizes.of(network).trainable == 4 * 2 * 32 + 33 * 32 + 33 * 2


def test_targets_that_are_nowhere(tmp_path: Path) -> None:
    """A target that no layer has is an error that names those that there are."""
    network = open_checkpoint(tiny.checkpoint(tmp_path / "checkpoint").path).network
    with pytest.raises(InputError, match="no linear layer") as error:
        attach(network, LoraPart(targets=("q_lin",)), (0, 0))
    assert "query" in str(error.value)


def test_a_missing_peft_is_told_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without peft a recipe with adapters in its second stage ends before the first one, with the install line."""
    real = importlib.util.find_spec
    monkeypatch.setattr(lora.importlib.util, "find_spec", lambda name: None if name == "peft" else real(name))
    recipe = runs.write_recipe(tmp_path, stages=[STAGE, {**STAGE, "lora": {}}])
    with pytest.raises(InputError, match="peft") as error:
        fit(recipe, tmp_path / "run")
    assert "pip install 'classifact[lora]'" in str(error.value)


def test_a_later_stage_that_cannot_be_is_told_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More free layers than there are in the second stage ends the run before the first one takes a step."""
    monkeypatch.setattr(stages, "fit", lambda *_: pytest.fail("trained"))
    recipe = runs.write_recipe(tmp_path, stages=[STAGE, {**STAGE, "freeze": {"keep_last_layers": 9}}])
    with pytest.raises(InputError, match="keep_last_layers"):
        fit(recipe, tmp_path / "run")


def test_gradient_checkpointing_computes_layers_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With gradient checkpointing each layer that learns runs twice a micro-batch, dropout and all, to the same losses
    and weights; a frozen one runs once.
    """
    recipe = runs.write_recipe(tmp_path, stages=[{**STAGE, "epochs": 1, "freeze": {"keep_last_layers": 1}}])
    counts: Counter[tuple[str, str]] = Counter()
    real = loop.micro_loss

    def counted(job: loop.Fit, micro: loop.MicroBatch) -> torch.Tensor:
        if not counts[out, "batches"]:
            for number, layer in enumerate(job.run.classifier.network.base_model.encoder.layer):
                # Of the layer's own modules: the layer's call is what is wrapped.
                layer.attention.register_forward_hook(lambda *_, number=number: counts.update([(out, str(number))]))
        counts[out, "batches"] += 1
        return real(job, micro)

    monkeypatch.setattr(loop, "micro_loss", counted)
    monkeypatch.setattr(loop.Predictor, "logits", lambda _, data: np.zeros((len(data.encoded), 2), dtype=np.float32))
    # Golden logits are another pass over the layers, which no step makes.
    golden = Golden(texts=["a"], pairs=None, logits=np.zeros((1, 2), dtype=np.float32), versions={})
    monkeypatch.setattr(loop, "make_golden", lambda *_: golden)
    for out in ("kept", "again"):
        fit(recipe, tmp_path / out, f"stages.0.gradient_checkpointing={'true' if out == 'again' else 'false'}")
    ran = {out: [counts[out, number] / counts[out, "batches"] for number in ("0", "1")] for out in ("kept", "again")}
    assert ran == {"kept": [1, 1], "again": [1, 2]}
    assert runs.final_weights(tmp_path / "again") == runs.final_weights(tmp_path / "kept")


def test_a_family_without_gradient_checkpointing_is_refused(tmp_path: Path) -> None:
    """MPNet cannot, and the error says what to do instead."""
    network = open_checkpoint(tiny.checkpoint(tmp_path / "checkpoint", model_type="mpnet").path).network
    with pytest.raises(InputError, match="no gradient checkpointing") as error:
        checkpoint_gradients(network, True)
    assert "batch.tokens" in str(error.value)


@pytest.mark.slow
def test_a_compiled_launch_trains_as_a_plain_one(tmp_path: Path) -> None:
    """`accelerate launch --dynamo_backend` compiles the network: two stages, frozen layers run once, to the same
    losses, and a checkpoint with plain names.
    """
    freeze_part = {"embeddings": True, "keep_last_layers": 1}
    recipe = runs.write_recipe(
        tmp_path, rows=40, stages=[{**STAGE, "epochs": 1}, {**STAGE, "epochs": 1, "freeze": freeze_part}]
    )
    plain = fit(recipe, tmp_path / "plain")
    process = runs.launch("cpu", recipe, tmp_path / "compiled", options=("--dynamo_backend", "aot_eager"))
    output, errors = process.communicate(timeout=230)
    assert process.returncode == 0, errors
    assert "compiled by" in errors
    losses = [[line["loss"] for line in runs.log(out, "step")] for out in (plain, tmp_path / "compiled")]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    names = set(load_file(Checkpoint.best(tmp_path / "compiled").path / "model.safetensors"))
    assert names == set(load_file(Checkpoint.best(plain).path / "model.safetensors"))
    assert isinstance(open_checkpoint(Checkpoint.best(tmp_path / "compiled").path).network, nn.Module)
    assert output
