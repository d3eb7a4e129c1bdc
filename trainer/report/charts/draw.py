"""A matplotlib figure to an SVG that takes the page's colours and fonts, the same bytes each time.

matplotlib writes text as text where it is told to, and ids from a fixed salt. What it cannot do is follow a reader's
dark mode: so the colours that charts draw with stand for the page's own, and are replaced by their names here.
"""

import io
import re
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.contract.visible import cut, visible

# Four are near those of Okabe and Ito 2008. A reader sees the colours of style.css in their place, which every
# kind of colour vision tells apart (by a test); dashes and markers tell the same once more.
INK, FAINT, GRID = "#010203", "#040506", "#070809"
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b87900", "#56b4e9")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")
_NAMES = {INK: "var(--ink)", FAINT: "var(--faint)", GRID: "var(--line)"} | {
    colour: f"var(--c{number})" for number, colour in enumerate(LINES, 1)
}
# Inches of 72 units: what a phone shows without shrinking the letters much.
WIDTH, HEIGHT = 5.2, 3.5
# Points of a line: more would not be seen.
CHART_POINTS = 200
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "classifact",
    # A label may be "$5": that is no formula.
    "text.parse_math": False,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "lines.linewidth": 2,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


class Drawing:
    """One chart: `with Drawing() as axes: ...`, then `.svg(name)`."""

    def __init__(self, height: float = HEIGHT) -> None:
        self._style = mpl.rc_context(_STYLE)
        self._height = height

    def __enter__(self) -> Axes:
        self._style.__enter__()
        self.figure = Figure(figsize=(WIDTH, self._height), layout="constrained")
        return self.figure.subplots()

    def __exit__(self, *error: object) -> None:
        try:
            if error[0] is None:
                file = io.BytesIO()
                with warnings.catch_warnings():
                    # The reader's fonts draw the text, not those that matplotlib measures with.
                    warnings.filterwarnings("ignore", message=r"Glyph \d+")
                    warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
                    self.figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
                self._raw = file.getvalue().decode()
        finally:
            self._style.__exit__(None, None, None)

    def svg(self, name: str) -> str:
        """The `<svg>` element. name: unique on the page, it begins every id."""
        return svg_of_page(self._raw, name)


def svg_of_page(raw: str, name: str) -> str:
    """matplotlib's SVG file as an element of a page. Only tags are touched: what a text says stays."""
    text = raw[raw.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    box = re.search(r'viewBox="[^"]*"', text)
    text = f'<svg {box[0] if box else ""} aria-hidden="true" focusable="false">' + text[text.index(">") + 1 :]
    # Ids that nothing uses go; those of other charts on the page may be the same.
    used = set(re.findall(r'(?:url\(|xlink:href=")#([^")]+)', text))
    text = re.sub(r"<[^>]*>", lambda tag: _own(tag[0], name, used), text)
    return re.sub(r"\s*\n\s*", "\n", text).strip()


def _own(tag: str, name: str, used: set[str]) -> str:
    """A tag with the page's colours and font, and ids of its own."""
    for colour, place in _NAMES.items():
        tag = tag.replace(colour, place)
    tag = re.sub(r"font-family: [^;]*; ", "", tag)
    tag = re.sub(r' id="([^"]*)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", tag)
    return re.sub(r'(url\(|xlink:href=")#', rf"\1#{name}-", tag).replace("xlink:href", "href")


def label(name: str, most: int = 24) -> str:
    """A stranger's name as a chart shows it: short, and without a character that is not seen."""
    return cut(visible(" ".join(name.split())), most)


def thinned(points: Sequence[float | None], most: int = CHART_POINTS) -> list[int]:
    """Which of so many points are drawn: the first, the last, and those evenly between."""
    count, few = len(points), min(len(points), most)
    return sorted({round(place * (count - 1) / max(1, few - 1)) for place in range(few)})
