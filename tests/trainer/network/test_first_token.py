"""The last layer runs for the first token alone where the head reads no other, with the same logits and gradients."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from tests import tiny
from tests.trainer import runs
from tests.trainer.frozen.test_prefix import assert_same, run
from trainer.network.first_token import read_first
from trainer.network.layers import last_layer


def network(family: str, **changes: Any) -> Any:
    """A tiny classifier with random weights, large enough that attention moves its logits."""
    torch.manual_seed(0)
    made = AutoModelForSequenceClassification.from_config(tiny.config(family, num_labels=3, **changes))
    with torch.no_grad():
        for weight in made.parameters():
            if weight.ndim > 1:
                weight.mul_(4)
    return made.eval()


def probes() -> list[dict[str, torch.Tensor]]:
    """A row of nine tokens alone, and beside a shorter one."""
    ids = torch.randint(5, 60, (2, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[0, 6:] = 0
    return [{"input_ids": ids[1:], "attention_mask": mask[1:]}, {"input_ids": ids, "attention_mask": mask}]


def gradients(made: nn.Module) -> dict[str, torch.Tensor]:
    """What every weight gets from the logits of both probes."""
    made.zero_grad()
    for probe in probes():
        made(**probe).logits.square().sum().backward()
    return {name: weight.grad.clone() for name, weight in made.named_parameters() if weight.grad is not None}


def products(part: nn.Module, made: nn.Module) -> int:
    """Multiplications of the linear layers within a part of the network, for the longer probe."""
    found: list[int] = []

    def count(module: nn.Linear, given: tuple[torch.Tensor], _: torch.Tensor) -> None:
        found.append(given[0].numel() * module.out_features)

    handles = [module.register_forward_hook(count) for module in part.modules() if isinstance(module, nn.Linear)]
    made(**probes()[0])
    for handle in handles:
        handle.remove()
    return sum(found)


@pytest.mark.parametrize("family", ["bert", "distilbert", "electra", "mpnet", "deberta-v2", "modernbert"])
def test_families_whose_head_reads_the_first_token_compute_less_and_learn_the_same(family: str) -> None:
    """Logits and every gradient stay, and half of the last layer's products and more go; without hooks all is back."""
    made = network(family, **({"classifier_pooling": "cls"} if family == "modernbert" else {}))
    layer = last_layer(made)
    assert layer is not None
    logits, expected, whole = made(**probes()[1]).logits, gradients(made), products(layer, made)
    hooks = read_first(made, layer, probes())
    torch.testing.assert_close(made(**probes()[1]).logits, logits, atol=1e-5, rtol=1e-4)
    found = gradients(made)
    assert found.keys() == expected.keys()
    largest = max(float(each.abs().max()) for each in expected.values())
    for name, gradient in found.items():
        assert float((gradient - expected[name]).abs().max()) < 1e-5 * largest, name
    assert products(layer, made) < 0.5 * whole
    for hook in hooks:
        hook.remove()
    assert products(layer, made) == whole


@pytest.mark.parametrize(
    ("family", "changes"), [("gpt2", {}), ("modernbert", {"classifier_pooling": "mean"}), ("albert", {})]
)
def test_heads_that_read_other_tokens_keep_the_whole_layer(family: str, changes: dict[str, Any]) -> None:
    """The last token, the mean of all, and layers that share their weights: nothing is cut."""
    made = network(family, **changes)
    assert read_first(made, last_layer(made), probes()) == []


def test_a_head_that_hardly_reads_another_token_keeps_the_whole_layer() -> None:
    """A thousandth of the second token in the pooler is enough: what is read is told by gradients, not by size."""
    made = network("bert")
    plain = made.bert.pooler.forward
    made.bert.pooler.forward = lambda states: plain(states + 1e-6 * states[:, 1:2])
    assert read_first(made, last_layer(made), probes()) == []


def test_a_run_learns_the_same_as_with_the_whole_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without dropout losses, metrics and final weights agree within 1e-5, in a stage with frozen layers too."""
    optimizer = {"learning_rate": 1.0e-3, "epsilon": 1.0e-5}
    part = {"epochs": 1, "batch": {"rows": 8, "tokens": 64}, "optimizer": optimizer}
    stages = [part, {**part, "freeze": {"embeddings": True, "keep_last_layers": 1}}]
    runs.write_recipe(tmp_path, model={"name": "encoder", "dropout": 0.0}, stages=stages)
    hooks: list[int] = []

    def spied(*given: Any) -> list[Any]:
        found = read_first(*given)
        hooks.append(len(found))
        return found

    monkeypatch.setattr("trainer.stages.read_first", spied)
    cut = run(tmp_path, "cut")
    monkeypatch.setattr("trainer.stages.read_first", lambda *_: [])
    assert_same(cut, run(tmp_path, "whole"))
    assert hooks == [1, 1]
