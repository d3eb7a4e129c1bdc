"""Whether scored rows are like the validation rows that a bundle was accepted on: counts, a test, an effect size.

A figure is called drift where it is both: more than chance, and large enough to matter. The distance is that of Jensen
and Shannon (Lin 1991; Endres and Schindelin 2003), 0 for equal shares and 1 for shares that have no bin in common. It
is defined where a bin is empty, which PSI is not. Chance is what random divisions of the pooled rows give (Fisher's
permutation test), so it holds for few rows and for rare bins. What chance gives on average is taken off the distance:
among many bins, few validation rows alone lie well above LEAST_DISTANCE from what they were drawn from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.contract.figures.exact import holm

# Fewer rows than this are never called anything.
LEAST_DRIFT_ROWS = 100
# Of the distance beyond chance. Halves that are 62 and 38 %, and a class of 1 % that is 5 %, are about so far apart.
LEAST_DISTANCE = 0.1
# Of all figures of a job together (Holm 1979): one job in a hundred is called drift by chance.
DRIFT_LEVEL = 0.01
_DIVISIONS = 1_999
# More rows are tested as so many: what matters is beyond chance among these, and numpy's draws end at 10^9 rows.
_TESTED_ROWS = 10_000_000
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Rows counted in bins, here and in the reference."""

    names: tuple[str, ...]
    """Of the bins, for a person."""
    reference: tuple[float, ...]
    """Each bin's share of the reference's rows."""
    counts: tuple[int, ...]
    """Rows here, of each bin."""
    each: bool = False
    """Whether a row may lie in any number of bins, each of which is then compared by itself."""

    def added(self, other: "Figure") -> "Figure":
        """With the rows of another part of the same job."""
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return Figure(names=self.names, reference=self.reference, counts=counts, each=self.each)

    def plain(self) -> dict[str, Any]:
        """As JSON gives it back."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def compared(self, rows: int, reference_rows: int) -> dict[str, Any]:
        """The distance beyond chance, the largest of any bin where each stands by itself, and p: how often chance gives
        as large a one.
        """
        here = self._tables(np.array(self.counts), rows)
        there = self._tables(np.rint(np.array(self.reference) * reference_rows).astype(np.int64), reference_rows)
        if rows > _TESTED_ROWS:
            here = np.rint(here * (_TESTED_ROWS / rows)).astype(np.int64)
        found = _divergence(_shares(there), _shares(here))
        chance = _by_chance(there, here)
        as_large = int((chance.max(axis=1) >= found.max() - 1e-12).sum())
        beyond = max(0.0, float((found - chance.mean(axis=0)).max()))
        return {"distance": round(beyond**0.5, 4), "p": (1 + as_large) / (1 + _DIVISIONS)}

    def moved(self, rows: int) -> str:
        """The bin whose share differs most, in words."""
        here = np.array(self.counts) / rows
        bin_ = int(np.abs(here - self.reference).argmax())
        return f"{self.names[bin_]}: {100 * self.reference[bin_]:.1f} % there, {100 * here[bin_]:.1f} % here"

    def _tables(self, counts: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
        """One row of all bins, [1, B]; or for each bin the rows in it and those not, [B, 2]."""
        return np.stack([counts, rows - counts], axis=1) if self.each else counts[None, :]


def judged(figures: Mapping[str, Figure], rows: int, reference_rows: int) -> dict[str, Any]:
    """What a report says of drift.

    figures: by name. rows, reference_rows: scored here, and in the reference. Holds all that `merged_drift` needs.
    """
    found = {
        name: {**figure.plain(), **figure.compared(rows, reference_rows)} for name, figure in figures.items() if rows
    }
    for name, p in zip(found, holm([each["p"] for each in found.values()]), strict=True):
        enough = rows >= LEAST_DRIFT_ROWS and found[name]["distance"] >= LEAST_DISTANCE
        found[name] |= {"p": round(p, 4), "drift": enough and p <= DRIFT_LEVEL}
    names = [name for name, each in found.items() if each["drift"]]
    return {
        "rows": rows,
        "reference_rows": reference_rows,
        "found": names,
        "sentence": _sentence({name: figures[name] for name in names}, tuple(found), rows, reference_rows),
        "figures": found,
    }


def merged_drift(parts: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    """What the parts of a job say together: that of the undivided job. None where one says nothing."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or not known:
        return None
    figures: dict[str, Figure] = {}
    for part in known:
        for name, each in part["figures"].items():
            figure = Figure(
                names=tuple(each["names"]),
                reference=tuple(each["reference"]),
                counts=tuple(each["counts"]),
                each=each["each"],
            )
            figures[name] = figures[name].added(figure) if name in figures else figure
    return judged(figures, sum(part["rows"] for part in known), known[0]["reference_rows"])


def _sentence(found: dict[str, Figure], names: Sequence[str], rows: int, reference_rows: int) -> str:
    validation = f"the {reference_rows:,} validation rows"
    if rows < LEAST_DRIFT_ROWS:
        told = "1 row is" if rows == 1 else f"{rows:,} rows are"
        return f"drift is not judged: {told} fewer than {LEAST_DRIFT_ROWS}"
    if not found:
        return f"no drift: the rows are like {validation} in {_joined(names)}"
    moved = "; ".join(f"{name} ({figure.moved(rows)})" for name, figure in found.items())
    return f"drift: the rows are not like {validation} in {moved}"


def _joined(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _shares(counts: NDArray[np.int64]) -> Floats:
    return np.asarray(counts / np.maximum(1, counts.sum(axis=-1, keepdims=True)))


def _divergence(first: Floats, second: Floats) -> Floats:
    """Jensen and Shannon's, in bits, over the last axis: the square of the distance."""
    middle = (first + second) / 2

    def from_middle(shares: Floats) -> Floats:
        """The Kullback-Leibler divergence of shares [..., K] from the middle, in bits, [...]."""
        ratio = np.divide(shares, middle, out=np.ones_like(shares), where=shares > 0)
        return np.asarray((shares * np.log2(ratio)).sum(axis=-1))

    return np.asarray((from_middle(first) + from_middle(second)) / 2)


def _by_chance(there: NDArray[np.int64], here: NDArray[np.int64]) -> Floats:
    """Divergences of random divisions of the pooled rows, [_DIVISIONS, tables]; the same ones in each call.

    Tables that a row is in together are divided apart: their largest divergence is then rather larger than it would be.
    """
    generator = np.random.default_rng(0)
    found = np.empty((_DIVISIONS, len(there)))
    for table, (first, second) in enumerate(zip(there, here, strict=True)):
        pooled = first + second
        drawn = generator.multivariate_hypergeometric(pooled, first.sum(), _DIVISIONS, method="marginals")
        found[:, table] = _divergence(_shares(drawn), _shares(pooled - drawn))
    return found
