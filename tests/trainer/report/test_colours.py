"""Colours of the charts: different to every kind of colour vision, and dark or light enough to be seen."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.report.charts.draw import LINES

STYLE = Path(__file__).parents[3] / "trainer" / "report" / "templates" / "style.css"
# What people without one of the three kinds of cones see, of linear RGB: Machado, Oliveira and Fernandes 2009.
VISION = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
# CIE 1976: 2.3 is what can just be told apart side by side.
LEAST = 10.0


def linear(colour: str) -> NDArray[np.float64]:
    """Light of each screen colour, 0 to 1."""
    parts = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def perceived(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE L*a*b* under D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = to_xyz @ np.clip(light, 0, 1) / [0.9505, 1, 1.089]
    x, y, z = (np.cbrt(part) if part > 0.008856 else 7.787 * part + 16 / 116 for part in (x, y, z))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def schemes() -> dict[str, dict[str, str]]:
    """The colours of the page by scheme: light, dark and paper."""
    found = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", part)) for part in STYLE.read_text().split(":root")[1:]]
    return dict(zip(("light", "dark", "paper"), found, strict=True))


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("scheme", ["light", "dark", "paper"])
def test_lines_are_told_apart_by_every_eye(scheme: str, vision: str) -> None:
    """Any two lines of a chart differ by four times what can just be seen, whichever cones the reader has."""
    colours = [schemes()[scheme][f"c{number}"] for number in range(1, len(LINES) + 1)]
    seen = [perceived(np.asarray(VISION[vision]) @ linear(colour)) for colour in colours]
    for (one, here), (other, there) in combinations(zip(colours, seen, strict=True), 2):
        assert np.linalg.norm(here - there) >= LEAST, (one, other)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lines_stand_out_from_the_page(scheme: str) -> None:
    """Each line has a contrast of 3 to 1 with the page, which WCAG 2.2 asks of what is drawn."""
    colours = schemes()[scheme]
    weights = np.array([0.2126, 0.7152, 0.0722])
    page = float(weights @ linear(colours["paper"])) + 0.05
    for number in range(1, len(LINES) + 1):
        line = float(weights @ linear(colours[f"c{number}"])) + 0.05
        assert max(page / line, line / page) >= 3, colours[f"c{number}"]
