"""The loop of a job: while the workers score one window, the next is read and the one before is written."""

import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from serve.layout import Layout
from serve.machine import peak_memory
from serve.outputs import Block, Format
from serve.progress import Phases, Progress
from serve.records import Position, Window
from serve.rejects import ErrorBound, Rejected
from serve.scorer import Logits, Pending, Scorer
from serve.state import State
from trainer.contract.errors import BadRow, ClassifactError
from trainer.contract.records import Record

# What is wrong with a text only: the row's columns are sound.
_TEXT_REASONS = frozenset({"null_text", "not_text", "too_long", "nan_logits"})
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
class Stage:
    """What every window of a job goes through.

    max_chars: a longer text is an error row. nulls: rejected rows are written too, without scores.
    """

    scorer: Scorer
    layout: Layout
    format: Format
    max_chars: int
    max_errors: ErrorBound
    nulls: bool = False


@dataclass(frozen=True, kw_only=True)
class _Begun:
    """A window whose good rows are with the workers."""

    window: Window
    kept: list[int]
    rejected: list[Rejected]
    pending: Pending


class Pipeline:
    """Windows through a stage into a sink, in order, with what it costs."""

    def __init__(self, stage: Stage, sink: Sink, progress: Progress, stop: threading.Event) -> None:
        self._stage = stage
        self._sink = sink
        self._progress = progress
        self._stop = stop
        self._spec = stage.scorer.bundle.contract.input
        self._phases = Phases()
        self._first = sink.state
        self._session_before = stage.scorer.session_seconds

    def run(self, windows: Iterator[Window]) -> dict[str, object]:
        """Every window; returns the figures. Raises ClassifactError where too many rows are rejected."""
        start, cpu = time.perf_counter(), time.process_time()
        self._progress.begin(self._sink.state, None)
        begun: deque[_Begun] = deque()
        try:
            while True:
                with self._phases("read"):
                    window = next(windows, None)
                if window is None or self._stop.is_set():
                    break
                begun.append(self._begin(window))
                if len(begun) > _AHEAD:
                    self._end(begun.popleft())
            while begun and not self._stop.is_set():
                self._end(begun.popleft())
            if begun:
                # One window is finished; those behind it are begun anew on resuming.
                self._end(begun.popleft())
        finally:
            for rest in begun:
                rest.pending.cancel()
            self._progress.close()
        if self._stop.is_set():
            self._sink.commit()
            raise StoppedError(
                "stopped by a signal", found=f"{self._sink.state.read} rows done", do="go on with --resume"
            )
        self._check_bound(last=True)
        return self._figures(time.perf_counter() - start, time.process_time() - cpu)

    def _begin(self, window: Window) -> _Begun:
        kept, rejected = list[int](), list[Rejected]()
        texts, pairs = list[str](), list[str]()
        with self._phases("rows to text"):
            for row, record in enumerate(window.records):
                try:
                    text, pair = self._read(record, untyped=window.table is None)
                except BadRow as error:
                    rejected.append(Rejected(record=record, reason=error.reason, detail=error.what))
                    continue
                kept.append(row)
                texts.append(text)
                pairs.append(pair or "")
        with self._phases("tokenize"):
            pending = self._stage.scorer.submit(texts, pairs if self._spec.pair is not None else None)
        return _Begun(window=window, kept=kept, rejected=rejected, pending=pending)

    def _read(self, record: Record, *, untyped: bool) -> tuple[str, str | None]:
        if record.values is None:
            raise BadRow(record.reason, record.detail)
        if untyped:
            self._stage.layout.check(record.values)
        text, pair = self._spec.read(record.values)
        limit, longest = self._stage.max_chars, max(len(text), len(pair or ""))
        if longest > limit:
            raise BadRow("too_long", f"the text has {longest} characters, --max-chars is {limit}")
        return text, pair

    def _end(self, begun: _Begun) -> None:
        with self._phases("wait for scores"):
            logits = begun.pending.result()
        with self._phases("write"):
            sound = np.asarray(np.isfinite(logits).all(axis=1))
            records = begun.window.records
            rejected = begun.rejected + [
                Rejected(record=records[begun.kept[row]], reason="nan_logits", detail="the model gives no number")
                for row in np.flatnonzero(~sound).tolist()
            ]
            rejected.sort(key=lambda item: item.record.line)
            kept = [row for row, good in zip(begun.kept, sound.tolist(), strict=True) if good]
            block = self._block(begun.window, kept, logits[sound])
            if self._stage.nulls and rejected:
                block = self._with_nulls(begun.window, kept, block, rejected)
            rows = self._stage.format.encode(block) if block.records else b""
            errors = b"".join(item.line(begun.window.source) for item in rejected)
            self._sink.append(rows, errors, self._next_state(begun, len(kept), rejected))
        self._progress.update(self._sink.state, self._progress.share(begun.window.number, begun.window.share))
        self._check_bound(last=False)

    def _block(self, window: Window, kept: Sequence[int], logits: Logits) -> Block:
        table = window.table if window.table is None or len(kept) == len(window.records) else window.table.take(kept)
        scores = self._stage.scorer.bundle.contract.labels.decode(logits)
        records = [window.records[row] for row in kept]
        return Block(records=records, table=table, scores=scores, places=list(range(len(kept))))

    def _with_nulls(self, window: Window, kept: list[int], scored: Block, rejected: list[Rejected]) -> Block:
        """Every row of the window; of the rejected ones those columns that fit the output."""
        places: list[int | None] = [None] * len(window.records)
        for place, row in enumerate(kept):
            places[row] = place
        misfits = {item.record.line for item in rejected if item.reason not in _TEXT_REASONS}
        records = [replace(record, values=None) if record.line in misfits else record for record in window.records]
        return Block(records=records, table=window.table, scores=scored.scores, places=places)

    def _next_state(self, begun: _Begun, scored: int, rejected: list[Rejected]) -> State:
        before, plan, window = self._sink.state, begun.pending.plan, begun.window
        cut = plan.encoded.truncation()
        return replace(
            before,
            position=Position(
                number=window.number, records=window.start + len(window.records), windows=window.ordinal + 1
            ),
            windows=before.windows + 1,
            read=before.read + len(window.records),
            scored=before.scored + scored,
            rejected=before.rejected + len(rejected),
            reasons=dict(Counter(before.reasons) + Counter(item.reason for item in rejected)),
            distinct=before.distinct + cut["rows"],
            rows_cut=before.rows_cut + cut["rows_cut"],
            tokens=before.tokens + cut["tokens"],
            tokens_cut=before.tokens_cut + cut["tokens_cut"],
            padded_tokens=before.padded_tokens + plan.padded_tokens,
        )

    def _check_bound(self, *, last: bool) -> None:
        state = self._sink.state
        nothing = last and state.rejected > 0 and state.scored == 0
        if nothing or self._stage.max_errors.exceeded(state):
            self._sink.commit()
            raise ClassifactError(
                "no row could be scored" if nothing else "too many rows were rejected",
                where=self._sink.rejected,
                found=f"{state.rejected} of {state.read} rows: "
                + ", ".join(f"{count} {reason}" for reason, count in state.reasons.items()),
                do="raise --max-errors and go on with --resume; or mend the input and begin anew",
            )

    def _figures(self, seconds: float, cpu: float) -> dict[str, object]:
        """Counts are of the whole job; seconds and rates of this process, which may have resumed it."""
        state, scorer = self._sink.state, self._stage.scorer
        session = scorer.session_seconds - self._session_before
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
            "precision": scorer.session.precision,
            "provider": scorer.session.provider,
            "workers": scorer.workers,
            "seconds": round(seconds, 3),
            "rows_per_second": round((state.scored - self._first.scored) / seconds, 1),
            "tokens_per_second": round((state.tokens - self._first.tokens) / seconds, 1),
            "phases": {name: round(spent, 3) for name, spent in self._phases.seconds.items()},
            "cpu_seconds": round(cpu, 3),
            "session_cpu_seconds": round(session, 3),
            "non_session_share": round(1 - session / cpu, 4) if cpu else 0.0,
            "peak_memory_mb": round(peak_memory() / 1e6, 1),
        }
