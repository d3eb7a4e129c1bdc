"""The recipe's `evaluation` part: what `evaluate` looks at beside the rows' texts and labels."""

from dataclasses import dataclass, field

# Of so many swaps each is a change of its own, with rows to score.
_MOST_SWAPS = 20


@dataclass(frozen=True, kw_only=True)
class EvaluationPart:
    """Columns that figures are split by, and words whose swap should change no decision."""

    slices: tuple[str, ...] = ()
    """Columns whose values each get figures of their own. They are kept with the run's held-out rows."""
    group: str | None = None
    """A column whose rows resemble each other (one author's, one video's): figures get intervals by group too. Where
    None, the one that `data.split.group` names.
    """
    swaps: dict[str, str] = field(default_factory=dict)
    """Words to exchange, both ways, each pair by itself: {he: she}. `evaluate` counts the decisions that flip."""

    def __post_init__(self) -> None:
        if len(set(self.slices)) < len(self.slices):
            raise ValueError("slices: a column is named twice")
        if len(self.swaps) > _MOST_SWAPS:
            raise ValueError(f"swaps: expected at most {_MOST_SWAPS}, found {len(self.swaps)}")
        for one, other in self.swaps.items():
            if not one.strip() or not other.strip() or one.casefold() == other.casefold():
                raise ValueError(f"swaps: expected two words that differ, found {one!r} and {other!r}")

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that it names."""
        return tuple(dict.fromkeys([*self.slices, *filter(None, [self.group])]))
