"""Where a launch meets the machine: Accelerate's view of it, refused where it is not what was launched."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    ProjectConfiguration,
    broadcast_object_list,
    parse_flag_from_env,
)
from torch import distributed

from trainer.contract.errors import ClassifactError, InputError
from trainer.contract.system.machine import cpu_count, cpu_has_bf16
from trainer.processes.fsdp import check_strategy, shard
from trainer.recipes.recipe import Recipe
from trainer.run_folder.trackers import TRACKERS_FOLDER, check_trackers

_WORLD_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


def start_accelerator(recipe: Recipe, out: Path) -> Accelerator:
    """Accelerate's view of the launch; its `mixed_precision` is what is really trained in, see `fitting_precision`.

    Raises ClassifactError where it is not what was launched or the loop cannot train under it, InputError for a missing
    tracker.
    """
    check_trackers(recipe.tracking)
    check_strategy()
    try:
        # Accelerate's launcher does not pass `use_cpu` on to several processes; without this they would not find each
        # other.
        cpu_only = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
        folders = ProjectConfiguration(project_dir=str(out), logging_dir=str(out / TRACKERS_FOLDER))
        # The processes meet first: they must agree on a precision.
        precision = fitting_precision(PartialState(cpu=cpu_only))
        accelerator = Accelerator(
            mixed_precision=precision,
            cpu=cpu_only,
            log_with=list(recipe.tracking) or None,
            project_config=folders,
            # Gradients are views of the buffers that are exchanged: each process holds one copy less.
            kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
        )
    except ValueError as error:
        # fp16 on a CPU, for one.
        raise InputError(
            "Accelerate cannot start this launch", found=str(error), do="correct mixed_precision in the launch config"
        ) from error
    check_world(accelerator.num_processes)
    shard(accelerator)
    return accelerator


@contextmanager
def first_process_first(accelerator: Accelerator) -> Iterator[None]:
    """A block that the main process runs before the others.

    Where it fails there, the others raise its error: waiting for it, as in Accelerate's own block, they would end with
    a traceback of their lost connection.
    """
    if not accelerator.is_main_process:
        (met,) = broadcast_object_list([None])
        if met is not None:
            raise met
        yield
        return
    error: BaseException | None = None
    try:
        yield
    except BaseException as problem:
        known = isinstance(problem, ClassifactError | OSError)
        error = problem if known else ClassifactError("the first process ended with an error, which it tells")
        raise
    finally:
        if accelerator.num_processes > 1:
            broadcast_object_list([error])


def fitting_precision(state: PartialState) -> str:
    """The launch's precision, as Accelerate names it, but "no" (fp32) for bf16 where any of its processors lacks the
    instructions: emulated, bf16 is many times slower than fp32 and no better.
    """
    asked = asked_precision()
    if asked != "bf16":
        return asked
    everywhere = torch.tensor(float(_has_bf16(state.device)), device=state.device)
    if state.num_processes > 1:
        distributed.all_reduce(everywhere, distributed.ReduceOp.MIN)
    return asked if everywhere.item() else "no"


def asked_precision() -> str:
    """What the launch config says, as Accelerate's launcher hands it over; "no" if no launcher started us."""
    return os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()


def precision_name(accelerator: Accelerator) -> str:
    """What is really trained in: fp32, bf16 or fp16."""
    return "fp32" if accelerator.mixed_precision == "no" else str(accelerator.mixed_precision)


def facts(accelerator: Accelerator) -> dict[str, Any]:
    """Where a run's steps are taken, as its log keeps it."""
    return {
        "precision": precision_name(accelerator),
        "device": accelerator.device.type,
        "processes": accelerator.num_processes,
        "processors": cpu_count(),
    }


def described(accelerator: Accelerator) -> str:
    """The launch in a line: processes, device, precision, and why it is not the one asked for."""
    text = (
        f"{accelerator.num_processes} process(es) on {accelerator.device.type}, precision {precision_name(accelerator)}"
    )
    if asked_precision() == accelerator.mixed_precision:
        return text
    return f"{text}: bf16, which the launch config asks for, has no instructions on this processor and would be slower"


def check_world(processes: int) -> None:
    """Refuse processes that were started together and do not know of each other: each would train, and overwrite the
    others' run.
    """
    for name in _WORLD_SIZES:
        launched = os.environ.get(name, "")
        if launched.isdecimal() and int(launched) != processes:
            raise ClassifactError(
                "the launched processes do not see each other",
                where=f"environment variable {name}",
                found=f"{launched} launched, {processes} in Accelerate's group",
                do="use one of launch_configs/ (for two CPU processes: two_cpu_processes.yaml)",
            )


def _has_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bf16 by instructions of its own; true of the kinds that we cannot ask."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type != "cpu" or cpu_has_bf16()
