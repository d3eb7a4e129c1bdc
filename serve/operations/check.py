"""The golden rows of a bundle through the real scoring path, on this machine, against what they were at export."""

from dataclasses import asdict, dataclass, replace
from itertools import pairwise

import numpy as np

from export.bundle import GOLDEN_CAP, GoldenBounds, golden_logits, instruction_set
from serve.scorer import Scorer
from trainer.contract.errors import GateError


@dataclass(frozen=True, kw_only=True)
class Check:
    """What the golden rows show."""

    rows: int
    other_tokens: int
    """Rows whose texts became other tokens than at export."""
    precision: str
    provider: str
    logit_difference: float
    """The largest difference of a logit, over rows and labels, from what this file gave where it was exported."""
    largest_difference: float
    """The same of a probability."""
    torch_difference: float
    """Root of the mean squared difference of a logit from torch's."""
    label_agreement: float
    """Share of rows that are decided as torch decides them, 0 to 1."""
    bounds: GoldenBounds
    """What each figure may be."""
    instruction_set: str
    """Of this machine."""
    validated_on: str
    """That of the machine of the export."""

    @property
    def passed(self) -> bool:
        """Whether tokens are the same and every figure is within its bound. NaN is not."""
        return (
            self.other_tokens == 0
            and self.logit_difference <= self.bounds.logits
            and self.largest_difference <= self.bounds.probabilities
            and self.torch_difference <= self.bounds.from_torch
            and self.label_agreement >= self.bounds.agreement
        )


def check(scorer: Scorer) -> Check:
    """Score the golden rows and compare. Raises ArtifactError where the bundle has none."""
    rows = scorer.bundle.golden()
    # The bundle's own labels: thresholds that a user gave change decisions, and say nothing of this machine.
    labels = scorer.bundle.contract.labels
    graph = scorer.bundle.graph(scorer.session.precision)
    pairs = None if scorer.bundle.contract.input.pair is None else [row.pair or "" for row in rows]
    own, torch = golden_logits(rows, scorer.session.precision), golden_logits(rows)
    # The bounds were measured on the batches that this budget makes.
    found = scorer.logits([row.text for row in rows], pairs, scorer.bundle.manifest.batch_tokens)
    scores = labels.decode(found)
    encoded = scorer.encoder.encode([row.text for row in rows], pairs)
    ids = [encoded.ids[start:end].tolist() for start, end in pairwise(encoded.offsets.tolist())]
    # max() and mean() of an array that holds NaN are NaN, and no bound admits that.
    return Check(
        rows=len(rows),
        other_tokens=sum(list(row.ids) != found_ids for row, found_ids in zip(rows, ids, strict=True)),
        precision=scorer.session.precision,
        provider=scorer.session.provider,
        logit_difference=float(np.abs(found - own).max()),
        largest_difference=float(np.abs(scores.probabilities - labels.decode(own).probabilities).max()),
        torch_difference=float(np.sqrt(np.square(found - torch).mean())),
        label_agreement=scores.agreement(labels.decode(torch)),
        bounds=_capped(graph.golden, largest=float(np.abs(own).max())),
        instruction_set=instruction_set(),
        validated_on=graph.instruction_set,
    )


def _capped(bounds: GoldenBounds, largest: float) -> GoldenBounds:
    """Whatever a manifest says, logits may move by a small share of the largest one only."""
    return replace(bounds, logits=min(bounds.logits, GOLDEN_CAP * largest))


def require_passed(result: Check) -> None:
    """Raise GateError where this machine does not give the scores that the bundle was accepted on."""
    if result.passed:
        return
    if result.other_tokens:
        raise GateError(
            "the golden rows become other tokens on this machine",
            found=f"{result.other_tokens} of {result.rows} rows",
            do="install the version of tokenizers that manifest.json names, or export again with this one",
        )
    bounds = result.bounds
    other = result.instruction_set != result.validated_on
    raise GateError(
        "the golden rows score differently on this machine",
        where=f"{result.precision} on {result.provider}, {result.instruction_set}",
        found=f"logits move by {result.logit_difference:.4g} and probabilities by {result.largest_difference:.4g}, "
        f"{result.torch_difference:.4g} from torch, labels agree {result.label_agreement:.1%}",
        expected=f"at most {bounds.logits:.4g}, {bounds.probabilities:.4g} and {bounds.from_torch:.4g}, "
        f"at least {bounds.agreement:.1%}"
        + (f", as measured on {result.validated_on}: another instruction set" if other else ""),
        # An int8 file may be of an export that gave weights 8 bits, which other processors saturate.
        do="export again on a machine of this kind"
        if result.precision == "fp32"
        else "export again, if it was with an older Classifact; or score with --precision fp32",
    )


def check_summary(result: Check) -> dict[str, object]:
    """The check as JSON."""
    return {**asdict(result), "passed": result.passed}
