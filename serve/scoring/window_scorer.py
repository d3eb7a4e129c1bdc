"""One window from records to the bytes of its rows: the same on every engine, and a function of the window alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from export.bundle import REFERENCE
from export.cascade.certificate import Bools
from serve.journal.state import JobState, ScoredWindow
from serve.reading.texts import read_record, read_texts
from serve.reading.windows import Window
from serve.scorer import Scorer
from serve.scoring.batching import Plan
from serve.scoring.cascade import Auditing
from serve.scoring.decided import finite_rows
from serve.scoring.phases import Phases
from serve.scoring.workers import Logits, Pending
from serve.writing.cells import CHANGED, Misfit
from serve.writing.layout import Layout
from serve.writing.rejects import Rejected, reason_counts, shown_bytes
from serve.writing.text_out import Format, RowBlock
from trainer.contract.errors import BadRow
from trainer.contract.figures.drift import judged
from trainer.contract.figures.reference import Reference
from trainer.contract.inputs import InputSpec
from trainer.contract.labels import Scores
from trainer.contract.text_files.records import Record

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A window whose good rows are with the workers."""

    window: Window
    kept: list[int]
    rejected: list[Rejected]
    cells: list[Rejected]
    """Cells of good rows that are left out."""
    pending: Pending


@dataclass(frozen=True, kw_only=True)
class WindowScorer:
    """What every window of a job goes through."""

    scorer: Scorer
    layout: Layout
    format: Format
    max_chars: int
    """A longer text is an error row."""
    nulls: bool = False
    """Whether rejected rows are written too, without scores."""
    auditing: Auditing | None = None
    """Which rows go through both tiers; None where there is one."""

    def begin(self, window: Window, phases: Phases) -> Begun:
        """Read a window's texts and hand them to the workers."""
        spec = self.scorer.bundle.contract.input
        with phases("rows to text"):
            sound = [_without_bytes(record, spec) for record in window.records]
            found = read_texts(
                sound, lambda record: read_record(record, spec, self.max_chars), paired=spec.pair is not None
            )
        # The workers begin at once; what the rows look like in the output is found out beside them.
        with phases("tokenize"):
            places = window.start + np.array(found.kept, dtype=np.int64)
            audited = None if self.auditing is None else self.auditing.rows(window.number, places)
            pending = self.scorer.submit(found.texts, found.pairs, audited)
        with phases("rows to text"):
            rejected = [
                Rejected(record=window.records[row], reason=error.reason, detail=error.what)
                for row, error in found.bad.items()
            ]
            fitted, cells = self._fit(window, sound, set(found.kept))
        return Begun(
            window=replace(window, records=fitted), kept=found.kept, rejected=rejected, cells=cells, pending=pending
        )

    def end(self, begun: Begun, phases: Phases) -> ScoredWindow:
        """Wait for a window's scores and make its bytes."""
        with phases("wait for scores"):
            logits = begun.pending.result(self._place(begun))
        with phases("write"):
            sound = finite_rows(logits)
            records = begun.window.records
            rejected = begun.rejected + [
                Rejected(record=records[begun.kept[row]], reason="nan_logits", detail="the model gives no number")
                for row in np.flatnonzero(~sound).tolist()
            ]
            # Found in two places, told in the order of the file.
            rejected.sort(key=lambda item: item.record.line)
            told = sorted([*rejected, *begun.cells], key=lambda item: item.record.line)
            kept = [row for row, good in zip(begun.kept, sound.tolist(), strict=True) if good]
            block = self._block(begun, kept, logits, sound)
            seen = self._seen(begun.pending, sound, block.scores)
            # By position, so that whoever pastes scores beside the input gets each row's own.
            if self.nulls and rejected:
                block = _with_nulls(begun.window, kept, block, rejected)
            rows = self.format.encode(block) if block.records else b""
            errors = b"".join(item.line(begun.window.source) for item in told)
        cascade, left = self._cascade(begun.pending.plan, logits, sound), int((~block.scores.answered).sum())
        return replace(_counted(begun, rows, errors, rejected), seen=seen, cascade=cascade, abstained=left)

    @cached_property
    def reference(self) -> Reference | None:
        """What the scored rows are compared with; None where the bundle's manifest names no such file."""
        bundle = self.scorer.bundle
        known = REFERENCE in bundle.manifest.files
        return Reference.open(bundle.path / REFERENCE, bundle.contract.labels) if known else None

    def drift(self, state: JobState) -> dict[str, Any] | None:
        """What the report says of the rows scored so far; None without a reference."""
        if self.reference is None:
            return None
        # Other thresholds than the reference's give other labels, and a student is not as sure as its encoder.
        without = {"labels", "abstaining"} if self.scorer.thresholds else set()
        without |= {"confidences", "abstaining"} if self.scorer.cascade is not None else set()
        figures = self.reference.figures(state.seen, self.scorer.labels, without) if state.seen else {}
        return judged(figures, state.scored, self.reference.rows)

    def _cascade(self, plan: Plan, logits: Logits, sound: Bools) -> dict[str, list[int]]:
        """Rows that the student answered, and what those show that both tiers answered."""
        cascade, answers = self.scorer.cascade, plan.answers
        if cascade is None or answers is None:
            return {}
        rows = np.flatnonzero(sound & plan.audited) if plan.audited is not None else np.arange(0)
        texts = plan.source[rows]
        audit = cascade.compare(answers.logits[texts], logits[rows], answers.taken[texts])
        return {"taken": [int(plan.by_student[sound].sum())], **audit}

    def _seen(self, pending: Pending, sound: NDArray[np.bool_], scores: Scores) -> dict[str, list[int]]:
        """The scored rows of a window in the reference's bins."""
        if self.reference is None:
            return {}
        plan = pending.plan
        return self.reference.count(plan.encoded, plan.source[sound], scores, self.scorer.encoder.unknown_id)

    @staticmethod
    def _place(begun: Begun) -> Callable[[int], str]:
        """What an error calls a row of the window: its file and line."""
        return lambda row: f"{begun.window.source.name}:{begun.window.records[begun.kept[row]].line}"

    def _block(self, begun: Begun, kept: Sequence[int], logits: Logits, sound: Bools) -> RowBlock:
        window, plan = begun.window, begun.pending.plan
        table = (
            window.table
            if window.table is None or len(kept) == len(window.records)
            else window.table.take(np.array(kept, dtype=np.int64))
        )
        return RowBlock(
            records=[window.records[row] for row in kept],
            table=table,
            scores=self.scorer.labels.decode(logits[sound]),
            places=list(range(len(kept))),
            reasons=[None] * len(kept),
            by_student=None if plan.answers is None else plan.by_student[sound],
        )

    def _fit(self, window: Window, sound: list[Record], kept: set[int]) -> tuple[list[Record], list[Rejected]]:
        """The records as they are written, and the cells that are left out of rows that are scored."""
        if window.table is not None:
            return window.records, list(self._changed(window, window.table, kept))
        fitted, cells = list[Record](), list[Rejected]()
        for row, (given, record) in enumerate(zip(window.records, sound, strict=True)):
            values, misfits = self.layout.fit(record.values or _shown(record.cells) or {})
            if record is not given:
                misfits = misfits + [
                    Misfit(column=name, reason=given.reason, detail=CHANGED[given.reason])
                    for name, value in (given.cells or {}).items()
                    if value != (record.values or {})[name]
                ]
            # A rejected row is told of as a whole, with its raw text.
            if row in kept:
                cells += [
                    Rejected(record=given, reason=item.reason, detail=item.detail, column=item.column)
                    for item in misfits
                ]
            fitted.append(record if values is record.values else replace(record, values=values))
        return fitted, cells

    def _changed(self, window: Window, table: "pa.Table", kept: set[int]) -> Iterator[Rejected]:
        """Cells of Parquet that are another value as text or as JSON."""
        if self.layout.schema is not None:
            # Parquet to Parquet keeps every value.
            return
        from serve.reading.plain_values import changed_cells, selected

        written = table if self.layout.columns is None else selected(table, self.layout.written)
        for row, column, reason in changed_cells(written, json=self.layout.json):
            if row in kept:
                yield Rejected(record=window.records[row], reason=reason, detail=CHANGED[reason], column=column)


