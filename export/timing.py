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
    """names: of the sessions. seconds, processor: float64 [rounds, sessions], on the clock and of all cores' work.

    rows: scored in each turn. Gains compare the processor's time, which other programs on the machine add less to.
    """

    names: tuple[str, ...]
    seconds: NDArray[np.float64]
    processor: NDArray[np.float64]
    rows: int

    def gain(self, name: str, over: str) -> float:
        """How many times faster than another session, the median over rounds: 1.1 is a tenth faster."""
        ratios = self.processor[:, self.names.index(over)] / self.processor[:, self.names.index(name)]
        return float(np.median(ratios))

    def rows_per_second(self, name: str) -> float:
        """The median over rounds."""
        return float(self.rows / np.median(self.seconds[:, self.names.index(name)]))


def race(sessions: dict[str, ort.InferenceSession], batches: list[Batch], rounds: int) -> Race:
    """Time every session on every batch, `rounds` times, in turns: what else the machine does then meets all alike."""
    seconds, processor = np.zeros((2, rounds, len(sessions)))
    for session in sessions.values():
        run_batches(session, batches[:2])
    for number in range(rounds):
        # Each round starts with another session, so that none always runs on a cool processor.
        order = np.roll(np.arange(len(sessions)), number)
        for place in order.tolist():
            started, worked = time.perf_counter(), time.process_time()
            run_batches(list(sessions.values())[place], batches)
            seconds[number, place] = time.perf_counter() - started
            processor[number, place] = time.process_time() - worked
    return Race(
        names=tuple(sessions), seconds=seconds, processor=processor, rows=sum(len(batch.ids) for batch in batches)
    )
