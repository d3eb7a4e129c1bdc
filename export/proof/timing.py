"""Which of several ways to score is faster here: side by side, in turns, over several rounds."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Race:
    """Times of several runners. Gains compare the processor's time, to which other programs on the machine add less."""

    names: tuple[str, ...]
    """One for each runner."""
    seconds: NDArray[np.float64]
    """float64 [rounds, runners], on the clock."""
    processor: NDArray[np.float64]
    """float64 [rounds, runners], the work of all cores."""
    rows: int
    """Rows scored in each turn."""

    def gain(self, name: str, over: str) -> float:
        """How many times faster than another runner, the median over rounds: 1.1 is a tenth faster."""
        return float(np.median(self._gains(name, over)))

    def always(self, name: str, over: str, by: float) -> bool:
        """Whether it was more than so many times faster in every round: what noise does not bring about."""
        return bool((self._gains(name, over) > by).all())

    def _gains(self, name: str, over: str) -> NDArray[np.float64]:
        return np.asarray(self.processor[:, self.names.index(over)] / self.processor[:, self.names.index(name)])

    def speed(self, name: str, over: str) -> float:
        """How many times faster on the clock than another runner, of each the best round."""
        return self.rows_per_second(name) / self.rows_per_second(over)

    def rows_per_second(self, name: str) -> float:
        """On the clock, in the best round: what the machine does when it does nothing else."""
        return float(self.rows / self.seconds[:, self.names.index(name)].min())


def race(runners: Mapping[str, Callable[[], object]], *, rows: int, rounds: int) -> Race:
    """Time every runner, which scores so many rows, `rounds` times, in turns: what else the machine does meets all."""
    seconds, processor = np.zeros((2, rounds, len(runners)))
    for runner in runners.values():
        # The first run of a session allocates.
        runner()
    for number in range(rounds):
        # Each round starts with another, so that none always runs on a cool processor.
        order = np.roll(np.arange(len(runners)), number)
        for place in order.tolist():
            # The processor's time decides: a turn during which another program ran is long on the clock alone.
            started, worked = time.perf_counter(), time.process_time()
            list(runners.values())[place]()
            seconds[number, place] = time.perf_counter() - started
            processor[number, place] = time.process_time() - worked
    return Race(names=tuple(runners), seconds=seconds, processor=processor, rows=rows)
