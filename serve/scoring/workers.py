"""Threads that score the batches of a window, and what they do where memory runs out."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from serve.scoring.batching import Plan
from serve.scoring.session import OutOfMemoryError, RunError, Session
from trainer.contract.encoding import Ints, TextEncoder

Logits = NDArray[np.float32]
# A batch's logits, and how often it was cut in two for them.
Scored = tuple[Logits, int]
# Rows that an error names; the others are counted.
_NAMED = 5


class Pending:
    """A window that the workers are busy with."""

    def __init__(self, window: Plan, futures: list[Future[Scored]], labels: int) -> None:
        self.plan = window
        self.halved = 0
        self._futures = futures
        self._labels = labels

    def result(self, name: Callable[[int], object] = int) -> Logits:
        """Wait, then the logits of the window's rows in their order, float32 [N, C], of the student where it answers.

        name: what an error calls a row, by its place in the window. Raises RunError, with the rows of the batch, where
        ONNX Runtime fails. `halved` counts the batches that were cut in two for it.
        """
        logits, self.halved = np.zeros((len(self.plan.encoded), self._labels), dtype=np.float32), 0
        for batch, future in zip(self.plan.batches, self._futures, strict=True):
            try:
                logits[batch], halved = future.result()
                self.halved += halved
            except RunError as error:
                failed = batch if error.rows is None else error.rows
                rows = np.flatnonzero(np.isin(self.plan.source, failed)).tolist()
                raise error.at([name(row) for row in rows[:_NAMED]], len(rows)) from error
        found = logits[self.plan.source]
        if self.plan.answers is None:
            return found
        return np.where(self.plan.by_student[:, None], self.plan.answers.logits[self.plan.source], found)

    def cancel(self) -> None:
        """Take back what no worker has begun."""
        for future in self._futures:
            future.cancel()


class Workers:
    """A pool of threads, `each` for every session; a thread keeps its session.

    Where memory runs out, a batch is scored again while no other is, and only then in halves. So the batches of a
    window stay what the rows' positions make them, unless one does not fit by itself: its int8 scores (and the last
    digits of others) then depend on the machine's memory. `halved` counts the cuts.
    """

    def __init__(self, sessions: Sequence[Session], each: int, encoder: TextEncoder) -> None:
        self.count = len(sessions) * each
        self.halved = 0
        self._encoder = encoder
        self._lock = threading.Lock()
        # Whoever scores holds one place; whoever must be alone holds all.
        self._places = threading.Semaphore(self.count)
        self._queue = threading.Lock()
        self._mine = threading.local()
        self._seconds = 0.0
        self._pool = ThreadPoolExecutor(
            self.count, "score", initializer=self._take_session, initargs=(itertools.cycle(sessions),)
        )

    def submit(self, window: Plan, labels: int) -> Pending:
        """Hand a window's batches to the threads and return at once. labels: the width of a row of logits."""
        return Pending(window, [self._pool.submit(self._run, window, batch) for batch in window.batches], labels)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    @property
    def session_seconds(self) -> float:
        """Processor seconds spent in sessions so far (on a GPU: their waiting is not counted)."""
        with self._lock:
            return self._seconds

    def _take_session(self, sessions: Iterator[Session]) -> None:
        """Give a thread the next device's session, for good."""
        with self._lock:
            self._mine.session = next(sessions)

    def _run(self, window: Plan, batch: Ints) -> Scored:
        session: Session = self._mine.session
        arrays = self._encoder.pad(window.encoded, batch)
        try:
            with self._places, self._counted():
                return session.run(arrays), 0
        except OutOfMemoryError:
            # Leaving the handler frees what the failed run still held.
            pass
        with self._alone():
            logits, halved = self._in_halves(window, batch)
            # Nobody else counts meanwhile.
            self.halved += halved
            return logits, halved

    def _in_halves(self, window: Plan, batch: Ints) -> Scored:
        session: Session = self._mine.session
        try:
            with self._counted():
                return session.run(self._encoder.pad(window.encoded, batch)), 0
        except OutOfMemoryError as error:
            if len(batch) == 1:
                error.rows = batch
                raise
        half = len(batch) // 2
        logits, cuts = zip(*(self._in_halves(window, part) for part in (batch[:half], batch[half:])), strict=True)
        return np.concatenate(logits), 1 + sum(cuts)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no other thread scores, and keep them waiting."""
        # One at a time: two that each hold some of the places would wait for each other for ever.
        with self._queue:
            for _ in range(self.count):
                self._places.acquire()
            try:
                yield
            finally:
                self._places.release(self.count)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count the thread's processor time in the block as the session's."""
        start = time.thread_time()
        try:
            yield
        finally:
            with self._lock:
                self._seconds += time.thread_time() - start
