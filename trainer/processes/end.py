"""The end of a process of a launch."""

import atexit
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from trainer.contract.errors import told_in_launch


def run_to_the_end(command: Callable[[], object]) -> NoReturn:
    """Run a command, and end this process with its exit code: 1, after a traceback, for an error that it lets through.

    One of several processes ends as those of Python's multiprocessing do: what was registered with `atexit` runs, but
    the interpreter is not taken apart. A thread of gloo may hold a tensor a moment longer than the main thread does. If
    it lets go of it while the interpreter goes, the process is aborted (pytorch/pytorch, pull request 179291), and
    SIGABRT stands in place of the exit code.

    A process that lost another one ends with that one's exit code, and adds nothing to the error that stands there.
    """
    try:
        command()
        code = 0
    except SystemExit as end:
        if isinstance(end.code, int | None):
            code = end.code or 0
        else:
            print(end.code, file=sys.stderr)
            code = 1
    except BaseException as error:  # noqa: BLE001 -- told and ended as the interpreter would
        told = told_in_launch() if _is_lost_connection(error) else None
        if told is None:
            sys.excepthook(*sys.exc_info())
        code = told or 1
    if os.environ.get("WORLD_SIZE", "1") == "1":
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def _is_lost_connection(error: BaseException) -> bool:
    """Whether torch says that another process does not answer. gloo's own errors come as plain RuntimeError."""
    return isinstance(error, RuntimeError) and ("gloo" in str(error) or type(error).__name__.startswith("Dist"))
