"""Quality against rows per second as a drawing: the table that people choose by, at a glance."""

import io
import statistics
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure


def points(quality: Mapping[str, Any], metric: str = "accuracy") -> dict[str, tuple[float, float]]:
    """Of each contestant that is measured on every measured set: rows/s (geometric mean) and the metric's mean.

    quality: quality.json. Sets that are missing are left out.
    """
    measured = [each["contestants"] for each in quality.values() if "contestants" in each]
    of: dict[str, list[dict[str, Any]]] = {}
    for contestants in measured:
        for each in contestants:
            if metric in each:
                of.setdefault(each["name"], []).append(each)
    return {
        name: (
            statistics.geometric_mean(each["rows_per_second"] for each in several),
            statistics.fmean(each[metric][0] for each in several),
        )
        for name, several in of.items()
        if len(several) == len(measured)
    }


def svg(quality: Mapping[str, Any], metric: str = "accuracy") -> str:
    """The drawing. Text stays text, and the same figures give the same bytes."""
    found = points(quality, metric)
    sets = sum("contestants" in each for each in quality.values())
    # Its own renderer would turn letters into paths, and name things at random.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "classifact", "font.family": "sans-serif"}):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.margins(x=0.25, y=0.12)
        for name, (rate, value) in found.items():
            ours = name.startswith("Classifact")
            axes.plot(rate, value, "o", color="#b3261e" if ours else "#3b6ea5")
            axes.annotate(name, (rate, value), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8)
        axes.set_xlabel("rows per second (logarithmic)")
        axes.set_ylabel(f"{metric}, mean of {sets} {'set' if sets == 1 else 'sets'}")
        axes.grid(visible=True, alpha=0.3)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    return drawn.getvalue()
