"""Training that is split over processes: what a launch may ask for, and how what FSDP 2 split becomes whole again.

Files hold whole tensors, under the names and in the order they have in one process: a run that was saved under FSDP
goes on in one process, and the other way round.
"""

import copy
import os
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from trainer.contract.errors import InputError
from trainer.network.layers import encoder_layers, layers_name

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
# What the launcher may hand over of fsdp_config, and what to write there.
_FSDP = {
    "VERSION": ({"2"}, "fsdp_version: 2"),
    "CPU_RAM_EFFICIENT_LOADING": (
        {"", "false"},
        "fsdp_cpu_ram_efficient_loading: false; every process reads the weights",
    ),
    "ACTIVATION_CHECKPOINTING": (
        {"", "false"},
        "fsdp_activation_checkpointing: false; a stage has gradient_checkpointing",
    ),
    "OFFLOAD_PARAMS": ({"", "false"}, "fsdp_offload_params: false"),
}


def check_strategy() -> None:
    """Refuse what the loop cannot train under, before processes meet.

    Raises InputError for DeepSpeed, and for settings of FSDP that the loop has no use for.
    """
    if _asked("DEEPSPEED"):
        raise InputError(
            "the loop does not train under DeepSpeed",
            where="the launch config",
            do="use launch_configs/fsdp.yaml; with fsdp_reshard_after_forward: false it splits what ZeRO 2 splits",
        )
    for name, (good, line) in _FSDP.items() if _asked("FSDP") else ():
        found = os.environ.get(f"FSDP_{name}", "").lower()
        if found not in good:
            raise InputError(
                "the loop does not train under this setting of FSDP",
                where=f"the launch config ({name.lower()})",
                found=found,
                expected=line,
            )


def shard(accelerator: Accelerator) -> None:
    """Have Accelerate split the network, where the launch config says FSDP.

    Raises InputError if there is one process only, or if the network would be compiled.
    """
    if not _asked("FSDP"):
        return
    if accelerator.num_processes == 1:
        raise InputError(
            "FSDP splits a network over processes, and there is one",
            where="the launch config",
            do="raise num_processes, or use launch_configs/one_gpu.yaml (for a search: multi_gpu.yaml)",
        )
    if accelerator.state.dynamo_plugin.backend.value != "NO":
        raise InputError(
            "the loop does not compile a network that FSDP splits",
            where="the launch config",
            do="remove dynamo_config (--dynamo_backend), or use launch_configs/multi_gpu.yaml",
        )
    plugin = FullyShardedDataParallelPlugin()
    if accelerator.mixed_precision in _HALF:
        # Accelerate's own choice adds gradients up, and exchanges them, in half precision.
        plugin.mixed_precision_policy = MixedPrecisionPolicy(
            param_dtype=_HALF[accelerator.mixed_precision], reduce_dtype=torch.float32
        )
    accelerator.state.fsdp_plugin = plugin
    # Accelerate 1.15 looks for FSDP on GPUs only; on CPUs it would go on under DDP without a word. Its second state
    # takes the type from the first, again and again.
    PartialState().distributed_type = accelerator.state.distributed_type = DistributedType.FSDP


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether processes hold parts of what is trained: then every micro-batch, forward and backward, needs all."""
    return bool(accelerator.distributed_type is DistributedType.FSDP)


def split_copy(accelerator: Accelerator, network: PreTrainedModel) -> PreTrainedModel:
    """A copy of the network to be split, between its layers where the launch config does not say where.

    Splitting cannot be undone: the plain network stays, for files and for the next stage.
    """
    plugin = accelerator.state.fsdp_plugin
    if plugin.transformer_cls_names_to_wrap is None:
        plugin.transformer_cls_names_to_wrap = layer_classes(network)
    return copy.deepcopy(network)


def layer_classes(network: PreTrainedModel) -> list[str]:
    """The names of the encoder's layers' classes; none where layers share their weights.

    What transformers itself says must not be cut (`_no_split_modules`) is nothing for BERT, and for RoBERTa a class
    that it does not have.
    """
    layers = encoder_layers(network) if layers_name(network) is not None else []
    return sorted({type(layer).__name__ for layer in layers})


def whole(state: Any, *, keep: bool) -> Any:
    """A state dict with every split tensor gathered, on the CPU. All processes must call it; only those with `keep`
    hold the result, the others None in its place.
    """
    if isinstance(state, dict):
        return {name: whole(part, keep=keep) for name, part in state.items()}
    if isinstance(state, list):
        return [whole(part, keep=keep) for part in state]
    if isinstance(state, DTensor):
        full = state.full_tensor()
        return full.cpu() if keep else None
    return state


def load_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Load a whole state dict, each tensor split as its parameter is."""
    parameters = [own for group in optimizer.param_groups for own in group["params"]]
    state = {number: _like(parameters[number], parts) for number, parts in saved["state"].items()}
    optimizer.load_state_dict({**saved, "state": state})


def _like(parameter: nn.Parameter, parts: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(parameter, DTensor):
        return parts
    mesh, placements = parameter.device_mesh, parameter.placements
    return {
        # The count of steps is one number for the whole tensor.
        name: distribute_tensor(part.to(mesh.device_type), mesh, placements) if part.shape == parameter.shape else part
        for name, part in parts.items()
    }


def _asked(strategy: str) -> bool:
    return os.environ.get(f"ACCELERATE_USE_{strategy}", "").lower() == "true"
