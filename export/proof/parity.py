"""Is an exported file the same classifier? Measured on rows that training did not see, and refused where it is not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.bundle import Parity
from trainer.contract.errors import ArtifactError, GateError
from trainer.contract.figures import metrics
from trainer.contract.figures.constant import REMEDY, Constant
from trainer.contract.figures.resample import Interval, resampled
from trainer.contract.labels import LabelSpace, Scores

# Below this, probabilities differ by rounding alone: the file is the same function, whatever the rows.
SAME = 1e-4


@dataclass(frozen=True, kw_only=True)
class ParityBounds:
    """What a file may differ from torch in fp32 by."""

    max_drop: float
    """The largest drop of the metric (positive is worse). A larger one fails if its 95 % interval lies above zero: on
    few validation rows one changed decision moves a metric by more than any sensible bound, and proves nothing.
    """
    min_agreement: float
    """Share of rows with the same decision; one row may always differ, as two equal probabilities fall either way."""
    max_difference: float
    """The largest difference of any probability."""
    prove: bool = False
    """Whether the drop's whole interval must lie within max_drop."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What files are compared with: torch's logits [N, C] and scores of N rows, their labels, and the metric that chose
    the checkpoint.
    """

    logits: NDArray[np.float32]
    scores: Scores
    labels: metrics.Labels
    space: LabelSpace
    metric: str

    @classmethod
    def of(cls, logits: NDArray[np.float32], labels: metrics.Labels, space: LabelSpace, metric: str) -> "Truth":
        """Decode torch's logits [N, C]. Raises ArtifactError where the metric is undefined on these rows."""
        truth = cls(logits=logits, scores=space.decode(logits), labels=labels, space=space, metric=metric)
        if not metrics.allowed(metric, space) or not np.isfinite(truth.value(truth.scores)):
            raise ArtifactError(
                f"the metric {metric} is undefined on the validation rows",
                found=f"{len(labels)} rows, {space.kind}-label",
                do="choose another select.metric, or validation rows of every label, and train again",
            )
        return truth

    def value(self, scores: Scores) -> float:
        """The metric of some scores of these rows."""
        return metrics.compute(self.metric, scores, self.labels, self.space)

    def beats(self, constant: Constant) -> bool:
        """Whether torch's scores are better than one answer for all rows."""
        loss = metrics.compute("loss", self.scores, self.labels, self.space)
        return constant.beaten_by({self.metric: self.value(self.scores), "loss": loss})

    def decode(self, logits: NDArray[np.float32]) -> Scores:
        """A file's scores by its logits [N, C]. Raises GateError where any is not finite."""
        if not np.isfinite(logits).all():
            raise GateError(
                "the exported file gives logits that are not numbers",
                found=f"{int((~np.isfinite(logits)).any(axis=1).sum())} of {len(logits)} rows",
                do="export another precision; torch gives numbers for the same rows",
            )
        return self.space.decode(logits)

    def compare(self, logits: NDArray[np.float32], unlabelled: tuple[Scores, Scores] | None = None) -> Parity:
        """How a file's logits [N, C] compare. Raises GateError where any is not finite.

        unlabelled: torch's scores of other rows, and the file's: they count for agreement and differences, and not for
            the metric, which needs labels.
        """
        scores = self.decode(logits)
        drop = self._drop(scores)
        # Where both are one function but for rounding, no row that we have not seen is decided otherwise.
        unseen = 0.0 if _differences(self.scores, scores).max() <= SAME else self._unseen(scores)
        torch, file = (
            (self.scores, scores) if unlabelled is None else map(Scores.joined, (self.scores, scores), unlabelled)
        )
        differences = _differences(torch, file)
        return Parity(
            rows=len(logits),
            unlabelled_rows=len(differences) - len(logits),
            label_agreement=torch.agreement(file),
            max_difference=float(differences.max()),
            p99_difference=float(np.percentile(differences, 99)),
            metric=self.metric,
            torch_value=self.value(self.scores),
            value=self.value(scores),
            drop=drop.value,
            drop_low=drop.low,
            drop_high=max(drop.high, unseen),
        )

    def _unseen(self, scores: Scores) -> float:
        """The drop where three rows more were decided otherwise, which is what seeing none on N rows leaves possible at
        95 % (the rule of three: Hanley and Lippman-Hand 1983); 0 where some were seen, and the bootstrap speaks.

        The rows are right ones of torch, the surest last. A metric that looks at no decisions is left to the bootstrap.
        """
        if self.metric in ("loss", "roc_auc", "average_precision") or self.scores.agreement(scores) < 1:
            return 0.0
        decisions = self.scores.decisions
        same = decisions == self.labels
        right = np.flatnonzero(same if same.ndim == 1 else same.all(axis=1))
        chosen = right[np.argsort(self.scores.probabilities[right].max(axis=1), kind="stable")[:3]]
        turned = np.array(decisions)
        turned[chosen] = ~turned[chosen] if same.ndim == 2 else (turned[chosen] + 1) % len(self.space)
        worse = Scores(probabilities=self.scores.probabilities, decisions=turned)
        return max(0.0, self.value(self.scores) - self.value(worse))

    def _drop(self, scores: Scores) -> Interval:
        """torch's metric minus the file's, turned so that positive is worse, on the same resampled rows."""
        # Paired: both files meet the same resampled rows, so what the rows vary by does not widen the interval.
        sign = -1 if self.metric in metrics.LOWER_IS_BETTER else 1
        torch, file = (
            resampled([self.metric], each, self.labels, self.space)[self.metric] for each in (self.scores, scores)
        )
        return Interval.of(sign * (self.value(self.scores) - self.value(scores)), sign * (torch - file))


