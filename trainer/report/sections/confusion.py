"""Which labels are taken for which, with rows to look at."""

from typing import Any

from trainer.report.blocks import (
    Block,
    Cell,
    Heading,
    Labelled,
    Paragraph,
    Section,
    Shade,
    Strange,
    Table,
    count,
    percent,
)
from trainer.report.gather import Evidence
from trainer.report.rows import MISSED, WRONGLY, Pair, SeenRow
from trainer.report.sections.figures import missing
from trainer.report.sections.texts import hidden, row_cells, row_heads
from trainer.report.words import plural

# Labels of a table that can still be read, and pairs that get rows of their own.
_LABELS, _PAIRS, _LISTED = 20, 4, 25


def worst_pairs(figures: dict[str, Any]) -> list[tuple[Pair, int, float]]:
    """The commonest confusions, each with its rows and their share of the rows with that true label."""
    names, found = figures["labels"], []
    for place, counts in enumerate(figures["confusion"]):
        if figures["kind"] == "single":
            whole = max(1, sum(counts))
            found += [
                ((names[place], names[other]), number, number / whole)
                for other, number in enumerate(counts)
                if other != place and number
            ]
        else:
            (_, wrongly), (missed, right) = counts
            found += [((names[place], MISSED), missed, missed / max(1, missed + right))] if missed else []
            found += [((names[place], WRONGLY), wrongly, wrongly / max(1, wrongly + right))] if wrongly else []
    return sorted(found, key=lambda pair: -pair[1])[:_LISTED]


def asked_pairs(figures: dict[str, Any] | None) -> list[Pair]:
    """Those that rows are shown of."""
    return [] if figures is None else [pair for pair, _, _ in worst_pairs(figures)[:_PAIRS]]


def confused(evidence: Evidence) -> Section:
    """The confusion table, the worst pairs, and rows of them."""
    figures = evidence.figures
    title = "Confusion"
    if figures is None:
        return Section(key="confusion", title=title, blocks=[missing(evidence, "No confusions were counted yet.")])
    pairs = worst_pairs(figures)
    blocks: list[Block] = []
    if figures["kind"] == "single" and len(figures["labels"]) <= _LABELS:
        blocks.append(_matrix(figures))
    if not pairs:
        return Section(key="confusion", title=title, blocks=[*blocks, Paragraph("No row is decided wrongly.")])
    if figures["kind"] == "multi" or len(figures["labels"]) > 2:
        blocks.append(_listed(figures, pairs))
    blocks.append(Heading("Rows of the worst confusions"))
    if not evidence.texts:
        return Section(key="confusion", title=title, blocks=[*blocks, hidden()])
    for (true, other), number, _ in pairs[:_PAIRS]:
        rows = evidence.seen.of_pair.get((true, other), [])
        name = (
            f"{true} {other}"
            if other in (MISSED, WRONGLY) and figures["kind"] == "multi"
            else f"{true} taken for {other}"
        )
        blocks.append(Labelled(Strange(name, 140), f": {plural(number, 'row')}"))
        blocks.append(_rows(rows))
    return Section(key="confusion", title=title, blocks=blocks)


def _rows(rows: list[SeenRow]) -> Table:
    caption = "The rows with the largest loss"
    return Table(caption=caption, heads=row_heads(), rows=[row_cells(row) for row in rows], stack=True, sort=False)


def _matrix(figures: dict[str, Any]) -> Table:
    names = [Strange(name, 24) for name in figures["labels"]]
    rows: list[list[Cell]] = []
    for place, counts in enumerate(figures["confusion"]):
        whole = max(1, sum(counts))
        rows.append(
            [
                names[place],
                *(
                    Shade(count=number, share=number / whole, right=other == place)
                    for other, number in enumerate(counts)
                ),
            ]
        )
    caption = "Rows: the true label. Columns: the decided one. Darker: a larger share of the row"
    return Table(caption=caption, heads=["true \\ decided", *names], rows=rows, sort=False)


def _listed(figures: dict[str, Any], pairs: list[tuple[Pair, int, float]]) -> Table:
    of = ("true label", "taken for") if figures["kind"] == "single" else ("label", "is")
    rows: list[list[Cell]] = [
        [Strange(true), Strange(other), count(times), percent(share)] for (true, other), times, share in pairs
    ]
    heads = [*of, "rows", "share of its rows"]
    return Table(caption=f"The {len(rows)} commonest confusions", heads=heads, rows=rows, stack=True)
