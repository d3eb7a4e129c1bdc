"""Where a launch meets the machine: Accelerate's view of it, refused where it is not what was launched."""

import os
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration

from trainer.contract.errors import ClassifactError, InputError
from trainer.processes.fsdp import check_strategy, shard
from trainer.recipes.recipe import Recipe
from trainer.run_folder.trackers import FOLDER, check_trackers

_WORLD_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


def start_accelerator(recipe: Recipe, out: Path) -> Accelerator:
    """Accelerate's view of the launch.

    Raises ClassifactError where it is not what was launched or the loop cannot train under it, InputError for a missing
    tracker.
    """
    check_trackers(recipe.tracking)
    check_strategy()
    try:
        # Accelerate's launcher does not pass `use_cpu` on to several processes; without this they would not find each
        # other.
        cpu_only = not torch.accelerator.is_available()
        folders = ProjectConfiguration(project_dir=str(out), logging_dir=str(out / FOLDER))
        accelerator = Accelerator(cpu=cpu_only, log_with=list(recipe.tracking) or None, project_config=folders)
    except ValueError as error:
        # fp16 on a CPU, for one.
        raise InputError(
            "Accelerate cannot start this launch", found=str(error), do="correct mixed_precision in the launch config"
        ) from error
    check_world(accelerator.num_processes)
    shard(accelerator)
    if (
        accelerator.is_main_process
        and accelerator.mixed_precision == "bf16"
        and accelerator.device.type == "cpu"
        and not _cpu_has_bf16()
    ):
        print(
            "note: this CPU has no bf16 instructions; `mixed_precision: no` in the launch config will be faster",
            flush=True,
        )
    return accelerator


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


def _cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 itself; where torch cannot tell (not x86), no is not claimed."""
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe()) if probe is not None else True
