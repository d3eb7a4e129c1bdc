"""Rows to look at: wrong decisions, labels that may be wrong, and why some rows are decided as they are."""

from collections.abc import Sequence
from typing import Any

import pyarrow.parquet as pq

from trainer.contract.explaining.telling import marks, sentences
from trainer.contract.visible import probability
from trainer.report.blocks import (
    TEXT,
    Block,
    Cell,
    Labelled,
    MarkedText,
    Missing,
    Names,
    Paragraph,
    Section,
    State,
    Strange,
    Table,
    Terms,
    number,
)
from trainer.report.examples import Example
from trainer.report.gather import Evidence
from trainer.report.sections.figures import missing
from trainer.report.sections.texts import hidden, row_cells, row_heads, short_place, sure
from trainer.report.words import plural
from trainer.review.files import REVIEW_FOLDER

SUSPECTS = 200
# Rows that are read at once; the others unfold, so that a phone gets to what follows.
_SEEN = 20
_WEIGHTS = "The words with the largest weights, in log-odds"
# Words in an example's table.
_WORDS = 8


def mismatches(evidence: Evidence) -> Section:
    """The worst wrong rows."""
    figures, title = evidence.figures, "Wrong rows"
    if figures is None:
        return Section(key="mismatches", title=title, blocks=[missing(evidence, "No row was decided yet.")])
    seen = evidence.seen
    if not seen.wrong:
        return Section(key="mismatches", title=title, blocks=[Paragraph("No row is decided wrongly.")])
    files = (
        " and ".join(f"{figures['mismatches']['folder']}/{name}" for name in figures["mismatches"]["files"])
        if figures.get("mismatches")
        else figures["predictions"]["file"]
    )
    shown = f"The {len(seen.worst)} with the largest loss are below" if evidence.texts else "None is shown"
    blocks: list[Block] = [
        Paragraph(
            f"{plural(seen.wrong, 'row is', 'rows are')} decided wrongly. {shown}; all are in {files} of the run."
        )
    ]
    if evidence.texts:
        blocks += _rows("Wrong rows, the surest first", row_heads(), [row_cells(row) for row in seen.worst])
    else:
        blocks.append(hidden())
    terms = {
        "loss of a row": "How surprised the model is by the true label. A large loss means: sure, and wrong. Often "
        "the label "
        "is wrong instead."
    }
    return Section(key="mismatches", title=title, blocks=[*blocks, Terms(terms=terms)])


