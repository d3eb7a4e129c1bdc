"""Run `score` and die, as by kill -9, at the K-th touch of the disk: `python dying.py K ARGUMENTS...`.

A write that is died in leaves half of its bytes, as a real one may.
"""

import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from serve.cli import main
from serve.journal import notes as log
from serve.journal import work_folder as journal

_touches = itertools.count(1)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _deadly(function: Callable[..., Any], last: int) -> Callable[..., Any]:
    def wrapped(*arguments: Any, **options: Any) -> Any:
        if next(_touches) == last:
            _die()
        return function(*arguments, **options)

    return wrapped


def _torn(function: Callable[..., Any], last: int) -> Callable[..., Any]:
    def wrapped(file: Any, content: bytes) -> None:
        if next(_touches) == last:
            function(file, content[: len(content) // 2])
            _die()
        function(file, content)

    return wrapped


if __name__ == "__main__":
    moment = int(sys.argv[1])
    journal.COMMIT_SECONDS = 0.0
    journal.append = log.append = _torn(log.append, moment)
    os.fsync = _deadly(os.fsync, moment)
    os.truncate = _deadly(os.truncate, moment)
    Path.replace = _deadly(Path.replace, moment)  # type: ignore[method-assign]
    Path.unlink = _deadly(Path.unlink, moment)  # type: ignore[method-assign]
    shutil.rmtree = _deadly(shutil.rmtree, moment)  # type: ignore[assignment]
    main(sys.argv[2:])
