"""What is told of an explanation, in a terminal and on a page: sentences, and the text with its words marked."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from trainer.contract.explaining.explain import Explanation, LabelExplanation, Method
from trainer.contract.visible import visible

# Of each column: a page stays small, whatever the text.
MOST_CHARACTERS = 10_000
# Of the largest weight: what moves the label less is not marked.
_LEAST = 0.05


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A stretch of a text."""

    text: str
    """As the model reads it."""
    share: float
    """Its weight as a share of the largest, -1 to 1; 0 where it moves the label by less than a twentieth of that."""
    weight: float
    """Log-odds."""


def sentences(explanation: Explanation, label: LabelExplanation) -> list[str]:
    """What the weights are worth."""
    if not label.words:
        return ["The text has no words."]
    found = []
    if explanation.row.group > 1:
        found.append(f"The text is long: each line stands for {explanation.row.group} neighbouring words.")
    if label.fit is None:
        found.append("No word moves this label: LIME has nothing to explain.")
    else:
        worth = (
            ""
            if label.fit >= 0.5
            else " Below 0.5 its weights are not to be trusted: words act together, or too few texts were tried."
        )
        found.append(
            f"LIME's local model: R^2 {label.fit:.2f} on {explanation.samples:,} texts with words left out.{worth}"
        )
    if label.deletion is None:
        found.append("One word alone: there are no others to compare it with.")
    else:
        found.append(label.deletion.sentence(visible(label.label)))
    return found


def marks(
    explanation: Explanation, label: LabelExplanation, column: str, by: Method, most: int = MOST_CHARACTERS
) -> Iterator[Mark]:
    """The first `most` characters of a column's text, cut where words begin and end."""
    found = {word.unit: word.lime if by == "lime" else word.occlusion for word in label.words}
    weights = [found[unit] for unit in explanation.row.units]
    largest = max(map(abs, weights), default=0.0) or 1.0
    left = most
    for unit, pieces in groupby(explanation.row.pieces[column], key=lambda piece: piece[1]):
        text = "".join(text for text, _ in pieces)
        weight = 0.0 if unit < 0 else weights[unit]
        share = weight / largest if abs(weight) >= _LEAST * largest else 0.0
        yield Mark(text=text[:left], share=share, weight=weight)
        left -= len(text)
        if left <= 0:
            return
