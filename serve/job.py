"""One scoring job: windows of rows through the scorer into an output, exactly once."""

import re
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from export.bundle import MANIFEST, Bundle, instruction_set
from serve.formats import make_format, output_format
from serve.journal import Journal, State, disk_error, errors_path, finished_report
from serve.layout import Layout, ScoreColumns, json_text, make_layout, require_columns
from serve.machine import peak_memory
from serve.outputs import Block, Format
from serve.progress import Phases, Progress
from serve.records import Position, Window, read_windows
from serve.scorer import Pending, Scorer, ScorerOptions
from serve.sources import STDIN, Reading, Source, find_sources
from trainer.contract.errors import BadRow, ClassifactError, InputError
from trainer.contract.files import sha256
from trainer.contract.records import Record

# Windows that are read and tokenized before the first of them is waited for: one is scored, one is ready.
_AHEAD = 2
_ESCAPED_BYTE = re.compile("[\udc00-\udcff]")


@dataclass(frozen=True, kw_only=True)
class ErrorBound:
    """How many rows may be rejected: the job ends where it is more than `rows` and more than `share` of those read."""

    rows: int = 100
    share: float = 0.1

    @classmethod
    def parse(cls, text: str) -> "ErrorBound":
        """ "N" or "P%". Raises ValueError."""
        if text.endswith("%"):
            return cls(rows=0, share=float(text[:-1]) / 100)
        return cls(rows=int(text), share=0.0)

    def exceeded(self, state: State) -> bool:
        """Whether there are too many."""
        return state.rejected > self.rows and state.rejected > self.share * state.read


@dataclass(frozen=True, kw_only=True)
class ScoreJob:
    """What `python -m serve score` was asked to do."""

    bundle: Path
    inputs: tuple[str, ...]
    out: Path
    scorer: ScorerOptions = field(default_factory=ScorerOptions)
    reading: Reading = field(default_factory=Reading)
    max_errors: ErrorBound = field(default_factory=ErrorBound)
    probabilities: bool = False
    prefix: str = ""
    resume: bool = False
    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A row that is not scored: its record, a fixed word, and the reason in full."""

    record: Record
    reason: str
    detail: str

    def line(self, source: Source) -> bytes:
        """The row's line in the side file; the raw text is cut, and bytes that are no text are escaped."""
        raw = self.record.raw or json_text(self.record.values)
        raw = _ESCAPED_BYTE.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", raw[:500])
        content = {"file": source.name, "line": self.record.line, "reason": self.reason, "detail": self.detail}
        # What is left of half surrogate pairs becomes an escape of JSON's own.
        return json_text({**content, "raw": raw}).encode("utf-8", "backslashreplace") + b"\n"


@dataclass(frozen=True, kw_only=True)
class _Begun:
    """A window whose good rows are with the workers."""

    window: Window
    kept: list[int]
    rejected: list[Rejected]
    pending: Pending


def run(job: ScoreJob) -> dict[str, Any]:
    """Score every row of the inputs into the output.

    Returns the report. Raises InputError for what the user gave, and ClassifactError where too many rows were rejected
    or the disk is full; then the work so far is kept for --resume.
    """
    kind = output_format(str(job.out))
    sources = find_sources(job.inputs, job.reading)
    bundle = Bundle.open(job.bundle)
    with Scorer(bundle, job.scorer) as scorer:
        identity = _identity(job, sources, scorer)
        done = finished_report(job.out, identity) if job.resume else None
        if done is not None:
            return done
        spec = bundle.contract.input
        windows = read_windows(sources, spec.columns, job.reading.window)
        first = next(windows, None)
        require_columns(sources, first, spec)
        names = ScoreColumns.of(bundle.contract.labels, job.prefix, probabilities=job.probabilities)
        layout = make_layout(sources, first, names, kind)
        output = make_format(kind, layout, bundle.contract.labels)
        with Journal.open(job.out, identity, output.head(), resume=job.resume) as journal:
            if journal.finished is None:
                if journal.state.windows:
                    windows = read_windows(sources, spec.columns, job.reading.window, journal.state.position)
                elif first is not None:
                    windows = chain([first], windows)
                try:
                    report = _Run(job, scorer, layout, output, journal).score(windows)
                    journal.seal(output, {**report, "job": identity})
                except OSError as error:
                    raise disk_error(error, job.out) from error
            return journal.publish()


