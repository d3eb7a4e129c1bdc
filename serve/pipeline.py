"""The loop of a job: while the workers score one window, the next is read and the one before is written."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from serve.journal.output import Sink
from serve.journal.state import JobState
from serve.operations.progress import JobProgress
from serve.scoring.engine import Engine, Spent
from serve.scoring.phases import Phases
from serve.writing.rejects import ErrorBound
from trainer.contract.errors import ClassifactError
from trainer.contract.system.machine import peak_memory


class StoppedError(ClassifactError):
    """The job was asked to end, and can be resumed. The exit code is a shell's for SIGTERM."""

    exit_code = 128 + signal.SIGTERM


@contextmanager
def stop_on_sigterm() -> Iterator[threading.Event]:
    """An event that SIGTERM sets while the block runs, where this is the thread that signals reach."""
    stop = threading.Event()
    # A program that scores in a thread of its own keeps its own way to end.
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    # Only noted: a handler that raises could tear whatever runs, a rename included.
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Windows from an engine into a sink, in order, with what it costs."""

    engine: Engine
    sink: Sink
    progress: JobProgress
    stop: threading.Event
    """Ends the job after a window."""
    max_errors: ErrorBound
    whole: bool = True
    """Whether the rows are all of a job, of which some must be scored; a share may hold rejected rows alone."""
    watch: Callable[[JobState], None] = lambda _: None
    """Raises where the figures so far are to end the job."""

    def run(self) -> dict[str, object]:
        """Every window; returns the figures. Raises ClassifactError where too many rows are rejected."""
        # What an earlier process did counts in the job's figures and not in this one's rates.
        first, before, start = self.sink.state, self.engine.spent(), time.perf_counter()
        phases = Phases()
        self.progress.begin(first, None)
        try:
            # Closed on any end, so that no worker goes on with windows that nobody will write.
            with closing(self.engine.results(phases)) as results:
                for scored in results:
                    with phases("write"):
                        self.sink.append(scored)
                    self.progress.update(self.sink.state, self.progress.share(scored.number, scored.share))
                    # After each window: a job over the wrong file ends in seconds, not when the last row is read.
                    self._check_bound(last=False)
                    self._watch()
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

    def _watch(self) -> None:
        try:
            self.watch(self.sink.state)
        except ClassifactError:
            self.sink.commit()
            raise

    def _stopped(self) -> None:
        self.sink.commit()
        raise StoppedError("stopped by a signal", found=f"{self.sink.state.read} rows done", do="go on with --resume")

    def _check_bound(self, *, last: bool) -> None:
        try:
            self.max_errors.require(
                self.sink.state,
                where=self.sink.rejected,
                do="raise --max-errors and go on with --resume; or mend the input and begin anew",
                whole=last and self.whole,
            )
        except ClassifactError:
            # What was scored so far is not scored again.
            self.sink.commit()
            raise


def _counts(state: JobState) -> dict[str, object]:
    """Of the whole job."""
    return {
        "status": "done with rejects" if state.rejected or state.cells else "done",
        "rows_read": state.read,
        "rows_scored": state.scored,
        "rows_abstained": state.abstained,
        "rows_rejected": state.rejected,
        "reasons": state.reasons,
        "cells_left_out": sum(state.cells.values()),
        "cell_reasons": state.cells,
        "distinct_texts": state.distinct,
        "rows_cut": state.rows_cut,
        "tokens": state.tokens,
        "tokens_cut": state.tokens_cut,
        "tokens_cut_estimated": state.tokens_cut_estimated,
        "batches_halved": state.batches_halved,
        "padding_share": round(1 - state.tokens / state.padded_tokens, 4) if state.padded_tokens else 0.0,
    }


def _rates(first: JobState, last: JobState, seconds: float) -> dict[str, object]:
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