def _differences(first: Scores, second: Scores) -> NDArray[np.float64]:
    return np.abs(first.probabilities.astype(np.float64) - second.probabilities)


def nothing_learnt(truth: Truth, constant: Constant) -> GateError:
    """The error of a model whose every answer may be the same: each file of it would agree with it."""
    loss = metrics.compute("loss", truth.scores, truth.labels, truth.space)
    return GateError(
        "the model has learnt nothing: no bundle was written",
        where=f"{len(truth.labels)} validation rows",
        found=f"{truth.metric} {metrics.shown(truth.value(truth.scores))}, loss {metrics.shown(loss)}",
        expected=f"better than one answer for all rows ({constant.said()})",
        do=f"train again: {REMEDY}; or export it --anyway",
    )


def shown_drop(parity: Parity, bound: float) -> str:
    """What the rows show of the drop, in words. bound: the largest that was asked for."""
    if parity.drop_high <= bound:
        return f"shown to be within {bound:g}"
    return f"not shown to be within {bound:g}: the interval reaches {parity.drop_high:.4f}"


def failures(parity: Parity, bounds: ParityBounds) -> list[str]:
    """What is outside its bounds, a sentence each; empty where the file passes."""
    least = min(bounds.min_agreement, 1 - 1 / (parity.rows + parity.unlabelled_rows))
    found = []
    if parity.label_agreement < least:
        found.append(f"label agreement {parity.label_agreement:.4f}, expected at least {least:.4f}")
    if parity.max_difference > bounds.max_difference:
        found.append(
            f"largest probability difference {parity.max_difference:.2g}, expected at most {bounds.max_difference:.2g}"
        )
    if parity.drop > bounds.max_drop and parity.drop_low > 0:
        found.append(
            f"{parity.metric} drops by {parity.drop:.4f} [{parity.drop_low:.4f}, {parity.drop_high:.4f}] "
            f"from {parity.torch_value:.4f}, expected at most {bounds.max_drop:.4f}"
        )
    # What is shown to be too large need not be called not shown as well.
    elif bounds.prove and parity.drop_high > bounds.max_drop:
        found.append(
            f"the drop of {parity.metric} is {shown_drop(parity, bounds.max_drop)}; more validation rows narrow it"
        )
    return found


def measured_rows(parity: Parity) -> str:
    """How many rows of which kind a file was compared on, in words."""
    more = f" and {parity.unlabelled_rows:,} rows without labels" if parity.unlabelled_rows else ""
    return f"{parity.rows:,} validation rows{more}"


def gate(precision: str, parity: Parity, bounds: ParityBounds) -> None:
    """Raise GateError, with every figure that is outside its bounds, where a file is not the same classifier."""
    found = failures(parity, bounds)
    if found:
        raise GateError(
            f"the {precision} file is not the same classifier: no bundle was written",
            where=measured_rows(parity),
            found="; ".join(found),
            # fp32 is to lose nothing: where it does, the fault is ours or the exporter's, and no bound mends it.
            do="leave this precision out with --precision, or accept a larger loss with --max-drop"
            if precision != "fp32"
            else "report this with the model family: an exact export of it is wrong",
        )
