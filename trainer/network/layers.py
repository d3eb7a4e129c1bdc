"""An encoder's layers: which of them learn, how deep a weight lies, how many parameters there are."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from trainer.contract.errors import InputError
from trainer.recipes.recipe import FreezePart


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Numbers of parameters."""

    total: int
    trainable: int

    @classmethod
    def of(cls, network: nn.Module) -> "Sizes":
        """Count a network's."""
        counts = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
        return cls(total=sum(count for count, _ in counts), trainable=sum(count for count, learns in counts if learns))

    def __str__(self) -> str:
        return f"{self.total:,} parameters, {self.trainable:,} trainable, {self.total - self.trainable:,} frozen"


def freeze(network: PreTrainedModel, part: FreezePart) -> Sizes:
    """Mark what does not learn.

    Raises InputError where the network has no such layers or weights, or nothing would learn.
    """
    # Anew: the stage before may have frozen other parts.
    network.requires_grad_(True)
    for module in embeddings(network) if part.embeddings else []:
        module.requires_grad_(False)
    if part.keep_last_layers is not None:
        layers = encoder_layers(network)
        if part.keep_last_layers > len(layers):
            raise InputError(
                "freeze.keep_last_layers is more than the encoder has",
                found=part.keep_last_layers,
                expected=f"at most {len(layers)}",
            )
        for layer in layers[: len(layers) - part.keep_last_layers]:
            layer.requires_grad_(False)
    for pattern in part.patterns:
        _freeze_matching(network, pattern)
    sizes = Sizes.of(network)
    if sizes.trainable == 0:
        raise InputError("nothing is left to learn", where="freeze", found=str(sizes), do="freeze less")
    return sizes


def _freeze_matching(network: PreTrainedModel, pattern: str) -> None:
    names = [name for name, _ in network.named_parameters() if re.search(pattern, name)]
    if not names:
        first = next(name for name, _ in network.named_parameters())
        raise InputError(
            "freeze.patterns: no weight has such a name",
            found=pattern,
            expected=f"a part of a name such as {first}",
            do="correct the regular expression; a checkpoint's model.safetensors holds the names",
        )
    for name in names:
        network.get_parameter(name).requires_grad_(False)


def checkpoint_gradients(network: PreTrainedModel, wanted: bool) -> None:
    """Have layers computed again in the backward pass, or not. Raises InputError for a family that cannot."""
    if not wanted:
        # transformers 5 has another name for it.
        disable: Any = getattr(network, "activation_checkpointing_disable", network.gradient_checkpointing_disable)
        disable()
        return
    if not network.supports_gradient_checkpointing:
        raise InputError(
            "this encoder has no gradient checkpointing",
            found=network.config.model_type,
            do="remove gradient_checkpointing, and lower batch.tokens instead",
        )
    # The older, reentrant way gives no gradients where nothing below a layer learns.
    enable: Any = getattr(network, "activation_checkpointing_enable", network.gradient_checkpointing_enable)
    enable({"use_reentrant": False})


def frozen_modules(network: nn.Module) -> Iterator[nn.Module]:
    """The largest modules none of whose weights learn: they also run in evaluation mode (no dropout)."""
    if learns(network):
        for child in network.children():
            yield from frozen_modules(child)
    elif any(True for _ in network.parameters()):
        yield network


def learns(module: nn.Module) -> bool:
    """Whether any of its weights does."""
    return any(parameter.requires_grad for parameter in module.parameters())


def train_mode(network: nn.Module, frozen: list[nn.Module]) -> None:
    """Training mode, but for the frozen modules."""
    network.train()
    for module in frozen:
        module.eval()


def encoder_layers(network: PreTrainedModel) -> list[nn.Module]:
    """The encoder's layers, first to last.

    Raises InputError for an encoder whose layers share their weights (ALBERT).
    """
    name = layers_name(network)
    if name is None:
        raise InputError(
            "this encoder has no layers of its own to freeze",
            found=network.config.model_type,
            do="remove freeze.keep_last_layers and layer_decay",
        )
    return list(network.get_submodule(name).children())


def last_layer(network: PreTrainedModel) -> nn.Module | None:
    """The encoder's last layer; None where layers share weights."""
    return encoder_layers(network)[-1] if layers_name(network) else None


def layers_name(network: PreTrainedModel) -> str | None:
    """The path of the list of layers in the network, such as "bert.encoder.layer"; None where layers share weights."""
    count, base = network.config.num_hidden_layers, str(network.base_model_prefix)
    for name, module in network.get_submodule(base).named_modules(prefix=base):
        # Known by its length: families call it layer, layers, h or block.
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return str(name)
    return None


def embeddings(network: PreTrainedModel) -> list[nn.Module]:
    """The embeddings, the projection that some encoders (ELECTRA) put behind them, and the tables of relative positions
    that all layers share (MPNet's, DeBERTa's).
    """
    base = network.get_submodule(str(network.base_model_prefix))
    found = [module for name, module in base.named_children() if name.startswith("embeddings")]
    name = layers_name(network)
    beside = network.get_submodule(name.rpartition(".")[0]).children() if name else ()
    return found + [module for module in beside if isinstance(module, nn.Embedding)]


def depth_of(network: PreTrainedModel, name: str) -> int:
    """How many layers lie above a parameter: 0 for the head (and pooler), 1 for the last layer, layers + 1 for the
    embeddings.
    """
    layers = encoder_layers(network)
    parameter = network.get_parameter(name)
    for place, layer in enumerate(layers):
        if any(parameter is own for own in layer.parameters()):
            return len(layers) - place
    tables = [own for module in embeddings(network) for own in module.parameters()]
    return len(layers) + 1 if any(parameter is own for own in tables) else 0
