"""`trainer/run.py`, in a process that is killed at a chosen place: what tests launch in its stead.

DIE=step:7 kills the last process after its step 7, DIE=sync:31 the first one as it syncs its 31st file or folder to the
disk, which is in the middle of saving something.
"""

import os
import signal
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[3])

from trainer.cli import launched  # noqa: E402 -- as in run.py
from trainer.processes.end import run_to_the_end  # noqa: E402
from trainer.run_folder.track import Track  # noqa: E402


def prepare(what: str, number: int) -> None:
    """Put the end in its place."""
    rank, processes = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    step, sync = Track.step, os.fsync
    synced = 0

    def counted(file: int) -> None:
        nonlocal synced
        synced += 1
        if synced == number:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(file)

    def stepped(self: Track, place: dict[str, int], values: dict[str, float], tokens: int) -> None:
        step(self, place, values, tokens)
        if place["step"] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    if what == "sync" and rank == 0:
        os.fsync = counted  # type: ignore[assignment]
    if what == "step" and rank == processes - 1:
        Track.step = stepped  # type: ignore[method-assign]


if __name__ == "__main__":
    what, number = os.environ["DIE"].split(":")
    prepare(what, int(number))
    run_to_the_end(launched)
