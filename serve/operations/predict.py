"""A few texts from the command line to every label's probability, most likely first."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from export.bundle import Bundle
from serve.operations.explain import explain_row, steady
from serve.operations.explain_page import Explained, label_lines
from serve.operations.explain_page import values as explanation_values
from serve.scorer import Scorer
from serve.scoring.decided import ABSTAINED, decided_names, most_likely
from serve.scoring.settings import ScorerOptions
from trainer.contract.errors import BadRow, InputError
from trainer.contract.explaining.explain import ExplainOptions, Explanation
from trainer.contract.inputs import InputSpec
from trainer.contract.system.files import json_line
from trainer.contract.visible import probability, visible

# Characters of a text that are shown.
_SHOWN = 100
# Words of each given label that are told.
_WORDS = 5


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One text's answer."""

    text: str
    """As it was typed."""
    labels: list[str]
    """Those that it is given: of single-label one; none where it is not answered."""
    probabilities: dict[str, float]
    """Of each label, most likely first; or of the first few."""
    abstained: str | None = None
    """Why it is not answered, in words; None where it is."""
    explanation: Explanation | None = None
    """Which words the given labels rest on; None where that was not asked for."""

    def lines(self) -> list[str]:
        """For people: the text, then a line a label with its percentage, the given ones marked."""
        text = visible(" ".join(self.text.split()))
        shown = [(visible(name), name) for name in self.probabilities]
        width = max(len(spelled) for spelled, _ in shown)
        return [
            text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...",
            *(
                f"  {'*' if name in self.labels else ' '} {spelled:<{width}} {probability(self.probabilities[name]):>9}"
                for spelled, name in shown
            ),
            *([f"    {self.abstained}"] if self.abstained else []),
            *self._words(),
        ]

    def _words(self) -> Iterator[str]:
        if self.explanation is None:
            return
        for label in self.explanation.labels:
            yield f"    words for {visible(label.label)}:"
            yield from label_lines(self.explanation, label, _WORDS)

    def values(self) -> dict[str, object]:
        """For programs."""
        found: dict[str, object] = {"text": self.text, "labels": self.labels, "probabilities": self.probabilities}
        if self.abstained is not None:
            found["reason"] = ABSTAINED
        if self.explanation is not None:
            found["explanation"] = explanation_values(Explained(name="", explanation=self.explanation))
        return found


def predict_texts(
    bundle: Path, texts: Sequence[str], top_k: int | None, how: ScorerOptions, *, explained: bool
) -> tuple[list[Prediction], dict[str, object]]:
    """Open a bundle and score a few texts; gives the answers and what ran. See `predict`."""
    opened = Bundle.open(bundle)
    # One file for both: the words explain the number that is shown.
    with Scorer(opened, steady(opened, how) if explained else how) as scorer:
        found = predict(scorer, texts, top_k, explained=explained)
        ran = {"precision": scorer.session.precision, "thresholds": scorer.thresholds, "no_abstain": not scorer.abstain}
    return found, ran


def predict(
    scorer: Scorer, texts: Sequence[str], top_k: int | None = None, *, explained: bool = False
) -> list[Prediction]:
    """Score a few texts. top_k: how many labels of each to tell; None: all. explained: with the words behind them.

    Where the model reads several columns, or a pair, each text is a JSON object with a value for each. Raises
    InputError where it is none, or a text cannot be scored.
    """
    spec = scorer.bundle.contract.input
    rows = [record_of(text, spec, place) for place, text in enumerate(texts, 1)]
    scores = scorer.scores(rows)
    order = most_likely(scores.probabilities, top_k).tolist()
    names = scorer.labels.names
    found = [
        Prediction(
            text=text,
            labels=given,
            # As files spell them: the shortest number that reads back as the same float32.
            probabilities={names[label]: float(str(chances[label])) for label in best},
            abstained=None if answered else _said(scorer, sure),
        )
        for text, given, best, chances, answered, sure in zip(
            texts,
            decided_names(scorer.labels, scores),
            order,
            scores.probabilities,
            scores.answered.tolist(),
            scores.confidence.tolist(),
            strict=True,
        )
    ]
    if not explained:
        return found
    return [
        replace(each, explanation=explain_row(scorer, row, ExplainOptions()))
        for each, row in zip(found, rows, strict=True)
    ]


def _said(scorer: Scorer, confidence: float) -> str:
    rule = scorer.labels.abstain
    needed = probability(0.0 if rule is None else rule.below)
    return f"not answered: {probability(confidence)} sure, and {needed} is needed"


def record_of(text: str, spec: InputSpec, place: int) -> dict[str, object]:
    """A typed text, the place-th from 1 on, as a record that can be read; one of several columns is JSON.

    Raises InputError, with an example where it is not of that form.
    """
    row: dict[str, object] = {spec.columns[0]: text} if len(spec.columns) == 1 else _parsed(text, spec.columns)
    try:
        spec.read(row)
    except BadRow as error:
        raise InputError("a text cannot be scored", where=f"text {place}", found=f"{error.reason}: {error}") from None
    return row


def _parsed(text: str, columns: Sequence[str]) -> dict[str, object]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or set(row) != set(columns):
        example = json_line(dict.fromkeys(columns, "..."))
        raise InputError(
            "the model reads several columns",
            found=text[:_SHOWN],
            expected=f"a JSON object with {', '.join(columns)}",
            do=f"--text '{example}'",
        )
    return row
