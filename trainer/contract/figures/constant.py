"""What answers that do not look at the text are worth: what a classifier must beat to have learnt anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.contract.figures.metrics import LOWER_IS_BETTER, Labels, compute, shown
from trainer.contract.labels import LabelSpace, Scores

# A loss has learnt something where it is this share below the label shares' own: less is what rounding, dropout and a
# few rows make of a network that gives every row one answer.
LEAST_GAIN = 0.02
# Of many labels, the commonest one, two and three together are tried.
_TOGETHER = 3


@dataclass(frozen=True, kw_only=True)
class Constant:
    """The best that one answer for all rows reaches on some rows."""

    metric: str
    value: float
    """Of `metric`, with the best of the answers tried; for a rank metric or a loss, with the label shares."""
    labels: tuple[str, ...]
    """What that answer gives every row."""
    loss: float
    """Where the probabilities are the label shares of these rows."""

    @classmethod
    def of(cls, labels: Labels, space: LabelSpace, metric: str) -> "Constant":
        """Try the commonest label (of two labels, each; for multi-label, the commonest few, and all that most rows
        have). Without rows, all figures are NaN.
        """
        rows = len(labels)
        multi = space.kind == "multi"
        counts = labels.sum(axis=0) if multi else np.bincount(labels.astype(np.int64), minlength=len(space))
        shares = np.asarray(counts, dtype=np.float64) / max(1, rows)
        probabilities = np.broadcast_to(shares.astype(np.float32), (rows, len(space)))
        sign = -1 if metric in LOWER_IS_BETTER else 1
        found = []
        for answer in _answers(shares, space):
            decided = np.broadcast_to(answer, (rows, len(space))) if multi else np.full(rows, answer.argmax())
            value = compute(metric, Scores(probabilities=probabilities, decisions=decided), labels, space)
            found.append((value, answer))
        value, answer = max(found, key=lambda item: -np.inf if np.isnan(item[0]) else sign * item[0])
        scores = Scores(probabilities=probabilities, decisions=labels)  # A loss looks at no decisions.
        return cls(
            metric=metric,
            value=value,
            labels=tuple(np.array(space.names, dtype=object)[answer].tolist()),
            loss=compute("loss", scores, labels, space),
        )

    def beaten_by(self, metrics: Mapping[str, float | None]) -> bool:
        """Whether a model with these figures (its metric and its loss) has learnt something: it decides better than
        the best constant answer, or its probabilities say more than the label shares do. Undefined figures, and rows
        that all have the same labels, say nothing against it.
        """
        if not self.loss > np.finfo(np.float32).eps:
            return True
        value, loss = metrics.get(self.metric), metrics.get("loss")
        gained = loss is not None and loss < (1 - LEAST_GAIN) * self.loss
        if self.metric in LOWER_IS_BETTER:
            return gained
        undefined = value is None or np.isnan(value) or np.isnan(self.value)
        return gained or undefined or bool(value is not None and value > self.value)

    def said(self) -> str:
        """The figures in words."""
        always = " and ".join(repr(name) for name in self.labels)
        first = f"{self.metric} {shown(self.value)}" if self.metric != "loss" else ""
        given = f"always giving {always}: {first}; " if first and always else ""
        return f"{given}the label shares alone: loss {shown(self.loss)}"


def _answers(shares: NDArray[np.float64], space: LabelSpace) -> list[NDArray[np.bool_]]:
    """Answers to try, each bool [C]."""
    order = np.argsort(-shares, kind="stable")
    if space.kind == "single":
        chosen = [order[:1], order[1:]] if len(space) == 2 else [order[:1]]
    else:
        chosen = [order[:count] for count in range(1, min(_TOGETHER, len(space)) + 1)]
        chosen.append(np.flatnonzero(shares >= 0.5))
    return [np.isin(np.arange(len(space)), each) for each in chosen]


REMEDY = "try a lower learning rate, more warm-up (optimizer.warmup), more epochs, or loss.weights: balanced"


def told_warning(constant: Mapping[str, Any] | None) -> str:
    """The line at a run's end where its best checkpoint has learnt nothing, else nothing. constant: what metrics.json
    says of it.
    """
    if constant is None or constant["beaten"]:
        return ""
    return f"warning:         the run has learnt nothing: one answer for all rows is as good; {REMEDY}\n"