class _Run:
    """The loop of a job and what it counts."""

    def __init__(self, job: ScoreJob, scorer: Scorer, layout: Layout, output: Format, journal: Journal) -> None:
        self._job = job
        self._scorer = scorer
        self._layout = layout
        self._output = output
        self._journal = journal
        self._spec = scorer.bundle.contract.input
        self._json = layout.columns is None or layout.schema is None
        self._phases = Phases()
        self._progress = Progress(quiet=job.quiet, total_bytes=None)

    def score(self, windows: Iterator[Window]) -> dict[str, object]:
        """Every window in order; while the workers score one, the next is read and the one before is written."""
        start, cpu = time.perf_counter(), time.process_time()
        begun: deque[_Begun] = deque()
        try:
            while True:
                with self._phases("read"):
                    window = next(windows, None)
                if window is None:
                    break
                begun.append(self._begin(window))
                if len(begun) > _AHEAD:
                    self._end(begun.popleft())
            while begun:
                self._end(begun.popleft())
        finally:
            for rest in begun:
                rest.pending.cancel()
            self._progress.close()
        self._check_bound(last=True)
        return self._report(time.perf_counter() - start, time.process_time() - cpu)

    def _begin(self, window: Window) -> _Begun:
        kept, rejected = list[int](), list[Rejected]()
        texts, pairs = list[str](), list[str]()
        with self._phases("rows to text"):
            for row, record in enumerate(window.records):
                try:
                    text, pair = self._read(record, window.table is None)
                except BadRow as error:
                    rejected.append(Rejected(record=record, reason=error.reason, detail=error.what))
                    continue
                kept.append(row)
                texts.append(text)
                pairs.append(pair or "")
        with self._phases("tokenize"):
            pending = self._scorer.submit(texts, pairs if self._spec.pair is not None else None)
        return _Begun(window=window, kept=kept, rejected=rejected, pending=pending)

    def _read(self, record: Record, untyped: bool) -> tuple[str, str | None]:
        if record.values is None:
            raise BadRow(record.reason, record.detail)
        if untyped:
            self._layout.check(record.values)
        text, pair = self._spec.read(record.values)
        limit = self._job.reading.max_chars
        if len(text) > limit or len(pair or "") > limit:
            raise BadRow(
                "too_long", f"the text has {max(len(text), len(pair or ''))} characters, --max-chars is {limit}"
            )
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
            rows = self._output.encode(self._block(begun.window, kept, logits[sound])) if kept else b""
            errors = b"".join(item.line(begun.window.source) for item in rejected)
            self._journal.append(rows, errors, self._next_state(begun, len(kept), rejected))
        self._progress.update(self._journal.state)
        self._check_bound(last=False)

    def _block(self, window: Window, kept: Sequence[int], logits: np.ndarray[Any, np.dtype[np.float32]]) -> Block:
        table = window.table if window.table is None or len(kept) == len(window.records) else window.table.take(kept)
        scores = self._scorer.bundle.contract.labels.decode(logits)
        return Block(records=[window.records[row] for row in kept], table=table, scores=scores)

    def _next_state(self, begun: _Begun, scored: int, rejected: list[Rejected]) -> State:
        before, plan, window = self._journal.state, begun.pending.plan, begun.window
        cut = plan.encoded.truncation()
        return replace(
            before,
            position=Position(number=window.number, records=window.start + len(window.records)),
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
        state = self._journal.state
        nothing = last and state.rejected > 0 and state.scored == 0
        if nothing or self._job.max_errors.exceeded(state):
            self._journal.commit()
            raise ClassifactError(
                "no row could be scored" if nothing else "too many rows were rejected",
                where=self._journal.folder / "errors.jsonl",
                found=f"{state.rejected} of {state.read} rows: "
                + ", ".join(f"{count} {reason}" for reason, count in state.reasons.items()),
                do=f"raise --max-errors and --resume; or mend the input, remove {self._journal.folder} and begin anew",
            )

    def _report(self, seconds: float, cpu: float) -> dict[str, object]:
        state, session = self._journal.state, self._scorer.session_seconds
        return {
            "out": str(self._job.out),
            "errors": str(errors_path(self._job.out)) if state.rejected else None,
            "rows_read": state.read,
            "rows_scored": state.scored,
            "rows_rejected": state.rejected,
            "reasons": state.reasons,
            "distinct_texts": state.distinct,
            "rows_cut": state.rows_cut,
            "tokens": state.tokens,
            "tokens_cut": state.tokens_cut,
            "padding_share": round(1 - state.tokens / state.padded_tokens, 4) if state.padded_tokens else 0.0,
            "precision": self._scorer.session.precision,
            "provider": self._scorer.session.provider,
            "workers": self._scorer.workers,
            "seconds": round(seconds, 3),
            "rows_per_second": round(state.scored / seconds, 1),
            "tokens_per_second": round(state.tokens / seconds, 1),
            "phases": {name: round(spent, 3) for name, spent in self._phases.seconds.items()},
            "cpu_seconds": round(cpu, 3),
            "session_cpu_seconds": round(session, 3),
            "non_session_share": round(1 - session / cpu, 4) if cpu else 0.0,
            "peak_memory_mb": round(peak_memory() / 1e6, 1),
        }


def _identity(job: ScoreJob, sources: list[Source], scorer: Scorer) -> dict[str, object]:
    """All that the output's bytes depend on: what a resumed job must have in common with the one before."""
    for source in sources:
        if source.name == STDIN and job.resume:
            raise InputError("standard input cannot be resumed", do="write it to a file first")
    return {
        "bundle": sha256(scorer.bundle.path / MANIFEST),
        "precision": scorer.session.precision,
        "provider": scorer.session.provider,
        "batch_tokens": scorer.batch_tokens,
        "reading": asdict(job.reading),
        "probabilities": job.probabilities,
        "prefix": job.prefix,
        "format": output_format(str(job.out)),
        "onnxruntime": ort.__version__,
        "instruction_set": instruction_set(),
        **{f"input {number}": [source.name, source.size, source.modified] for number, source in enumerate(sources)},
    }
