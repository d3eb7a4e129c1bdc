"""A training started through Accelerate's own launcher, with a launch config that the user names or the machine asks
for.
"""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command, launch_command_parser
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from trainer.contract.errors import ClassifactError, InputError, nearest
from trainer.contract.system.machine import cpu_count
from trainer.run_folder.keeper import Interrupted

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
    """Launch `trainer/run.py` and wait for it; SIGTERM is passed on to it.

    Raises InputError where the launch config cannot be used, SystemExit with the exit code of a training that failed,
    which has then said why, and ClassifactError where a signal ended it.
    """
    path = find_config(job.config) if job.config is not None else CONFIGS / f"{default_config()}.yaml"
    script = str(_ROOT / "trainer" / "run.py")
    if psutil.cpu_count(logical=False) is None:
        # Accelerate's launcher would divide that by the processes: some ARM and gVisor machines do not tell of cores.
        os.environ.setdefault("OMP_NUM_THREADS", str(cpu_count()))
    # They tell how many threads they take and which process failed; the run's own lines say all of that.
    for name in ("accelerate.commands.launch", "torch.distributed.elastic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    _check_config(path)
    try:
        with _sigterm_passed_on():
            launch_command(launch_command_parser().parse_args(["--config_file", str(path), script, *job.words]))
    except subprocess.CalledProcessError as error:
        _end(error.returncode)
    except ChildFailedError as error:
        _end(error.get_first_failure()[1].exitcode)
    except SignalException:
        # Its processes have saved by now, and said so.
        sys.exit(Interrupted.exit_code)
    except ValueError as error:
        # Values that cannot be together, such as several processes on one GPU.
        raise _unusable(path, error) from error


def _check_config(path: Path) -> None:
    try:
        load_config_from_file(str(path))
    except (AttributeError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        # What Accelerate raises for a file of another kind, and for keys that it does not know.
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> InputError:
    return InputError(
        "Accelerate cannot use this launch config",
        where=path,
        found=" ".join(str(error).split())[:300],
        do="correct it, or take one of launch_configs/ by its name",
    )


def _end(code: int) -> None:
    """End this process as the training ended. code: as subprocess has it, negative for a signal."""
    if code >= 0:
        sys.exit(code)
    raise ClassifactError(
        "a signal ended the training",
        found=signal.Signals(-code).name,
        do="where memory ran out, lower batch.tokens of the stages; the same command with --resume goes on from what is"
        " saved",
    )


@contextmanager
def _sigterm_passed_on() -> Iterator[None]:
    """Hand SIGTERM on to the launched process, and end after it has saved: a container ends with its first process.

    Of several processes Accelerate's launcher does this itself. A terminal sends SIGINT to all of them.
    """

    def hand_on(number: int, _frame: object) -> None:
        """Send the signal to the launched process; where there is none yet, end here."""
        children = psutil.Process().children()
        if not children:
            sys.exit(128 + number)
        for child in children:
            child.send_signal(number)

    former = signal.signal(signal.SIGTERM, hand_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


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
