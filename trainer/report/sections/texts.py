"""Rows of the data as cells: what a stranger wrote is shown cut, on one line, and as text alone."""

from collections.abc import Sequence

from trainer.contract.visible import probability
from trainer.report.blocks import TEXT, Cell, Names, Number, Paragraph, Strange, number
from trainer.report.rows import SeenRow


def row_heads() -> Sequence[str]:
    """Of the cells below."""
    return ("text", "true", "decided", "sure", "loss", "where")


def row_cells(row: SeenRow) -> list[Cell]:
    """A row of the split."""
    return [
        Strange(row.text, TEXT, row.characters),
        Names(row.labels),
        Names(row.predicted),
        sure(row.probability),
        number(row.loss, 2),
        Strange(short_place(row.place), 80),
    ]


def sure(value: float | None) -> Number:
    """A probability; of a row that none was found for, "undefined"."""
    return Number(value=value, shown="undefined" if value is None else probability(value))


def short_place(place: str) -> str:
    """file:line without the folders."""
    return place.rpartition("/")[2]


def hidden() -> Paragraph:
    """Instead of rows."""
    return Paragraph("This page was made without texts of rows (--no-texts).")
