"""The processes of a launched search: each works through trials of its own, on its own device."""

import os
from dataclasses import dataclass

from torch import distributed

# What a launcher tells each process about the others; with it, every trial would wait for all of them.
_GROUP = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One of the processes that work on one search. Until `part`, they can wait for each other."""

    rank: int
    """Its number; the first is 0."""
    processes: int
    """How many there are."""

    @classmethod
    def join(cls) -> "Worker":
        """Find the others that were launched with this process, where there are any."""
        worker = cls(rank=int(os.environ.get("RANK", "0")), processes=int(os.environ.get("WORLD_SIZE", "1")))
        if worker.processes > 1:
            distributed.init_process_group("gloo")
        return worker

    def wait(self) -> None:
        """Go on when all others are here."""
        if self.processes > 1:
            distributed.barrier()

    def part(self) -> None:
        """Be alone from here on, with the GPU of this process's own number."""
        if self.processes == 1:
            return
        distributed.destroy_process_group()
        place = int(os.environ.get("LOCAL_RANK", "0"))
        visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        # Before anything has asked CUDA for its devices.
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[place % len(visible)] if visible else str(place)
        for name in [
            name for name in os.environ if name in _GROUP or name.startswith(("TORCHELASTIC_", "ROLE_", "GROUP_"))
        ]:
            del os.environ[name]
