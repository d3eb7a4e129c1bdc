"""The golden rows of a bundle through the real scoring path, on this machine, against torch's logits."""

from dataclasses import asdict, dataclass

import numpy as np

from export.bundle import golden_logits, instruction_set
from serve.scorer import Scorer
from trainer.contract.errors import GateError


@dataclass(frozen=True, kw_only=True)
class Check:
    """What the golden rows show. largest_difference: of probabilities, over rows and labels; bound: the manifest's."""

    rows: int
    precision: str
    provider: str
    label_agreement: float
    largest_difference: float
    bound: float
    instruction_set: str
    validated_on: str

    @property
    def passed(self) -> bool:
        """Whether the scores are within the bound. NaN is not."""
        return self.largest_difference <= self.bound


def check(scorer: Scorer) -> Check:
    """Score the golden rows and compare."""
    rows = scorer.bundle.golden()
    labels = scorer.bundle.contract.labels
    pairs = None if scorer.bundle.contract.input.pair is None else [row.pair or "" for row in rows]
    expected = labels.decode(golden_logits(rows).reshape(len(rows), len(labels)))
    # The bound was measured on the batches that this budget makes.
    tokens = scorer.bundle.manifest.batch_tokens
    found = labels.decode(scorer.logits([row.text for row in rows], pairs, tokens))
    graph = scorer.bundle.graph(scorer.session.precision)
    # max() of an array that holds NaN is NaN, and no bound admits that.
    return Check(
        rows=len(rows),
        precision=scorer.session.precision,
        provider=scorer.session.provider,
        label_agreement=found.agreement(expected),
        largest_difference=float(np.abs(found.probabilities - expected.probabilities).max(initial=0.0)),
        bound=graph.golden_bound,
        instruction_set=instruction_set(),
        validated_on=graph.instruction_set,
    )


def require_passed(result: Check) -> None:
    """Raise GateError where this machine does not give the scores that the bundle was accepted on."""
    if result.passed:
        return
    other = result.instruction_set != result.validated_on
    raise GateError(
        "the golden rows score differently on this machine",
        where=f"{result.precision} on {result.provider}, {result.instruction_set}",
        found=f"probabilities differ by {result.largest_difference:.4g}, labels agree {result.label_agreement:.1%}",
        expected=f"at most {result.bound:.4g}"
        + (f", as measured on {result.validated_on}: another instruction set" if other else ""),
        do=("" if result.precision == "fp32" else "score with --precision fp32, or ")
        + "export again on a machine of this kind",
    )


def summary(result: Check) -> dict[str, object]:
    """The check as JSON."""
    return {**asdict(result), "passed": result.passed}
