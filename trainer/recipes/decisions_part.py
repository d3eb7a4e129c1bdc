"""The decisions part of a recipe: what `classifact decide` chooses on the validation rows, in this order."""

from dataclasses import dataclass
from typing import Literal

from trainer.contract.schema import bounded


@dataclass(frozen=True, kw_only=True)
class DecisionsPart:
    """Temperature first, then thresholds on the calibrated probabilities, then which rows are not answered."""

    temperature: bool = True
    """Divide logits by the number that makes probabilities mean what they say on the validation rows."""
    thresholds: Literal["usual", "f1"] = "usual"
    """Or those of the best F1: of multi-label each label's own, of two labels the positive one's, of more the mean over
    labels.
    """
    precision: dict[str, float] | None = bounded(None, above=0, below=1)
    """By label: the lowest threshold with at least this precision, shown at `level`."""
    recall: dict[str, float] | None = bounded(None, above=0, below=1)
    """By label: the highest threshold with at least this recall, shown at `level`."""
    costs: dict[str, dict[str, float]] | None = bounded(None, least=0)
    """What a mistake costs, 1 where nothing is said. Single labels: true label, then decided label. Multi-label: label,
    then `missed` and `false`.
    """
    abstain: float | None = bounded(None, above=0, below=1)
    """Leave the least sure rows unanswered, so that at most this share of the answered ones is wrong, shown at
    `level`.
    """
    level: float = bounded(0.95, above=0, below=1)
    """The confidence with which all that is promised holds together."""

    def __post_init__(self) -> None:
        twice = sorted({*(self.precision or ())} & {*(self.recall or ())})
        if twice:
            raise ValueError(f"precision and recall: {twice[0]!r} has one threshold, and so one of them")
        if self.costs and (self.thresholds != "usual" or self.promised):
            raise ValueError("costs: they decide in place of thresholds, precision and recall")

    @property
    def promised(self) -> dict[str, tuple[Literal["precision", "recall"], float]]:
        """By label, the figure that is promised and its least value."""
        found: dict[str, tuple[Literal["precision", "recall"], float]] = {}
        found.update({name: ("precision", least) for name, least in (self.precision or {}).items()})
        found.update({name: ("recall", least) for name, least in (self.recall or {}).items()})
        return found

    @property
    def promises(self) -> int:
        """How many bounds must hold together."""
        return len(self.promised) + (self.abstain is not None)
