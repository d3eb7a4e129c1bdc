"""One window from records to the bytes of its rows: the same on every engine, and a function of the window alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serve.journal.state import Scored
from serve.reading.texts import read_record, read_texts
from serve.reading.windows import Window
from serve.scorer import Scorer, finite_rows
from serve.scoring.phases import Phases
from serve.scoring.workers import Logits, Pending
from serve.writing.layout import Layout
from serve.writing.rejects import Rejected
from serve.writing.text_out import Block, Format
from trainer.contract.records import Record

# What is wrong with a text only: the row's columns are sound.
_TEXT_REASONS = frozenset({"null_text", "not_text", "too_long", "nan_logits"})


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A window whose good rows are with the workers."""

    window: Window
    kept: list[int]
    rejected: list[Rejected]
    pending: Pending


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What every window of a job goes through.

    max_chars: a longer text is an error row. nulls: rejected rows are written too, without scores.
    """

    scorer: Scorer
    layout: Layout
    format: Format
    max_chars: int
    nulls: bool = False

    def begin(self, window: Window, phases: Phases) -> Begun:
        """Read a window's texts and hand them to the workers."""
        spec = self.scorer.bundle.contract.input
        untyped = window.table is None

        def read(record: Record) -> tuple[str, str | None]:
            if untyped and record.values is not None:
                self.layout.check(record.values)
            return read_record(record, spec, self.max_chars)

        with phases("rows to text"):
            found = read_texts(window.records, read, paired=spec.pair is not None)
        with phases("tokenize"):
            pending = self.scorer.submit(found.texts, found.pairs)
        rejected = [
            Rejected(record=window.records[row], reason=error.reason, detail=error.what)
            for row, error in found.bad.items()
        ]
        return Begun(window=window, kept=found.kept, rejected=rejected, pending=pending)

    def end(self, begun: Begun, phases: Phases) -> Scored:
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
            rejected.sort(key=lambda item: item.record.line)
            kept = [row for row, good in zip(begun.kept, sound.tolist(), strict=True) if good]
            block = self._block(begun.window, kept, logits[sound])
            if self.nulls and rejected:
                block = _with_nulls(begun.window, kept, block, rejected)
            rows = self.format.encode(block) if block.records else b""
            errors = b"".join(item.line(begun.window.source) for item in rejected)
        return _counted(begun, rows, errors, rejected)

    @staticmethod
    def _place(begun: Begun) -> Callable[[int], str]:
        """What an error calls a row of the window: its file and line."""
        return lambda row: f"{begun.window.source.name}:{begun.window.records[begun.kept[row]].line}"

    def _block(self, window: Window, kept: Sequence[int], logits: Logits) -> Block:
        table = window.table if window.table is None or len(kept) == len(window.records) else window.table.take(kept)
        scores = self.scorer.labels.decode(logits)
        records = [window.records[row] for row in kept]
        return Block(records=records, table=table, scores=scores, places=list(range(len(kept))))


def _with_nulls(window: Window, kept: list[int], scored: Block, rejected: list[Rejected]) -> Block:
    """Every row of the window; of the rejected ones those columns that fit the output."""
    places: list[int | None] = [None] * len(window.records)
    for place, row in enumerate(kept):
        places[row] = place
    misfits = {item.record.line for item in rejected if item.reason not in _TEXT_REASONS}
    records = [replace(record, values=None) if record.line in misfits else record for record in window.records]
    return Block(records=records, table=window.table, scores=scored.scores, places=places)


def _counted(begun: Begun, rows: bytes, errors: bytes, rejected: list[Rejected]) -> Scored:
    window, plan = begun.window, begun.pending.plan
    cut = plan.encoded.truncation()
    reasons: dict[str, int] = {}
    for item in rejected:
        reasons[item.reason] = reasons.get(item.reason, 0) + 1
    return Scored(
        rows=rows,
        errors=errors,
        number=window.number,
        records=window.start + len(window.records),
        ordinal=window.ordinal + 1,
        share=window.share,
        read=len(window.records),
        scored=len(window.records) - len(rejected),
        reasons=reasons,
        distinct=cut["rows"],
        rows_cut=cut["rows_cut"],
        tokens=cut["tokens"],
        tokens_cut=cut["tokens_cut"],
        padded_tokens=plan.padded_tokens,
    )
