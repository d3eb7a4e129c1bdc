"""A row explained as a scorer scores it."""

from collections.abc import Mapping

from serve.scorer import Scorer
from trainer.contract.explaining.explain import Asked, ExplainOptions, Explanation, explain


def explain_row(scorer: Scorer, record: Mapping[str, object], options: ExplainOptions) -> Explanation:
    """Explain the labels of one row: column to value. Raises as the contract's `explain` does."""
    model = Asked(labels=scorer.labels, input=scorer.bundle.contract.input, logits=scorer.logits)
    return explain(model, record, options)
