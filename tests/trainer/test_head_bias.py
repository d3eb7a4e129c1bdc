"""A new head starts at the label shares of the rows it is trained on."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests import tiny
from tests.trainer import runs
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.labels import LabelSpace
from trainer.network.load import load_classifier, start_biases
from trainer.recipes.file import load
from trainer.recipes.recipe import ModelPart
from trainer.stages import train
from trainer.training import TrainJob

STILL = {"epochs": 1, "batch": {"rows": 64}, "optimizer": {"learning_rate": 1e-12, "weight_decay": 0.0}}


def biases(folder: Path, stages: list[dict[str, Any]], *settings: str) -> torch.Tensor:
    """The head's biases after stages that do not move them."""
    recipe = runs.write_recipe(folder, rows=300, stages=stages)
    train(TrainJob(recipe=load(recipe, settings), out=folder / "run", quiet=True))
    return load_file(Checkpoint.best(folder / "run").path / "model.safetensors")["classifier.bias"]


@pytest.mark.parametrize(
    ("settings", "weights", "expected"),
    [((), None, [2 / 3, 1 / 3]), ((), "balanced", [0.5, 0.5]), (("model.head_bias=zero",), None, [0.5, 0.5])],
)
def test_biases_start_at_the_shares(tmp_path: Path, settings: Any, weights: Any, expected: list[float]) -> None:
    """The softmax of a new head's biases is the label shares, even ones under balanced weights, and even at zero."""
    found = biases(tmp_path, [{**STILL, "loss": {"weights": weights}}], *settings)
    assert found.softmax(0).tolist() == pytest.approx(expected, abs=0.01)


def test_a_stage_with_other_weights_moves_them(tmp_path: Path) -> None:
    """A second stage whose loss is balanced takes the shares of the first out again."""
    found = biases(tmp_path, [STILL, {**STILL, "loss": {"weights": "balanced"}}])
    assert found.softmax(0).tolist() == pytest.approx([0.5, 0.5], abs=0.01)


def test_what_a_bias_has_learnt_stays_where_shares_move_it(tmp_path: Path) -> None:
    """A later stage adds the difference of the shares: it does not put the biases back to them."""
    model = ModelPart(name=str(tiny.encoder(tmp_path / "encoder")))
    classifier = load_classifier(model, LabelSpace(names=("ham", "spam")), 0)
    bias = classifier.network.get_submodule(classifier.head).bias
    assert isinstance(bias, torch.Tensor)
    start_biases(classifier, torch.tensor([0.5, -0.5]), None)
    with torch.no_grad():
        bias += torch.tensor([2.0, 0.0])
    start_biases(classifier, torch.tensor([0.0, 1.0]), torch.tensor([0.5, -0.5]))
    assert bias.tolist() == [2.0, 1.0]
