"""The recipe's `sweep` part: what a search may change, and how it looks."""

from dataclasses import dataclass
from typing import Any, Literal

from trainer.contract.errors import nearest
from trainer.contract.figures.metrics import METRICS
from trainer.contract.schema import bounded

# A value of these would change the rows that trials are measured on, or what their figures mean.
_FIXED = ("data", "decisions", "evaluation", "labels", "name", "select", "sweep", "tracking")
_FREE_INPUT = ("max_tokens", "truncation", "head_tokens")


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """The values of one setting."""

    low: int | float | None = None
    """The smallest value. Whole numbers are tried if `low`, `high` and the setting are whole."""
    high: int | float | None = None
    """The largest value."""
    step: int | float | None = bounded(None, above=0)
    """The distance of neighbouring values."""
    log: bool = False
    """Whether as many small values as large ones are tried, as fits rates."""
    choices: tuple[Any, ...] | None = None
    """The values themselves, in place of `low` and `high`."""

    def __post_init__(self) -> None:
        if self.choices is not None:
            if not self.choices or any(isinstance(choice, dict | list) for choice in self.choices):
                raise ValueError("choices: expected at least one, each a single value")
            if (self.low, self.high, self.step, self.log) != (None, None, None, False):
                raise ValueError("expected either choices, or low and high")
        elif self.low is None or self.high is None or self.low > self.high:
            raise ValueError("expected choices, or low and a high that is not below it")
        elif self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log: expected a low above 0 and no step")


@dataclass(frozen=True, kw_only=True)
class SweepPart:
    """A search over recipe values, run by `classifact sweep`; a plain training run ignores it."""

    space: dict[str, Dimension]
    """Key of the recipe (`stages.0.optimizer.learning_rate`) to its values."""
    trials: int = bounded(20, least=1)
    """How many settings to try."""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    """With "tpe" trials learn from those before, with "random" they do not, "grid" tries every combination once."""
    pruner: Literal["median", "halving", "none"] = "median"
    """Ends trials early by their last stage's epochs: "median" those below the median of the earlier trials at that
    epoch, "halving" all but a quarter at the epochs 1, 4, 16, ...; or "none".
    """
    startup: int | None = bounded(None, least=1)
    """Trials drawn at random before "tpe" learns, and finished ones before any is pruned; a third of `trials`, at most
    10, where None.
    """
    metric: str | None = None
    """The objective, measured on validation; that of `select` where None."""
    seeds: tuple[int, ...] = bounded((), least=0, below=2**63)
    """Train every setting once with each, and compare the means."""
    refit: bool = False
    """Train once more with the best settings on train and most validation rows together."""

    def __post_init__(self) -> None:
        if not self.space:
            raise ValueError("space: expected at least one setting")
        if self.metric is not None and self.metric not in METRICS:
            hint = nearest(self.metric, METRICS) or f"metrics: {', '.join(METRICS)}"
            raise ValueError(f"metric: unknown metric {self.metric!r}; {hint}")
        if len(set(self.seeds)) != len(self.seeds) or (self.seeds and "seed" in self.space):
            raise ValueError("seeds: expected each once, and no dimension `seed` beside them")
        for key, dimension in self.space.items():
            head, _, rest = key.partition(".")
            if head in _FIXED or (head == "input" and rest not in _FREE_INPUT) or ".data" in key:
                raise ValueError(f"space: {key} is the same for all trials: their figures are compared")
            endless = dimension.choices is None and dimension.step is None
            if self.sampler == "grid" and endless and not _whole(dimension):
                raise ValueError(f"space: {key}: a grid needs choices, a step, or whole numbers")


def _whole(dimension: Dimension) -> bool:
    return isinstance(dimension.low, int) and isinstance(dimension.high, int)
