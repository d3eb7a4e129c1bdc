"""Lines over a plane as a chart: drawn, told in words, and as a table of numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from trainer.report.blocks import Cell, Chart, Number, Strange, Table
from trainer.report.charts.draw import DASHES, FAINT, INK, LINES, MARKERS, Drawing, label, thinned

# Rows of the table behind a line, and lines of one plot: more colours than these nobody tells apart.
_TOLD, MOST_LINES = 11, len(LINES)


@dataclass(frozen=True, kw_only=True)
class Line:
    """N points in the order of x; None in y, low or high: undefined there."""

    name: str
    """In the legend; may be a stranger's."""
    x: Sequence[float]
    """[N]"""
    y: Sequence[float | None]
    """[N]"""
    low: Sequence[float | None] = ()
    """[N], the lower edge of a band; none: no band."""
    high: Sequence[float | None] = ()
    """[N], its upper edge."""
    points: bool = False
    """Whether each point is marked."""
    joined: bool = True
    """Whether a line joins them."""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One chart."""

    name: str
    """Unique on the page."""
    title: str
    """Above it."""
    says: str
    """What is to be seen."""
    x: str
    """What the horizontal axis measures."""
    y: str
    """What the vertical one does."""
    lines: Sequence[Line]
    """At most MOST_LINES."""
    shares: tuple[bool, bool] = (False, False)
    """Whether x and y go from 0 to 1."""
    diagonal: bool = False
    """Whether the line y = x is drawn, faint."""
    mark: tuple[float, float, str] | None = None
    """A point that is named."""
    upright: float | None = None
    """A vertical line, faint."""


def chart(plot: Plot) -> Chart:
    """Draw it."""
    drawing = Drawing()
    with drawing as axes:
        _frame(axes, plot)
        for number, line in enumerate(plot.lines):
            _line(axes, line, number)
        if plot.mark is not None:
            x, y, text = plot.mark
            axes.plot([x], [y], marker="*", markersize=14, color=INK, linestyle="none", label=text, zorder=5)
        if len(plot.lines) > 1 or plot.mark is not None:
            axes.legend(loc="best")
    return Chart(name=plot.name, title=plot.title, says=plot.says, svg=drawing.svg(plot.name), table=_table(plot))


def _frame(axes: Axes, plot: Plot) -> None:
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)
    if plot.shares[0]:
        axes.set_xlim(-0.02, 1.02)
    if plot.shares[1]:
        axes.set_ylim(-0.02, 1.02)
    if plot.diagonal:
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":")
    if plot.upright is not None:
        axes.axvline(plot.upright, color=FAINT, linewidth=1, linestyle="--")


def _line(axes: Axes, line: Line, number: int) -> None:
    taken = thinned(line.y)
    x = [line.x[place] for place in taken]
    look: dict[str, Any] = {
        "color": LINES[number],
        "linestyle": DASHES[number] if line.joined else "none",
        "marker": MARKERS[number] if line.points else "",
    }
    axes.plot(x, [_drawn(line.y[place]) for place in taken], label=label(line.name), **look)
    if line.low:
        low, high = ([_drawn(edge[place]) for place in taken] for edge in (line.low, line.high))
        axes.fill_between(x, low, high, color=LINES[number], alpha=0.18, linewidth=0)


def _drawn(value: float | None) -> float:
    """matplotlib leaves a gap where a point is no number."""
    return float("nan") if value is None else value


def _table(plot: Plot) -> Table:
    """Some points of each line, with their bands."""
    rows: list[list[Cell]] = []
    for line in plot.lines:
        for place in thinned(line.y, _TOLD):
            ends = [_cell(edge[place]) for edge in (line.low, line.high) if edge]
            rows.append([Strange(line.name), _cell(line.x[place]), _cell(line.y[place]), *ends])
    banded = any(line.low for line in plot.lines)
    wide = 5 if banded else 3
    padded = [[*row, *[""] * (wide - len(row))] for row in rows]
    heads = ["line", plot.x, plot.y, *(["from", "to"] if banded else [])]
    return Table(caption=f"{plot.title}: points of the chart", heads=heads, rows=padded, sort=False, stack=banded)


def _cell(value: float | None) -> Number:
    return Number(value=value, shown="undefined" if value is None else f"{value:.4g}")
