"""Programs that end with the one that started them, however that ends (SIGKILL too), and all that they started as well.

    python leash.py PIPE COMMAND...

runs a command in a process group of its own, and kills that group as soon as the pipe's other end is closed: which the
system does for a process that is gone.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any


class Leashed(subprocess.Popen[Any]):
    """A command on a leash; `kill`, and the end of a `with` block while it still runs, end all that it started too."""

    def __init__(self, command: Sequence[str], **given: Any) -> None:
        """command: its first word is a path. given: as `subprocess.Popen` takes it."""
        theirs, self._ours = os.pipe()
        try:
            # -I: nothing that the command's environment says of Python is meant for the leash.
            leash = [sys.executable, "-I", __file__, str(theirs), *command]
            super().__init__(leash, pass_fds=(theirs,), start_new_session=True, **given)
        except BaseException:
            os.close(self._ours)
            raise
        finally:
            os.close(theirs)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        super().__exit__(kind, error, trace)

    def kill(self) -> None:
        """End it and all that it started; harmless where that has ended."""
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1


def run(command: Sequence[str], *, timeout: float | None = None, **given: Any) -> subprocess.CompletedProcess[Any]:
    """As `subprocess.run` with check=True, on a leash. timeout: seconds, after which all is killed."""
    with Leashed(command, **given) as process:
        try:
            out, told = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, told = process.communicate()
            raise subprocess.TimeoutExpired(command, timeout or 0, out, told) from None
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command, out, told)
        return subprocess.CompletedProcess(command, process.returncode, out, told)


def _wait_for_the_end(pipe: int) -> None:
    # Nobody writes: it is read to its end, which comes when no process holds the other one any more.
    os.read(pipe, 1)
    os.killpg(0, signal.SIGKILL)


def _main() -> None:
    child = subprocess.Popen(sys.argv[2:])
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
    threading.Thread(target=_wait_for_the_end, args=(int(sys.argv[1]),), daemon=True).start()
    code = child.wait()
    if code < 0:
        # As the command ended, so that who reads the exit code is told the signal.
        signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    _main()
