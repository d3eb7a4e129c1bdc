"""A training started through Accelerate's own launcher, with a launch config that the user names or the machine asks
for.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from accelerate.commands.launch import launch_command, launch_command_parser

from trainer.contract.errors import InputError, nearest
from trainer.contract.system.machine import cpu_count

_ROOT = Path(__file__).resolve().parents[2]
CONFIGS = _ROOT / "launch_configs"


@dataclass(frozen=True, kw_only=True)
class LaunchJob:
    """What to launch."""

    words: tuple[str, ...]
    """The command line of `trainer/run.py`."""
    config: str | None = None
    """A launch config's file, or the name of one in launch_configs/ ("cpu"); by the machine where None."""


def launch(job: LaunchJob) -> None:
    """Launch `trainer/run.py` and wait for it. Raises InputError where there is no such launch config, SystemExit with
    code 1 where the training failed, which has then said why.
    """
    path = find_config(job.config) if job.config is not None else CONFIGS / f"{default_config()}.yaml"
    script = str(_ROOT / "trainer" / "run.py")
    if psutil.cpu_count(logical=False) is None:
        # Accelerate's launcher would divide that by the processes: some ARM and gVisor machines do not tell of cores.
        os.environ.setdefault("OMP_NUM_THREADS", str(cpu_count()))
    # It tells how many threads it takes where the config says nothing; the run's own first lines tell of the launch.
    logging.getLogger("accelerate.commands.launch").setLevel(logging.ERROR)
    # `--quiet`: what went wrong is in the run's own words; the launcher would add a traceback of itself.
    launch_command(launch_command_parser().parse_args(["--config_file", str(path), "--quiet", script, *job.words]))


def find_config(name: str) -> Path:
    """The file of a launch config. Raises InputError where there is none."""
    if Path(name).is_file():
        return Path(name)
    shipped = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
    if name in shipped:
        return CONFIGS / f"{name}.yaml"
    raise InputError(
        "there is no such launch config",
        where=name,
        expected=f"a file, or one of {', '.join(shipped)}",
        do=nearest(name, shipped) or f"check the path; the shipped ones are in {CONFIGS}",
    )


def default_config() -> str:
    """The launch config that suits this machine: `one_gpu` where torch sees a GPU, else `cpu`."""
    return "one_gpu" if torch.cuda.is_available() else "cpu"
