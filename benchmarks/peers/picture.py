"""Quality against rows a second of one processor as a drawing: the table that people choose by, at a glance.

Only sets with one label a row are drawn, whose accuracy is that of model2vec's own table.
"""

import io
import statistics
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

OURS, OTHERS = "#b3261e", "#3b6ea5"


def points(quality: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Of each contestant that is measured on every drawn set: rows a processor second (geometric mean) and accuracy
    (mean), the best first.

    quality: quality.json. Sets that are missing are left out.
    """
    measured = _drawn(quality)
    of: dict[str, list[dict[str, Any]]] = {}
    for found in measured:
        for each in found["contestants"]:
            if "accuracy" in each:
                of.setdefault(each["name"], []).append(each)
    placed = {
        name: (
            statistics.geometric_mean(each["rows_per_cpu_second"] for each in several),
            statistics.fmean(each["accuracy"][0] for each in several),
        )
        for name, several in of.items()
        if len(several) == len(measured)
    }
    return dict(sorted(placed.items(), key=lambda each: -each[1][1]))


def svg(quality: Mapping[str, Any]) -> str:
    """The drawing. Text stays text, and the same figures give the same bytes."""
    found = points(quality)
    # Its own renderer would turn letters into paths, and name things at random.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "classifact", "font.family": "sans-serif"}):
        below = 0.2 * len(found) + 0.6
        high = 3.4 + below
        figure = Figure(figsize=(7.2, high))
        axes = figure.add_axes((0.1, below / high, 0.87, 3.2 / high))
        axes.set_xscale("log")
        axes.margins(x=0.1, y=0.15)
        for number, (name, (rate, value)) in enumerate(found.items(), start=1):
            colour = OURS if name.startswith("Classifact") else OTHERS
            axes.plot(rate, value, "o", markersize=13, color=colour, alpha=0.85)
            axes.annotate(str(number), (rate, value), ha="center", va="center", color="white", fontsize=8)
            line = f"{number}   {name}: {value:.1%}, {rate:,.0f} rows/s"
            figure.text(0.1, (below - 0.42 - 0.2 * number) / high, line, color=colour, fontsize=8.5)
        axes.set_xlabel("rows a second of one processor (logarithmic)")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_ylabel(f"accuracy, mean of {len(_drawn(quality))} sets")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.grid(visible=True, alpha=0.3)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    return drawn.getvalue()


def told(quality: Mapping[str, Any]) -> str:
    """What the drawing shows, in words: its alternative text."""
    each = [f"{name} {value:.1%} at {rate:,.0f} rows/s" for name, (rate, value) in points(quality).items()]
    names = ", ".join(found["name"] for found in _drawn(quality))
    return f"Mean accuracy on {names} against rows a second of one processor: {'; '.join(each)}."


def _drawn(quality: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [found for found in quality.values() if "contestants" in found and not found["multi"]]
