"""Which of several graphs is faster here: side by side, in turns, over several rounds, as scoring runs them."""

import time
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from export.runtime import run_batches
from trainer.contract.encoding import Batch


@dataclass(frozen=True, kw_only=True)
class Race:
    """names: of the sessions. seconds: float64 [rounds, sessions]. rows: scored in each turn."""

    names: tuple[str, ...]
    seconds: NDArray[np.float64]
    rows: int

    def gain(self, name: str, over: str) -> float:
        """How many times faster than another session, the median over rounds: 1.1 is a tenth faster."""
        ratios = self.seconds[:, self.names.index(over)] / self.seconds[:, self.names.index(name)]
        return float(np.median(ratios))

    def rows_per_second(self, name: str) -> float:
        """The median over rounds."""
        return float(self.rows / np.median(self.seconds[:, self.names.index(name)]))


def race(sessions: dict[str, ort.InferenceSession], batches: list[Batch], rounds: int) -> Race:
    """Time every session on every batch, `rounds` times, in turns: what else the machine does then meets all alike."""
    seconds = np.zeros((rounds, len(sessions)))
    for session in sessions.values():
        run_batches(session, batches[:2])
    for number in range(rounds):
        # Each round starts with another session, so that none always runs on a cool processor.
        order = np.roll(np.arange(len(sessions)), number)
        for place in order.tolist():
            started = time.perf_counter()
            run_batches(list(sessions.values())[place], batches)
            seconds[number, place] = time.perf_counter() - started
    return Race(names=tuple(sessions), seconds=seconds, rows=sum(len(batch.ids) for batch in batches))
