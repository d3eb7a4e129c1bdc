"""The loop of a job: while the workers score one window, the next is read and the one before is written."""

import signal
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from serve.journal.state import Scored, State
from serve.operations.progress import Phases, Progress
from serve.reading.windows import Window
from serve.scoring.stage import Begun, Stage
from serve.writing.rejects import ErrorBound
from trainer.contract.errors import ClassifactError
from trainer.contract.machine import peak_memory

# Windows that are read and tokenized before the first of them is waited for: one is scored, one is ready.
_AHEAD = 2


class StoppedError(ClassifactError):
    """The job was asked to end, and can be resumed. The exit code is a shell's for SIGTERM."""

    exit_code = 128 + signal.SIGTERM


class Sink(Protocol):
    """What takes the bytes of windows, in order."""

    @property
    def state(self) -> State:
        """How far the job is."""

    def append(self, rows: bytes, errors: bytes, state: State) -> None:
        """Add a window's bytes; `state` is how far the job is with them."""

    def commit(self) -> None:
        """Make what was appended safe."""

    @property
    def rejected(self) -> str:
        """Where the rejected rows are until the job is whole."""


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Processor seconds: of everything, and of the session alone."""

    cpu: float
    session: float


class Engine(Protocol):
    """Where windows are scored: in this process, or on a cluster. workers: threads or processes that score."""

    workers: int

    def results(self, phases: Phases) -> Generator[Scored]:
        """Every window, in order. Closing the iterator takes back what was begun."""

    def spent(self) -> Spent:
        """What scoring has cost so far."""


class LocalEngine:
    """Scores the windows in this process."""

    def __init__(self, stage: Stage, windows: Iterator[Window]) -> None:
        self.workers = stage.scorer.workers
        self._stage = stage
        self._windows = windows

    def results(self, phases: Phases) -> Generator[Scored]:
        """Every window, in order."""
        begun: deque[Begun] = deque()
        try:
            while True:
                with phases("read"):
                    window = next(self._windows, None)
                if window is None:
                    break
                begun.append(self._stage.begin(window, phases))
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


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Windows from an engine into a sink, in order, with what it costs. stop: ends the job after a window."""

    engine: Engine
    sink: Sink
    progress: Progress
    stop: threading.Event
    max_errors: ErrorBound

    def run(self) -> dict[str, object]:
        """Every window; returns the figures. Raises ClassifactError where too many rows are rejected."""
        first, before, start = self.sink.state, self.engine.spent(), time.perf_counter()
        phases = Phases()
        self.progress.begin(first, None)
        try:
            with closing(self.engine.results(phases)) as results:
                for scored in results:
                    with phases("write"):
                        self.sink.append(scored.rows, scored.errors, self.sink.state.after(scored))
                    self.progress.update(self.sink.state, self.progress.share(scored.number, scored.share))
                    self._check_bound(last=False)
                    # What is begun behind this window is begun anew on resuming.
                    if self.stop.is_set():
                        self._stopped()
        finally:
            self.progress.close()
        self._check_bound(last=True)
        return {
            **_counts(self.sink.state),
            "workers": self.engine.workers,
            **_rates(first, self.sink.state, time.perf_counter() - start),
            "phases": {name: round(spent, 3) for name, spent in phases.seconds.items()},
            **_costs(before, self.engine.spent()),
            "peak_memory_mb": round(peak_memory() / 1e6, 1),
        }

    def _stopped(self) -> None:
        self.sink.commit()
        raise StoppedError("stopped by a signal", found=f"{self.sink.state.read} rows done", do="go on with --resume")

    def _check_bound(self, *, last: bool) -> None:
        state = self.sink.state
        nothing = last and state.rejected > 0 and state.scored == 0
        if nothing or self.max_errors.exceeded(state):
            self.sink.commit()
            raise ClassifactError(
                "no row could be scored" if nothing else "too many rows were rejected",
                where=self.sink.rejected,
                found=f"{state.rejected} of {state.read} rows: "
                + ", ".join(f"{count} {reason}" for reason, count in state.reasons.items()),
                do="raise --max-errors and go on with --resume; or mend the input and begin anew",
            )


def _counts(state: State) -> dict[str, object]:
    """Of the whole job."""
    return {
        "rows_read": state.read,
        "rows_scored": state.scored,
        "rows_rejected": state.rejected,
        "reasons": state.reasons,
        "distinct_texts": state.distinct,
        "rows_cut": state.rows_cut,
        "tokens": state.tokens,
        "tokens_cut": state.tokens_cut,
        "padding_share": round(1 - state.tokens / state.padded_tokens, 4) if state.padded_tokens else 0.0,
    }


def _rates(first: State, last: State, seconds: float) -> dict[str, object]:
    """Of this process, which may have resumed the job."""
    return {
        "seconds": round(seconds, 3),
        "rows_per_second": round((last.scored - first.scored) / seconds, 1),
        "tokens_per_second": round((last.tokens - first.tokens) / seconds, 1),
    }


def _costs(before: Spent, now: Spent) -> dict[str, object]:
    cpu, session = now.cpu - before.cpu, now.session - before.session
    return {
        "cpu_seconds": round(cpu, 3),
        "session_cpu_seconds": round(session, 3),
        "non_session_share": round(1 - session / cpu, 4) if cpu else 0.0,
    }
