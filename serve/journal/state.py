"""How far a job is, window by window, and what it makes: what the journal notes and where it lies."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from serve.reading.windows import InputPosition


@dataclass(frozen=True, kw_only=True)
class ScoredWindow:
    """What a window became: bytes, and what to count."""

    rows: bytes
    """Of the output."""
    errors: bytes
    """Of the side file."""
    number: int
    """The input in which the next window begins."""
    records: int
    """Records of that input before it."""
    ordinal: int
    """Windows before it."""
    share: float | None
    """How much of input `number` is read with this window, 0 to 1."""
    read: int
    """Rows, with those that are not scored."""
    scored: int
    distinct: int
    """Different texts among the scored rows; each is scored once."""
    rows_cut: int
    """Scored rows that are longer than the encoder reads."""
    tokens: int
    """Given to the encoder: of the different texts, truncated."""
    tokens_cut: int
    """Tokens that those rows lose."""
    padded_tokens: int
    """Tokens that the encoder computes, padding included."""
    tokens_cut_estimated: int = 0
    """Of `tokens_cut`, those of texts too long to be tokenized whole."""
    batches_halved: int = 0
    """Batches that memory did not hold, scored in halves."""
    abstained: int = 0
    """Scored rows that are not answered."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Rows that are not scored, counted by why."""
    cells: dict[str, int] = field(default_factory=dict)
    """Cells that are left out, counted by why."""
    seen: dict[str, list[int]] = field(default_factory=dict)
    """Scored rows in bins, by figure (see `Reference.count`); none where the bundle has no reference."""
    cascade: dict[str, list[int]] = field(default_factory=dict)
    """Rows that the student answered, and what audited rows show (see `OpenCascade.compare`); empty without one."""


@dataclass(frozen=True, kw_only=True)
class JobState:
    """How far a job is: sums over its windows, each as `ScoredWindow` explains it, and where it stands."""

    position: InputPosition = field(default_factory=InputPosition)
    """Where the next window begins."""
    windows: int = 0
    """Windows so far."""
    read: int = 0
    scored: int = 0
    rejected: int = 0
    """Rows that are not scored."""
    reasons: dict[str, int] = field(default_factory=dict)
    cells: dict[str, int] = field(default_factory=dict)
    distinct: int = 0
    rows_cut: int = 0
    tokens: int = 0
    tokens_cut: int = 0
    tokens_cut_estimated: int = 0
    padded_tokens: int = 0
    batches_halved: int = 0
    abstained: int = 0
    seen: dict[str, list[int]] = field(default_factory=dict)
    cascade: dict[str, list[int]] = field(default_factory=dict)
    part: int = 0
    """The part that is being written."""
    part_rows: int = 0
    """Rows read for it, not written: where a part ends depends on the input alone, and no row is lost with a part of
    rejected rows.
    """
    rows_bytes: int = 0
    """Bytes of that part."""
    errors_bytes: int = 0
    """Bytes of the side file."""

    @classmethod
    def of(cls, noted: Mapping[str, Any]) -> "JobState":
        """From what `asdict` made, through JSON."""
        return cls(**{**noted, "position": InputPosition(**noted["position"])})

    def after(self, scored: ScoredWindow) -> "JobState":
        """With a window more, and its bytes."""
        return replace(
            self,
            # Where the next window begins: what a resumed job skips to.
            position=InputPosition(number=scored.number, records=scored.records, windows=scored.ordinal),
            windows=self.windows + 1,
            read=self.read + scored.read,
            scored=self.scored + scored.scored,
            rejected=self.rejected + scored.read - scored.scored,
            reasons=dict(Counter(self.reasons) + Counter(scored.reasons)),
            cells=dict(Counter(self.cells) + Counter(scored.cells)),
            distinct=self.distinct + scored.distinct,
            rows_cut=self.rows_cut + scored.rows_cut,
            tokens=self.tokens + scored.tokens,
            tokens_cut=self.tokens_cut + scored.tokens_cut,
            tokens_cut_estimated=self.tokens_cut_estimated + scored.tokens_cut_estimated,
            padded_tokens=self.padded_tokens + scored.padded_tokens,
            batches_halved=self.batches_halved + scored.batches_halved,
            abstained=self.abstained + scored.abstained,
            seen=_summed(self.seen, scored.seen),
            cascade=_summed(self.cascade, scored.cascade),
            part_rows=self.part_rows + scored.read,
            rows_bytes=self.rows_bytes + len(scored.rows),
            errors_bytes=self.errors_bytes + len(scored.errors),
        )


@dataclass(frozen=True, kw_only=True)
class JobTarget:
    """What a journal makes."""

    out: Path
    part_rows: int | None = None
    """Rows after which a folder's part is closed; None for a single file."""

    @property
    def work(self) -> Path:
        """The folder of the unfinished work."""
        return work_folder(self.out)

    @property
    def done(self) -> Path:
        """What the work folder is called while it is removed."""
        return self.out.parent / f".{self.out.name}.done"

    @property
    def errors(self) -> Path:
        """The side file of rejected rows."""
        return self.out.with_name(f"{self.out.name}.errors.jsonl")

    @property
    def report(self) -> Path:
        """The report beside the output."""
        return self.out.with_name(f"{self.out.name}.report.json")


def _summed(before: Mapping[str, list[int]], more: Mapping[str, list[int]]) -> dict[str, list[int]]:
    return {
        name: [sum(pair) for pair in zip_longest(before.get(name, []), more.get(name, []), fillvalue=0)]
        for name in {**before, **more}
    }


def work_folder(out: Path) -> Path:
    """The folder of an output's unfinished work."""
    # Beside the output, so that the last rename stays within one file system; hidden, so that no glob reads it.
    return out.parent / f".{out.name}.job"
