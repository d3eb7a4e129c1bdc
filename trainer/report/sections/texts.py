"""Rows of the data as cells: what a stranger wrote is shown cut, on one line, and as text alone."""

from collections.abc import Sequence

from trainer.report.blocks import TEXT, Cell, Names, Paragraph, Strange, number, percent
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
        percent(row.probability),
        number(row.loss, 2),
        Strange(short_place(row.place), 80),
    ]


def short_place(place: str) -> str:
    """file:line without the folders."""
    return place.rpartition("/")[2]


def hidden() -> Paragraph:
    """Instead of rows."""
    return Paragraph("This page was made without texts of rows (--no-texts).")
