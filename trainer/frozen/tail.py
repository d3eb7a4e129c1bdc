"""A network cut in two behind its frozen layers: what they put out, and the rest, which goes on from there."""

import copy
from typing import TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel

from trainer.contract.errors import ClassifactError
from trainer.network.layers import embeddings, encoder_layers, layers_name, learns

Module = TypeVar("Module", bound=nn.Module)


class Unsuitable(ClassifactError):
    """Why the whole network has to run."""


def frozen_layers(network: PreTrainedModel) -> int:
    """How many layers at the network's start do not learn, with the embeddings below them; 0 where those learn."""
    if layers_name(network) is None or any(learns(module) for module in embeddings(network)):
        return 0
    layers = encoder_layers(network)
    return next((place for place, layer in enumerate(layers) if learns(layer)), len(layers))


def tail_of(network: PreTrainedModel, count: int) -> PreTrainedModel:
    """The network without its embeddings and first `count` layers: its forward takes their output as `inputs_embeds`.

    All that is left is shared. Masks, relative positions, pooler and head are the family's own code.
    """
    tail = _twin(network)
    place: nn.Module = tail
    *path, last = str(layers_name(network)).split(".")
    for name in path:
        place._modules[name] = place = _twin(place.get_submodule(name))
    place._modules[last] = nn.ModuleList(encoder_layers(network)[count:])
    base = tail.get_submodule(str(network.base_model_prefix))
    for name, _ in list(base.named_children()):
        if name.startswith("embeddings"):
            base._modules[name] = _AsGiven()
    return tail


def states_after(network: PreTrainedModel, count: int, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """The output of the network's layer `count` (from 1), [B, T, H]; the layers above it do not run."""
    handle = encoder_layers(network)[count - 1].register_forward_hook(_stop_there)
    try:
        network(**inputs)
    except _ReachedError as reached:
        return reached.states
    finally:
        handle.remove()
    raise Unsuitable("its forward passes over some layers")


class _AsGiven(nn.Module):
    """Stands where embeddings stood, and gives the states that came instead of token ids."""

    def __init__(self) -> None:
        super().__init__()
        # Networks read their precision off their weights, and a tail without free layers might have none.
        self.precision = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, *args: object, **named: object) -> torch.Tensor:
        """The states [B, T, D]: whichever tensor came last, by place or as `inputs_embeds`."""
        given = [value for value in (*args, named.get("inputs_embeds")) if isinstance(value, torch.Tensor)]
        return given[-1]


class _ReachedError(Exception):
    def __init__(self, states: torch.Tensor) -> None:
        self.states = states


def _stop_there(_module: nn.Module, _given: object, result: tuple[torch.Tensor, ...] | torch.Tensor) -> None:
    raise _ReachedError(result[0] if isinstance(result, tuple) else result)


def _twin(module: Module) -> Module:
    """Another module with the same weights and children, whose children can be replaced."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    # Accelerate leaves a forward in a network that it has once wrapped, bound to that network.
    twin.__dict__.pop("forward", None)
    return twin
