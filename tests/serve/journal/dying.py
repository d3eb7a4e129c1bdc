"""Jobs that die as by kill -9: at their K-th touch of the disk, or some time after they began.

`python -m tests.serve.journal.dying` reads jobs from standard input, a JSON line each, and answers each with a
line; `Dying` speaks to it. Every job runs in a fork of this process, which has the libraries loaded and no thread: a
death costs no start of Python. A write that is died in leaves half of its bytes, as a real one may.
"""

import importlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from serve.cli import main
from serve.journal import notes, work_folder

REPOSITORY = Path(__file__).parents[3]
KILLED = -signal.SIGKILL


@dataclass(frozen=True, kw_only=True)
class End:
    """How a job ended."""

    code: int
    """Its exit code; `KILLED` if it died."""
    touches: int
    """How often it touched the disk; 0 if it died."""
    stderr: str
    """What it wrote to standard error."""


class Dying:
    """A process that is ready to run jobs."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.serve.journal.dying"]
        self._process = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, command: list[str], *, moment: int = 0, seconds: float = 0) -> End:
        """Run `serve` with a command.

        moment: the touch of the disk at which it dies; seconds: after how many it is killed. 0: not at all.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([command, moment, seconds]), file=self._process.stdin, flush=True)
        return End(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def _answer(command: list[str], moment: int, seconds: float) -> End:
    """Run a job in a fork, and wait for it."""
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as touches:
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            os.dup2(errors.fileno(), 1)
            os.dup2(errors.fileno(), 2)
            _run(command, moment, touches.fileno())
        status = _wait(child, seconds)
        for file in (errors, touches):
            file.seek(0)
        return End(
            code=os.waitstatus_to_exitcode(status),
            touches=int(touches.read() or 0),
            stderr=errors.read().decode(errors="replace"),
        )


def _wait(child: int, seconds: float) -> int:
    """The status that a job ends with; after so many seconds it is killed."""
    # By polling: a timer would be a thread, and a process with threads does not fork safely.
    end = time.monotonic() + seconds
    while seconds and time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        time.sleep(0.001)
    if seconds:
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def _run(command: list[str], moment: int, touches: int) -> NoReturn:
    """Run a job in this process, which ends with it; the file gets the number of its touches."""
    code = 1
    try:
        counter = _prepare(moment)
        main(command)
    except SystemExit as end:
        code = int(end.code or 0)
        os.write(touches, str(next(counter) - 1).encode())
    except BaseException:  # noqa: BLE001 -- a fork that went on would be a second parent
        traceback.print_exc()
    finally:
        # Without the parent's own clean-up, which is the parent's.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _prepare(moment: int) -> Iterator[int]:
    """Count each touch of the disk, and die at one of them. Returns the counter."""
    touches = itertools.count(1)

    def deadly(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            if next(touches) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return wrapped

    def torn(file: Any, content: bytes) -> None:
        if next(touches) == moment:
            append(file, content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        append(file, content)

    append = notes.append
    # Each window is made safe: the more touches, the more places to die.
    work_folder.COMMIT_SECONDS = 0.0
    work_folder.append = notes.append = torn  # type: ignore[assignment]
    os.fsync, os.truncate, shutil.rmtree = deadly(os.fsync), deadly(os.truncate), deadly(shutil.rmtree)  # type: ignore[assignment]
    Path.replace, Path.unlink = deadly(Path.replace), deadly(Path.unlink)  # type: ignore[method-assign]
    return touches


if __name__ == "__main__":
    # What a job loads only when it needs it is loaded once for all.
    for name in ("serve.job", "serve.pipeline", "pyarrow.csv", "pyarrow.parquet", "onnxruntime", "tokenizers"):
        importlib.import_module(name)
    for line in sys.stdin:
        print(json.dumps(asdict(_answer(*json.loads(line)))), flush=True)
