"""How far a job is, and what it makes: what the journal notes and where it lies."""

from dataclasses import dataclass, field
from pathlib import Path

from serve.outputs import Format
from serve.records import Position


@dataclass(frozen=True, kw_only=True)
class State:
    """How far a job is. Counts of rows; bytes of the two files; tokens as the model saw them.

    part, part_rows, rows_bytes: the part that is written, and what it holds.
    """

    position: Position = field(default_factory=Position)
    windows: int = 0
    read: int = 0
    scored: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    distinct: int = 0
    rows_cut: int = 0
    tokens: int = 0
    tokens_cut: int = 0
    padded_tokens: int = 0
    part: int = 0
    part_rows: int = 0
    rows_bytes: int = 0
    errors_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a journal makes. part_rows: rows after which a folder's part is closed; None for a single file."""

    out: Path
    format: Format
    part_rows: int | None = None

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


def work_folder(out: Path) -> Path:
    """The folder of an output's unfinished work."""
    return out.parent / f".{out.name}.job"
