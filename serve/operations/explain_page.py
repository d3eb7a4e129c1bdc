"""Explanations as lines for a terminal, as values for programs, and as one HTML page without script."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from itertools import groupby
from typing import Any

from serve.operations.explain import Explanation, LabelExplanation, Weight

# Controls move a terminal's cursor or turn the direction of a line; none of them is text.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)
_WORD = 40
_LINE = 100
# Of each column: a page stays small, whatever the text.
_TEXT = 10_000

_STYLE = """
:root { color-scheme: light dark; --for: 0, 114, 178; --against: 213, 94, 0; }
@media (prefers-color-scheme: dark) { :root { --for: 86, 180, 233; --against: 230, 159, 0; } }
body { font: 16px/1.6 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
p, td { overflow-wrap: anywhere; }
.text { white-space: pre-wrap; unicode-bidi: isolate; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: .15rem .8rem .15rem 0; }
th:nth-child(n+2), td:nth-child(n+2):not(.column) { text-align: right; font-variant-numeric: tabular-nums; }
mark { color: inherit; background: rgba(var(--for), var(--much)); border-bottom: 2px solid rgb(var(--for)); }
mark.against { background: rgba(var(--against), var(--much)); border-bottom: 2px dashed rgb(var(--against)); }
"""


@dataclass(frozen=True, kw_only=True)
class Explained:
    """One explained row and where it comes from."""

    name: str
    """ "row 3, line 4", or nothing where the text was typed."""
    explanation: Explanation
    """Why it is given its labels."""


def visible(text: str) -> str:
    r"""A text whose control and bidi characters are spelled as harmless escapes: \\x1b, \\u202e."""
    return _HIDDEN.sub(lambda found: ascii(found[0])[1:-1], text)


def lines(explained: Explained, top: int) -> Iterator[str]:
    """For people: the text, then for each label its words and what to think of them."""
    row = explained.explanation.row
    text = _cut(visible(" ".join(" ".join(row.texts.values()).split())), _LINE)
    yield f"{explained.name}: {text}" if explained.name else text
    for label in explained.explanation.labels:
        yield f"  {'*' if label.given else ' '} {visible(label.label)} {label.probability:.2%}"
        yield from label_lines(explained.explanation, label, top)


def label_lines(explanation: Explanation, label: LabelExplanation, top: int) -> Iterator[str]:
    """The words of one label, largest weight first, then the sentences."""
    shown = [(_named(explanation, word), word) for word in label.words[:top]]
    if shown:
        width = max(4, *(len(name) for name, _ in shown))
        yield f"      {'word':<{width}}     LIME  left out"
        for name, word in shown:
            yield f"      {name:<{width}} {word.lime:>+8.2f}  {word.occlusion:>+8.2f}"
    for sentence in sentences(explanation, label):
        yield f"      {sentence}"


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
            else " Below 0.5 its weights are not to be trusted: words act together, or --samples are few."
        )
        found.append(
            f"LIME's local model: R^2 {label.fit:.2f} on {explanation.samples:,} texts with words left out.{worth}"
        )
    if label.deletion is None:
        found.append("One word alone: there are no others to compare it with.")
    else:
        found.append(label.deletion.sentence(visible(label.label)))
    return found


def values(explained: Explained) -> dict[str, Any]:
    """For programs: every word, with its place in its column's text."""
    explanation = explained.explanation
    return {
        "row": explained.name or None,
        "texts": explanation.row.texts,
        "samples": explanation.samples,
        "labels": [
            {
                "label": label.label,
                "probability": label.probability,
                "given": label.given,
                "fit": label.fit,
                "deletion": None if label.deletion is None else asdict(label.deletion),
                "sentences": sentences(explanation, label),
                "words": [
                    {"word": word.word, **asdict(word.unit), "lime": word.lime, "occlusion": word.occlusion}
                    for word in label.words
                ],
            }
            for label in explanation.labels
        ],
    }


def page(title: str, rows: Sequence[Explained], by: str, top: int) -> str:
    """One HTML file: no script, no request, and every text of a row escaped."""
    body = "".join(_section(explained, by, top) for explained in rows)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_safe(title)}</title><style>{_STYLE}</style></head><body><main>\n<h1>{_safe(title)}</h1>\n"
        '<p><mark style="--much:.3">Solid line</mark>: the word speaks for the label. '
        '<mark class="against" style="--much:.3">Broken line</mark>: it speaks against it. '
        "Figures are log-odds. LIME: the word's weight in a linear model of the neighbourhood of this text. "
        "Left out: what the label loses without this word alone.</p>\n"
        f"{body}</main></body></html>\n"
    )


def _section(explained: Explained, by: str, top: int) -> str:
    explanation = explained.explanation
    parts = [f"<section><h2>{_safe(explained.name or 'Text')}</h2>\n"]
    for label in explanation.labels:
        given = "given" if label.given else "not given"
        parts.append(f"<h3>{_safe(label.label)}: {label.probability:.2%}, {given}</h3>\n")
        parts += [f"<p>{_safe(sentence)}</p>\n" for sentence in sentences(explanation, label)]
        for column in explanation.row.texts:
            heading = f"<strong>{_safe(column)}</strong><br>" if len(explanation.row.texts) > 1 else ""
            parts.append(f'<p class="text" dir="auto">{heading}{_marked(explanation, label, column, by)}</p>\n')
        if label.words:
            cells = "".join(_table_row(explanation, word) for word in label.words[:top])
            parts.append(f"<table><tr><th>word</th><th>LIME</th><th>left out</th></tr>{cells}</table>\n")
    return "".join([*parts, "</section>\n"])


def _table_row(explanation: Explanation, word: Weight) -> str:
    name = escape(_named(explanation, word))
    return f"<tr><td><bdi>{name}</bdi></td><td>{word.lime:+.2f}</td><td>{word.occlusion:+.2f}</td></tr>"


def _marked(explanation: Explanation, label: LabelExplanation, column: str, by: str) -> str:
    """A column's text, each word that moves the label by a twentieth of the largest marked."""
    found = {word.unit: word.lime if by == "lime" else word.occlusion for word in label.words}
    weights = [found[unit] for unit in explanation.row.units]
    most = max(map(abs, weights), default=0.0) or 1.0
    parts, left = [], _TEXT
    for unit, pieces in groupby(explanation.row.pieces[column], key=lambda piece: piece[1]):
        text = "".join(text for text, _ in pieces)
        shown, left = _safe(text[:left], lines=True), left - len(text)
        share = 0.0 if unit < 0 else weights[unit] / most
        if abs(share) >= 0.05 and shown:
            kind = "" if share > 0 else ' class="against"'
            shown = f'<mark{kind} style="--much:{abs(share) / 2:.2f}" title="{weights[unit]:+.2f}">{shown}</mark>'
        parts.append(shown)
        if left <= 0:
            break
    more = len(explanation.row.texts[column]) - _TEXT
    return "".join(parts) + (f" ... and {more:,} more characters" if more > 0 else "")


def _named(explanation: Explanation, word: Weight) -> str:
    """A word for a list; with its column where there are several."""
    text = _cut(visible(word.word), _WORD)
    return text if len(explanation.row.texts) == 1 else f"{visible(word.unit.column)}: {text}"


def _safe(text: str, *, lines: bool = False) -> str:
    """Harmless in HTML; lines: line feeds and tabs stay."""
    kept = re.split("([\n\t])", text) if lines else [text]
    return "".join(part if lines and part in ("\n", "\t") else escape(visible(part)) for part in kept)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
