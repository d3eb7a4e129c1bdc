"""Where windows are scored: in this process (`LocalEngine`), or on a cluster (`ray_engine.py`)."""

import time
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Protocol

from serve.journal.state import ScoredWindow
from serve.reading.windows import Window
from serve.scoring.phases import Phases
from serve.scoring.window_scorer import Begun, WindowScorer

# Windows that are read and tokenized before the first of them is waited for: one is scored, one is ready.
_AHEAD = 2


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Processor seconds: of everything, and of the session alone."""

    cpu: float
    session: float


class Engine(Protocol):
    """Scores windows. workers: threads or processes that do."""

    workers: int

    def results(self, phases: Phases) -> Generator[ScoredWindow]:
        """Every window, in order. Closing the iterator takes back what was begun."""

    def spent(self) -> Spent:
        """What scoring has cost so far."""


class LocalEngine:
    """Scores the windows in this process."""

    def __init__(self, stage: WindowScorer, windows: Iterator[Window]) -> None:
        self.workers = stage.scorer.workers
        self._stage = stage
        self._windows = windows

    def results(self, phases: Phases) -> Generator[ScoredWindow]:
        """Every window, in order."""
        begun: deque[Begun] = deque()
        try:
            while True:
                with phases("read"):
                    window = next(self._windows, None)
                if window is None:
                    break
                begun.append(self._stage.begin(window, phases))
                # Reading on while workers are busy; the oldest window is the one that is written next.
                if len(begun) > _AHEAD:
                    yield self._stage.end(begun.popleft(), phases)
            while begun:
                yield self._stage.end(begun.popleft(), phases)
        finally:
            for rest in begun:
                rest.pending.cancel()

    def spent(self) -> Spent:
        """What this process and its session have spent."""
        return Spent(cpu=time.process_time(), session=self._stage.scorer.session_seconds)