def _rows(caption: str, heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[Block]:
    """The first ones, and the others to unfold."""
    first, others = rows[:_SEEN], rows[_SEEN:]
    found: list[Block] = [Table(caption=caption, heads=heads, rows=first, stack=True)]
    if others:
        fold = f"The next {plural(len(others), 'row')}"
        found.append(Table(caption=f"{caption}: the next ones", heads=heads, rows=others, stack=True, fold=fold))
    return found


def suspects(evidence: Evidence) -> Section:
    """Labels of training rows that may be wrong."""
    found, title = evidence.suspects, "Labels that may be wrong"
    if found is None:
        missed = Missing(what="The labels were not checked.", command=evidence.typed("classifact suspects RUN"))
        return Section(key="suspects", title=title, blocks=[missed])
    files = " and ".join(f"{found['folder']}/{name}" for name in found["files"])
    told = (
        f"{plural(found['suspects'], 'label')} of {found['rows']:,} training rows may be wrong, by {found['models']}, "
        "which "
        f"give {found['agreement']:.1%} of the labels as they stand. All are in {files} of the run."
    )
    blocks: list[Block] = [Paragraph(told.replace("%", " %"))]
    if not evidence.texts:
        blocks.append(hidden())
    elif found["suspects"]:
        rows = [_suspect(row) for row in _first(evidence)]
        heads = ["text", "label", "likelier", "believed", "where"]
        blocks += _rows("The least believed first", heads, rows)
    terms = {
        "confident learning": "Models that did not learn from a row say how likely its label is. A label that they "
        "believe "
        "much less than they do on average, while another is likely, may be wrong (Northcutt et al. 2021).",
        "believed": "The probability of the label that the row carries.",
    }
    return Section(key="suspects", title=title, blocks=[*blocks, Terms(terms=terms)])


def _first(evidence: Evidence) -> list[dict[str, Any]]:
    """The first SUSPECTS rows. Of a thousand labels' probabilities none is read."""
    file = pq.ParquetFile(evidence.run / REVIEW_FOLDER / "suspects.parquet")
    names = ("text", "label", "labels", "suggestion", "suggestions", "self_confidence", "file", "line")
    columns = [name for name in names if name in file.schema_arrow.names]
    batch = next(file.iter_batches(batch_size=SUSPECTS, columns=columns), None)
    return [] if batch is None else list(batch.to_pylist())


def _suspect(row: dict[str, Any]) -> list[Cell]:
    labels, likelier = (_names(row.get(name, row.get(f"{name}s"))) for name in ("label", "suggestion"))
    where = Strange(short_place(f"{row.get('file')}:{row.get('line')}"), 80)
    return [Strange(str(row["text"]), TEXT), labels, likelier, sure(row.get("self_confidence")), where]


def _names(value: Any) -> Names:
    return Names(tuple(value) if isinstance(value, list) else (str(value),))


def explained(evidence: Evidence) -> Section:
    """Words that decisions rest on."""
    title = "Why it decides so"
    if not evidence.texts:
        return Section(key="explained", title=title, blocks=[hidden()])
    if not evidence.explained:
        what = "No row was explained on this page."
        return Section(
            key="explained",
            title=title,
            blocks=[Missing(what=what, command=evidence.typed("classifact report RUN --examples 4"))],
        )
    blocks: list[Block] = [
        Paragraph(
            "A few rows: wrong ones that the model is sure of, the one nearest to another decision, and right "
            "ones. Words with a solid line speak for the label, words with a broken line against it; the "
            "stronger the colour, the more."
        )
    ]
    for example in evidence.explained:
        blocks += _example(example)
    terms = {
        "LIME": "Words are left out at random, hundreds of times, and a linear model is fitted to what the classifier "
        "then says (Ribeiro et al. 2016). A word's weight is in log-odds: 0.7 doubles the odds.",
        "left out": "What the label loses, in log-odds, when this word alone is left out.",
        "deletion test": "Without the top words the probability should fall more than without as many others, or the "
        "list "
        "explains nothing.",
    }
    return Section(key="explained", title=title, blocks=[*blocks, Terms(terms=terms)])


def _example(example: Example) -> list[Block]:
    row, found, blocks = example.row, example.explanation, list[Block]()
    told = "right" if row.right else "wrong"
    length = sum(map(len, found.row.texts.values()))
    for label in found.labels:
        pieces = [
            (mark.text, mark.share) for column in found.row.texts for mark in marks(found, label, column, "lime", TEXT)
        ]
        text = MarkedText(pieces=pieces, more=length - sum(len(piece) for piece, _ in pieces))
        cells: list[list[Cell]] = [[State(holds=row.right, word=told), text, Names(row.labels), Names(row.predicted)]]
        words: list[list[Cell]] = [
            [Strange(word.word, 40), number(word.lime, 2), number(word.occlusion, 2)] for word in label.words[:_WORDS]
        ]
        where = f"{short_place(row.place)[:80]}, decided {told}"
        blocks += [
            Labelled(Strange(label.label), f", {probability(label.probability)}"),
            Table(caption=where, heads=["", "text", "true", "decided"], rows=cells, stack=True, sort=False),
            Table(caption=_WEIGHTS, heads=["word", "LIME", "left out"], rows=words, fold="Its words"),
            Paragraph(" ".join(sentences(found, label))),
        ]
    return blocks
