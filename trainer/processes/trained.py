"""What a stage trains, as the loop sees it: the same few calls in one process, several (DDP), or split over them."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from trainer.processes.fsdp import is_sharded, load_optimizer, whole


class Trained:
    """A network and its optimizer, wrapped by Accelerate."""

    network: nn.Module
    optimizer: torch.optim.Optimizer

    def __init__(self, accelerator: Accelerator, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.accelerator = accelerator
        self.network, self.optimizer = accelerator.prepare(network, optimizer)

    def rehearse(self, loss: Callable[[], torch.Tensor]) -> None:
        """Exchange the gradients of a loss once, and forget them.

        DDP orders what it exchanges anew after its first backward pass. Of three processes or more the sums then round
        otherwise, so a resumed run would take its first step by other sums than the run that was not killed.
        """
        if isinstance(self.network, nn.parallel.DistributedDataParallel):
            self.backward(loss())
            self.optimizer.zero_grad(set_to_none=True)

    def micro_batch(self, *, last: bool) -> AbstractContextManager[None]:
        """Around forward and backward: gradients are exchanged once, with a step's last micro-batch."""
        # Not `accumulate`: it counts micro-batches, of which processes may have different numbers.
        return nullcontext() if last else self.accelerator.no_sync(self.network)

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of `loss`, which are averaged over processes."""
        self.accelerator.backward(loss)

    def clip(self, limit: float | None) -> float:
        """Clip the gradient to the norm `limit`; gives the norm it had, NaN where there is none."""
        # All parameters: Accelerate compares them with the network's own to know whose they are.
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), math.inf if limit is None else limit)
        return float(whole(norm, keep=True)) if norm is not None else math.nan

    def update(self) -> None:
        """Take the step, and forget the gradients."""
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def weights(self, *, keep: bool) -> dict[str, Any]:
        """The state dict of a split network, whole; for `keep` see `whole`."""
        return dict(whole(self.network.state_dict(), keep=keep))

    def optimizer_state(self, *, keep: bool) -> dict[str, Any]:
        """The optimizer's state dict, whole; for `keep` see `whole`."""
        state = self.optimizer.state_dict() if keep or is_sharded(self.accelerator) else {}
        return dict(whole(state, keep=keep))

    def load_optimizer(self, saved: dict[str, Any]) -> None:
        """Go on from what `optimizer_state` gave, under whatever launch it did."""
        load_optimizer(self.optimizer, saved)

    def close(self) -> None:
        """Unwrap the network and forget it: the next stage wraps it anew."""
        self.accelerator.unwrap_model(self.network, keep_fp32_wrapper=False)
        self.accelerator.free_memory()
