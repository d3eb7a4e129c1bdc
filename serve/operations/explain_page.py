"""Explanations as lines for a terminal, as values for programs, and as one HTML page without script."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from trainer.contract.explaining.explain import Explanation, LabelExplanation, Method, Weight
from trainer.contract.explaining.telling import MOST_CHARACTERS, marks, sentences
from trainer.contract.visible import cut, probability, visible

_WORD = 40
_LINE = 100

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


def explanation_lines(explained: Explained, top: int) -> Iterator[str]:
    """For people: the text, then for each label its words and what to think of them."""
    row = explained.explanation.row
    text = cut(visible(" ".join(" ".join(row.texts.values()).split())), _LINE)
    yield f"{explained.name}: {text}" if explained.name else text
    for label in explained.explanation.labels:
        yield f"  {'*' if label.given else ' '} {visible(label.label)} {probability(label.probability)}"
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


def page(title: str, rows: Sequence[Explained], by: Method, top: int) -> str:
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


def _section(explained: Explained, by: Method, top: int) -> str:
    explanation = explained.explanation
    parts = [f"<section><h2>{_safe(explained.name or 'Text')}</h2>\n"]
    for label in explanation.labels:
        given = "given" if label.given else "not given"
        parts.append(f"<h3>{_safe(label.label)}: {probability(label.probability)}, {given}</h3>\n")
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


def _marked(explanation: Explanation, label: LabelExplanation, column: str, by: Method) -> str:
    """A column's text, each word that moves the label marked."""
    parts = []
    for mark in marks(explanation, label, column, by):
        shown = _safe(mark.text, lines=True)
        if mark.share and shown:
            kind = "" if mark.share > 0 else ' class="against"'
            shown = f'<mark{kind} style="--much:{abs(mark.share) / 2:.2f}" title="{mark.weight:+.2f}">{shown}</mark>'
        parts.append(shown)
    more = len(explanation.row.texts[column]) - MOST_CHARACTERS
    return "".join(parts) + (f" ... and {more:,} more characters" if more > 0 else "")


def _named(explanation: Explanation, word: Weight) -> str:
    """A word for a list; with its column where there are several."""
    text = cut(visible(word.word), _WORD)
    return text if len(explanation.row.texts) == 1 else f"{visible(word.unit.column)}: {text}"


def _safe(text: str, *, lines: bool = False) -> str:
    """Harmless in HTML; lines: line feeds and tabs stay."""
    kept = re.split("([\n\t])", text) if lines else [text]
    return "".join(part if lines and part in ("\n", "\t") else escape(visible(part)) for part in kept)