def _without_bytes(record: Record, spec: InputSpec) -> Record:
    """A record whose text is sound, though another column holds bytes that are no text: those as escapes."""
    if record.cells is None:
        return record
    # The byte may stand in a column that the model does not read: then the row can be scored.
    try:
        spec.read(record.cells)
    except BadRow:
        return record
    return replace(record, values=_shown(record.cells))


def _shown(cells: dict[str, object] | None) -> dict[str, object] | None:
    if cells is None:
        return None
    return {name: shown_bytes(value) if isinstance(value, str) else value for name, value in cells.items()}


def _with_nulls(window: Window, kept: list[int], scored: RowBlock, rejected: list[Rejected]) -> RowBlock:
    """Every row of the window; of the rejected ones those columns that fit the output."""
    places: list[int | None] = [None] * len(window.records)
    for place, row in enumerate(kept):
        places[row] = place
    reasons = {item.record.line: item.reason for item in rejected}
    return RowBlock(
        records=window.records,
        table=window.table,
        scores=scored.scores,
        by_student=scored.by_student,
        places=places,
        reasons=[reasons.get(record.line) for record in window.records],
    )


def _counted(begun: Begun, rows: bytes, errors: bytes, rejected: list[Rejected]) -> ScoredWindow:
    window, plan = begun.window, begun.pending.plan
    return ScoredWindow(
        rows=rows,
        errors=errors,
        number=window.number,
        records=window.start + len(window.records),
        ordinal=window.ordinal + 1,
        share=window.share,
        read=len(window.records),
        scored=len(window.records) - len(rejected),
        reasons=reason_counts(rejected),
        cells=reason_counts(begun.cells),
        distinct=len(plan.encoded),
        rows_cut=plan.rows_cut,
        tokens=plan.tokens,
        tokens_cut=plan.tokens_cut,
        tokens_cut_estimated=plan.tokens_cut_estimated,
        padded_tokens=plan.padded_tokens,
        batches_halved=begun.pending.halved,
    )
