"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685), through peft: small matrices learn beside frozen weights.

They live for one stage. Checkpoints hold plain weights, the adapters' products added in, so nothing behind training
knows of them; the resume state holds them apart.
"""

import importlib
import importlib.util
import re
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from trainer.contract.errors import InputError
from trainer.network.layers import embeddings, encoder_layers
from trainer.recipes.recipe import LoraPart, Recipe

_ADAPTER = "default"
_BASE = ".base_layer."
_OWN = "lora_"


def check_lora(recipe: Recipe) -> None:
    """Raise InputError where a stage asks for adapters and peft is not installed."""
    if any(stage.lora for stage in recipe.stages) and importlib.util.find_spec("peft") is None:
        raise InputError("lora needs peft, which is not installed", where="stages", do="pip install 'classifact[lora]'")


def attach(network: PreTrainedModel, part: LoraPart, key: tuple[int, int]) -> None:
    """Put adapters beside the linear layers of the encoder's layers, those aside that are frozen; the encoder's own
    weights do not learn any more, pooler and head do as before.

    key: (seed, stage), which the adapters are drawn with. Raises InputError where no linear layer is meant.
    """
    encoder = [own for layer in (*embeddings(network), *encoder_layers(network)) for own in layer.parameters()]
    learning = {id(own) for own in network.parameters() if own.requires_grad}
    names = _targets(network, part, learning)
    peft: Any = importlib.import_module("peft")
    settings = peft.LoraConfig(
        r=part.rank, lora_alpha=part.alpha, lora_dropout=part.dropout, target_modules=names, bias="none"
    )
    torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
    peft.inject_adapter_in_model(settings, network, adapter_name=_ADAPTER)
    # peft freezes all that is not its own.
    learning -= {id(own) for own in encoder}
    for name, own in network.named_parameters():
        own.requires_grad_(_OWN in name or id(own) in learning)


def detach(network: nn.Module) -> None:
    """Take the adapters out again; the weights beside them are as they were before the stage."""
    for name, module in list(network.named_modules()):
        if hasattr(module, "base_layer"):
            parent, _, last = name.rpartition(".")
            setattr(network.get_submodule(parent), last, module.base_layer)
    # peft notes its settings on the network; a later stage's adapters have their own.
    network.__dict__.pop("peft_config", None)


def plain_weights(network: nn.Module) -> dict[str, torch.Tensor] | None:
    """The network's weights with the adapters' products added in, under the names of a network without adapters; None
    where it has none.
    """
    adapted = {name: module for name, module in network.named_modules() if hasattr(module, "base_layer")}
    if not adapted:
        return None
    weights = {
        name.replace(_BASE, "."): tensor for name, tensor in network.state_dict().items() if f".{_OWN}" not in name
    }
    for name, module in adapted.items():
        weight = weights[f"{name}.weight"]
        delta: torch.Tensor = module.get_delta_weight(_ADAPTER)
        weights[f"{name}.weight"] = weight + delta.detach().to(weight.dtype)
    return weights


def _targets(network: PreTrainedModel, part: LoraPart, learning: set[int]) -> list[str]:
    """The names of the linear layers that get adapters."""
    layers = {id(module) for layer in encoder_layers(network) for module in layer.modules()}
    linear = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and id(module) in layers and id(module.weight) in learning
    ]
    found = [name for name in linear if any(re.search(rf"(^|\.)(?:{target})$", name) for target in part.targets)]
    if not found:
        raise InputError(
            "lora.targets: no linear layer that learns has such a name",
            found=", ".join(part.targets),
            expected=", ".join(sorted({name.rpartition(".")[2] for name in linear})) or "a layer that is not frozen",
            do="name the ends of their names, as regular expressions; .* for all; or freeze less",
        )
    return found
