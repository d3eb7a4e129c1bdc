"""A network whose gradients and optimizer state are split over processes by DeepSpeed's ZeRO 2.

Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models" (SC 2020).

The engine is ours, not Accelerate's, which would cast the weights to half precision, clip by a norm of its own and step
inside `backward`. So weights and their gradients stay fp32 and bf16 is autocast, as under any other launch. The loop
trains a copy of the network, since the engine moves weights into buffers of its own.
"""

import sys
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from trainer.processes.trained import Trained

# In elements: what the engine gathers before it exchanges gradients. Its own default takes 2 GB of a GPU.
BUCKET = 2**25
_MOMENTS = ("exp_avg", "exp_avg_sq")


class ZeroTrained(Trained):
    """A network and its AdamW, run by an engine of DeepSpeed. clip_norm: the stage's; the engine clips by itself."""

    def __init__(
        self, accelerator: Accelerator, network: nn.Module, optimizer: torch.optim.Optimizer, clip_norm: float | None
    ) -> None:
        # Results go to standard output; DeepSpeed keeps the stream that it is imported with for its log.
        with redirect_stdout(sys.stderr):
            import deepspeed  # noqa: PLC0415 -- an extra, and it takes seconds

            self._parameters = [list(group["params"]) for group in optimizer.param_groups]
            self.accelerator = accelerator
            # Autocast and the device; DDP is what it leaves out.
            plain = accelerator.prepare_model(network, evaluation_mode=True)
            largest = max(part.numel() for group in self._parameters for part in group)
            config = {
                "train_micro_batch_size_per_gpu": 1,  # asked for, and used for its own statistics alone
                "gradient_accumulation_steps": 1,  # The loop says where a step ends.
                "gradient_clipping": clip_norm or 0.0,
                "steps_per_print": sys.maxsize,
                "zero_allow_untested_optimizer": True,
                "zero_optimization": {
                    "stage": 2,
                    "reduce_bucket_size": max(BUCKET, largest),
                    "allgather_bucket_size": max(BUCKET, largest),
                },
            }
            self.network, self.optimizer, *_ = deepspeed.initialize(model=plain, optimizer=optimizer, config=config)
        self._link()

    def micro_batch(self, *, last: bool) -> AbstractContextManager[None]:
        """The engine reduces the gradients of every micro-batch, and is told which is a step's last one."""
        self._engine.set_gradient_accumulation_boundary(is_boundary=last)
        return nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of `loss`, which are averaged over processes."""
        self._engine.backward(loss)

    def clip(self, limit: float | None) -> float:
        """Clip and take the step, which the engine does in one; gives the norm. Where that is not finite the engine
        takes no step, and the norm is infinite.
        """
        del limit
        self._engine.step()
        return float(self._engine.get_global_grad_norm())

    def update(self) -> None:
        """Nothing: `clip` took the step."""

    def weights(self, *, keep: bool) -> dict[str, Any]:
        """The network's state dict, which every process holds whole."""
        return dict(self._engine.module.state_dict()) if keep else {}

    def optimizer_state(self, *, keep: bool) -> dict[str, Any]:
        """The state dict that AdamW would have without DeepSpeed, on the CPU. All processes must call it."""
        from deepspeed.utils import safe_get_full_optimizer_state  # noqa: PLC0415

        groups: list[dict[str, Any]] = []
        states: dict[int, dict[str, torch.Tensor]] = {}
        number = 0
        for group, parameters in zip(self._inner.param_groups, self._parameters, strict=True):
            # One count of steps for all that the engine has put into one tensor.
            step = self._inner.state[group["params"][0]]["step"].cpu()
            groups.append({**group, "params": list(range(number, number + len(parameters)))})
            for parameter in parameters:
                full = {name: safe_get_full_optimizer_state(parameter, name) for name in _MOMENTS}
                if keep:
                    states[number] = {"step": step.clone(), **{name: part.cpu() for name, part in full.items()}}
                number += 1
        return {"state": states, "param_groups": groups} if keep else {}

    def load_optimizer(self, saved: dict[str, Any]) -> None:
        """Go on from the state dict of an AdamW; each process takes its share of it."""
        from deepspeed.utils import safe_set_full_optimizer_state  # noqa: PLC0415

        number = 0
        for group, parameters in zip(self._inner.param_groups, self._parameters, strict=True):
            for parameter in parameters:
                # One that had no gradient yet has no state either: its moments are zero.
                for name, part in saved["state"].get(number, {}).items():
                    if name == "step":
                        self._inner.state[group["params"][0]]["step"].copy_(part)
                    else:
                        safe_set_full_optimizer_state(parameter, part.to(parameter.device), name)
                number += 1

    def close(self) -> None:
        """End the engine; the copy of the network goes with it."""
        self._engine.destroy()
        self.accelerator.free_memory()

    def _link(self) -> None:
        """Give AdamW its state before its first step, and each parameter its place in it.

        DeepSpeed (0.19) links the states of all groups after the first group's first step, when those of the others do
        not exist yet: they could never be asked for whole. Linked here they are, and AdamW changes them in place. The
        call is a private one, hence the bounds on DeepSpeed in pyproject.toml.
        """
        for group in self._inner.param_groups:
            (flat,) = group["params"]
            zeros = {name: torch.zeros_like(flat, requires_grad=False) for name in _MOMENTS}
            self._inner.state[flat] = {"step": torch.zeros((), dtype=torch.float32, device=flat.device), **zeros}
        self._split._lazy_init_hp_params_optimizer_state()

    @property
    def _engine(self) -> Any:
        return self.network

    @property
    def _split(self) -> Any:
        """DeepSpeed's optimizer, around ours: it cuts each group into one flat part a process."""
        return self.optimizer

    @property
    def _inner(self) -> torch.optim.Optimizer:
        """Our AdamW, which steps this process's flat parts."""
        inner: torch.optim.Optimizer = self._split.optimizer
        return inner
