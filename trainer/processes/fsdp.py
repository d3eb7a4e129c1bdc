"""Training that is split over processes: what a launch may ask for, and how what FSDP 2 split becomes whole again.

Files hold whole tensors, under the names and in the order they have in one process: a run that was saved under FSDP (or
DeepSpeed, see zero.py) goes on in one process, and the other way round.
"""

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin, patch_environment
from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from trainer.contract.errors import ClassifactError, InputError
from trainer.network.layers import encoder_layers, layers_name

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
# What the launcher may hand over of fsdp_config and deepspeed_config, and what to write there.
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
_ZERO = {
    "DEEPSPEED_CONFIG_FILE": ({"", "none"}, "no deepspeed_config_file; zero_stage: 2"),
    "DEEPSPEED_ZERO_STAGE": ({"", "2"}, "zero_stage: 2; where weights must be split too, fsdp.yaml"),
    "DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": ({"", "none"}, "offload_optimizer_device: none"),
    "DEEPSPEED_OFFLOAD_PARAM_DEVICE": ({"", "none"}, "offload_param_device: none"),
    "GRADIENT_ACCUMULATION_STEPS": ({"", "1"}, "gradient_accumulation_steps: 1; a stage has batch.tokens"),
    "GRADIENT_CLIPPING": ({"", "none"}, "no gradient_clipping; a stage has optimizer.clip_norm"),
    "MIXED_PRECISION": ({"", "no", "bf16"}, "mixed_precision: bf16 or no"),
}


def check_strategy() -> None:
    """Refuse what the loop cannot train under, before processes meet.

    Raises InputError for settings of FSDP and DeepSpeed that it has no use for, ClassifactError where DeepSpeed is not
    installed.
    """
    if _asked("FSDP"):
        _check("FSDP", "FSDP_", _FSDP)
    if _asked("DEEPSPEED"):
        _check("DeepSpeed", "ACCELERATE_", _ZERO)
        if find_spec("deepspeed") is None:
            raise ClassifactError(
                "DeepSpeed is not installed",
                where="the launch config",
                do="pip install 'classifact[deepspeed]', or use launch_configs/fsdp.yaml, which does the same",
            )


def _check(strategy: str, prefix: str, settings: dict[str, tuple[set[str], str]]) -> None:
    for name, (good, line) in settings.items():
        found = os.environ.get(prefix + name, "").lower()
        if found not in good:
            raise InputError(
                f"the loop does not train under this setting of {strategy}",
                where=f"the launch config ({name.lower()})",
                found=found,
                expected=line,
            )


@contextmanager
def engine_of_ours() -> Iterator[None]:
    """Around the making of an Accelerator: where DeepSpeed is asked for, it should know of several processes and no
    more. What it would make of DeepSpeed is not what the loop trains under, see zero.py.
    """
    with patch_environment(ACCELERATE_USE_DEEPSPEED="false"):
        yield


def shard(accelerator: Accelerator) -> None:
    """Have Accelerate split the network, where the launch config says FSDP.

    Raises InputError where there is nobody to share it with, or it would be compiled; under DeepSpeed too.
    """
    strategy = "FSDP" if _asked("FSDP") else "DeepSpeed"
    if not _asked("FSDP") and not is_zero():
        return
    if accelerator.num_processes == 1:
        raise InputError(
            f"{strategy} splits a network over processes, and there is one",
            where="the launch config",
            do="raise num_processes, or use launch_configs/one_gpu.yaml (for a search: multi_gpu.yaml)",
        )
    if accelerator.state.dynamo_plugin.backend.value != "NO":
        raise InputError(
            f"the loop does not compile a network that {strategy} splits",
            where="the launch config",
            do="remove dynamo_config (--dynamo_backend), or use launch_configs/multi_gpu.yaml",
        )
    if is_zero():
        return
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
    """Whether processes hold parts of what is trained: then each micro-batch, forward and backward, takes all of them
    (under DeepSpeed backward alone).
    """
    return is_zero() or bool(accelerator.distributed_type is DistributedType.FSDP)


def is_zero() -> bool:
    """Whether the launch config says DeepSpeed."""
    return _asked("DEEPSPEED")


def split_copy(accelerator: Accelerator, network: PreTrainedModel) -> PreTrainedModel:
    """A copy of the network to be split; by FSDP between its layers where the launch config does not say where.

    Splitting cannot be undone: the plain network stays, for files and for the next stage.
    """
    if not is_zero():
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
