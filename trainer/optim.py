"""AdamW's parameter groups, and the learning rate as a pure function of the step."""

import math
from collections.abc import Iterator

import torch
from torch import nn
from transformers import PreTrainedModel

from trainer.network.layers import depth_of
from trainer.recipes.recipe import OptimizerPart


def build_optimizer(model: PreTrainedModel, part: OptimizerPart) -> torch.optim.AdamW:
    """Fused AdamW over the parameters that learn. Biases and normalisation weights (one dimension) do not decay."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            # Depth is asked for only where it counts: ALBERT has no layers of its own, and trains without.
            share = 1.0 if part.layer_decay == 1 else part.layer_decay ** depth_of(model, name)
            groups.setdefault((share, parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "weight_decay": part.weight_decay if decays else 0.0, "share": share}
            for (share, decays), parameters in groups.items()
        ],
        lr=part.learning_rate,
        betas=(part.betas[0], part.betas[1]),
        eps=part.epsilon,
        fused=True,
    )


def warmup_steps(part: OptimizerPart, steps: int) -> int:
    """How many of a stage's steps the rate rises; more than there are where the recipe asks for more."""
    return round(part.warmup * steps) if part.warmup < 1 else int(part.warmup)


def told_warmup(part: OptimizerPart, steps: int) -> Iterator[str]:
    """A warning where the rate is still rising when a stage of so many steps ends."""
    if (warmup := warmup_steps(part, steps)) > steps:
        last = learning_rate(part, steps - 1, steps)
        yield (
            f"warning: the warm-up of {warmup:,} steps is longer than the stage ({steps:,}): the learning rate ends at "
            f"{last:.2g}; give optimizer.warmup a share of the steps, as 0.1"
        )


def learning_rate(part: OptimizerPart, step: int, steps: int) -> float:
    """The rate of optimizer step `step` (from 0) of `steps`: linear warm-up, then linear or cosine to 0, or constant.

    No scheduler object holds it, so nothing can advance it twice.
    """
    warmup = warmup_steps(part, steps)
    if step < warmup:
        # From one share up, not from 0: a step at rate 0 would be a step lost.
        return part.learning_rate * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, steps - warmup)
    factors = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
    return part.learning_rate * max(0.0, factors[part.schedule])


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of the rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]
