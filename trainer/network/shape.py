"""What a stage makes of the plain network before it trains it."""

from transformers import PreTrainedModel

from trainer.network.layers import Sizes, checkpoint_gradients, freeze
from trainer.network.lora import attach
from trainer.recipes.recipe import Stage


def shape(network: PreTrainedModel, stage: Stage, key: tuple[int, int]) -> Sizes:
    """Make of the plain network what a stage trains: freeze, adapt, choose what to keep for the backward pass.

    key: (seed, stage). Raises InputError where the network cannot be what the stage asks for.
    """
    checkpoint_gradients(network, stage.gradient_checkpointing)
    sizes = freeze(network, stage.freeze)
    if stage.lora is None:
        return sizes
    attach(network, stage.lora, key)
    return Sizes.of(network)
