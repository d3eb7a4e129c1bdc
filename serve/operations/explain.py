"""A row explained as a scorer scores it."""

from collections.abc import Mapping
from dataclasses import replace

from export.bundle import Bundle
from serve.scorer import Scorer
from serve.scoring.settings import ScorerOptions
from trainer.contract.explaining.explain import Asked, ExplainOptions, Explanation, explain


def explain_row(scorer: Scorer, record: Mapping[str, object], options: ExplainOptions) -> Explanation:
    """Explain the labels of one row: column to value. Raises as the contract's `explain` does."""
    model = Asked(labels=scorer.labels, input=scorer.bundle.contract.input, logits=scorer.logits)
    return explain(model, record, options)


def steady(bundle: Bundle, given: ScorerOptions) -> ScorerOptions:
    """fp32 unless another file was asked for: batch mates move int8 logits by as much as some words do."""
    if given.session.precision != "auto" or "fp32" not in bundle.manifest.graphs:
        return given
    return replace(given, session=replace(given.session, precision="fp32"))
