"""A new head starts at the label shares of the rows it is trained on."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.trainer import runs
from trainer.contract.checkpoint import Checkpoint
from trainer.recipes.file import load
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
