"""An encoder's layers: which of them learn, how deep a weight lies, how many parameters there are."""

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from trainer.contract.errors import InputError
from trainer.recipe import FreezePart


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Numbers of parameters."""

    total: int
    trainable: int

    def __str__(self) -> str:
        return f"{self.total:,} parameters, {self.trainable:,} trainable, {self.total - self.trainable:,} frozen"


def freeze(network: PreTrainedModel, part: FreezePart) -> Sizes:
    """Mark what does not learn. Raises InputError where the network has no such layers."""
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    for module in frozen_modules(network, part):
        module.requires_grad_(False)
    counts = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
    return Sizes(total=sum(count for count, _ in counts), trainable=sum(count for count, learns in counts if learns))


def frozen_modules(network: PreTrainedModel, part: FreezePart) -> list[nn.Module]:
    """The modules that do not learn; they also run in evaluation mode (no dropout)."""
    modules = _embeddings(network) if part.embeddings else []
    if part.keep_last_layers is not None:
        layers = encoder_layers(network)
        if part.keep_last_layers > len(layers):
            raise InputError(
                "freeze.keep_last_layers is more than the encoder has",
                found=part.keep_last_layers,
                expected=f"at most {len(layers)}",
            )
        modules += layers[: len(layers) - part.keep_last_layers]
    return modules


def encoder_layers(network: PreTrainedModel) -> list[nn.Module]:
    """The encoder's layers, first to last.

    Raises InputError for an encoder whose layers share their weights (ALBERT).
    """
    count = network.config.num_hidden_layers
    for module in _base(network).modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return list(module)
    raise InputError(
        "this encoder has no layers of its own to freeze",
        found=network.config.model_type,
        do="remove freeze.keep_last_layers and layer_decay",
    )


def depth_of(network: PreTrainedModel, name: str) -> int:
    """How many layers lie above a parameter: 0 for the head (and pooler), 1 for the last layer, layers + 1 for the
    embeddings.
    """
    layers = encoder_layers(network)
    parameter = network.get_parameter(name)
    for place, layer in enumerate(layers):
        if any(parameter is own for own in layer.parameters()):
            return len(layers) - place
    embeddings = [own for module in _embeddings(network) for own in module.parameters()]
    return len(layers) + 1 if any(parameter is own for own in embeddings) else 0


def train_mode(network: nn.Module, frozen: list[nn.Module]) -> None:
    """Training mode, but for the frozen modules."""
    network.train()
    for module in frozen:
        module.eval()


def _base(network: PreTrainedModel) -> nn.Module:
    return network.get_submodule(str(network.base_model_prefix))


def _embeddings(network: PreTrainedModel) -> list[nn.Module]:
    """The embeddings, and the projection that some encoders (ELECTRA) put behind them."""
    return [module for name, module in _base(network).named_children() if name.startswith("embeddings")]
