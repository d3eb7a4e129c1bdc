"""A finding, and the facts that findings are made from."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from trainer.contract.labels import LabelSpace
from trainer.data.gather import Gathered
from trainer.data.rows import Row
from trainer.recipes.recipe import Recipe

Severity = Literal["error", "warning", "note"]
EXAMPLES_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, or worth knowing."""

    severity: Severity
    """An error makes training fail or its figures false; a warning costs quality; a note is to be known."""
    check: str
    """The name of the check, one of a fixed set."""
    what: str
    """One sentence with its figures."""
    do: str
    count: int
    """How many rows, groups or labels."""
    examples: tuple[str, ...] = ()
    """Some of the rows, with file and line."""

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"severity": self.severity, "check": self.check, "count": self.count, "what": self.what}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The rows of one stage, and the split of each as training would make it."""

    recipe: Recipe
    gathered: Gathered
    space: LabelSpace
    rows: list[Row]
    """The rows that can be read and whose labels are known."""
    splits: list[str]
    """The split of each row, by name; all "train" if the rows cannot be divided."""

    @property
    def names(self) -> list[str]:
        """The splits that there are, training first."""
        return [name for name in ("train", "validation", "test") if name in set(self.splits)]

    def of(self, split: str) -> list[Row]:
        """The rows of one split."""
        return [row for row, name in zip(self.rows, self.splits, strict=True) if name == split]


def first_examples(examples: Iterable[str]) -> tuple[str, ...]:
    """The first few examples."""
    return tuple(example for example, _ in zip(examples, range(EXAMPLES_SHOWN), strict=False))


def quoted(text: str, most: int = 80) -> str:
    """A text as an example shows it: one line, not too long."""
    line = " ".join(text.split())
    return repr(line if len(line) <= most else line[: most - 3] + "...")


def share(part: int, whole: int) -> str:
    """ "12 of 40 (30.0 %)"."""
    return f"{part:,} of {whole:,} ({100 * part / max(1, whole):.1f} %)"
