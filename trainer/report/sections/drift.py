"""Whether the rows of a scored file are like those that the bundle was accepted on."""

from typing import Any

from trainer.report.blocks import (
    Block,
    Cell,
    Missing,
    Number,
    Paragraph,
    Range,
    Section,
    State,
    Strange,
    Table,
    Terms,
    number,
)
from trainer.report.gather import Evidence
from trainer.report.words import plural

# Bins of a figure in the table: labels may be many.
_BINS = 40


def drift(evidence: Evidence) -> Section:
    """What `score` found."""
    found, title = evidence.scores, "Drift"
    if found is None:
        then = "classifact report RUN --bundle BUNDLE --scores scored.csv.report.json"
        command = evidence.typed(f"classifact score BUNDLE NEW.csv --out scored.csv && {then}")
        return Section(key="drift", title=title, blocks=[Missing(what="No scored file was given.", command=command)])
    scored = f"{plural(found['rows_scored'], 'row was', 'rows were')} scored in {found['precision']}"
    scored += f"; {plural(int(found.get('rows_rejected', 0)), 'row')} could not be."
    if left := int(found.get("rows_abstained") or 0):
        scored += f" {left:,} of the scored rows were not answered: the model was not sure enough."
    blocks: list[Block] = [Paragraph(scored)]
    judged = found.get("drift")
    if judged is None:
        told = "The report holds no comparison: the bundle has no reference, or an earlier version scored the file."
        return Section(key="drift", title=title, blocks=[*blocks, Paragraph(told)])
    sentence = str(judged["sentence"])
    blocks += [Paragraph(f"{sentence[:1].upper()}{sentence[1:]}.", strong=True), _figures(judged)]
    blocks += [_bins(name, figure, judged["rows"]) for name, figure in judged["figures"].items()]
    terms = {
        "drift": "The rows are unlike those that the model was measured on, by more than chance makes and by enough "
        "to matter. "
        "The figures of this page then say less about them.",
        "distance": "0 where all shares are equal, 1 where nothing is in common (Jensen and Shannon), less what "
        "chance gives.",
        "p": "How often chance alone would give such a distance, allowing for how many figures are compared (Holm "
        "1979).",
    }
    return Section(key="drift", title=title, blocks=[*blocks, Terms(terms=terms)])


def _figures(judged: dict[str, Any]) -> Table:
    rows: list[list[Cell]] = [
        [
            State(holds=not figure["drift"], word="drift" if figure["drift"] else "alike"),
            name,
            number(figure["distance"]),
            Number(value=figure["p"], shown=f"{figure['p']:.4f}"),
        ]
        for name, figure in judged["figures"].items()
    ]
    caption = f"{plural(judged['rows'], 'scored row')} against {plural(judged['reference_rows'], 'validation row')}"
    return Table(caption=caption, heads=["", "figure", "distance", "p, adjusted"], rows=rows, stack=True)


def _bins(name: str, figure: dict[str, Any], whole: int) -> Table:
    """Shares of each bin, those that moved most first where there are too many."""
    found = [
        (str(bin_), float(there), here / max(1, whole))
        for bin_, there, here in zip(figure["names"], figure["reference"], figure["counts"], strict=True)
        if there or here
    ]
    if len(found) > _BINS:
        found = sorted(found, key=lambda one: -abs(one[1] - one[2]))[:_BINS]
    rows: list[list[Cell]] = [[Strange(bin_), Range(value=there), Range(value=here)] for bin_, there, here in found]
    return Table(
        caption=f"Shares of {name}", heads=[name, "validation rows", "scored rows"], rows=rows, fold=name, stack=True
    )
