"""The validation rows' distribution that a bundle keeps (reference.json), and what scored rows are counted in."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.contract.checkpoint import from_json
from trainer.contract.encoding import Encoded
from trainer.contract.errors import ArtifactError
from trainer.contract.figures.drift import Figure
from trainer.contract.labels import LabelSpace, Scores
from trainer.contract.system.files import read_json

BinCounts = dict[str, list[int]]


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Bins [edge, next edge), the last one closed on both sides, and the share of the rows in each."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.edges) != len(self.shares) + 1 or list(self.edges) != sorted(set(self.edges)):
            raise ValueError("edges: expected rising numbers, one more than shares")
        _check_shares(self.shares)

    @classmethod
    def of(cls, values: NDArray[Any], edges: Sequence[float]) -> "Histogram":
        """That of one value or more."""
        counts, _ = np.histogram(values, bins=np.array(edges, dtype=np.float64))
        return cls(edges=tuple(map(float, edges)), shares=tuple((counts / len(values)).tolist()))

    def count(self, values: NDArray[Any]) -> list[int]:
        """Values below the first edge, in each bin, and above the last edge."""
        inner, _ = np.histogram(values, bins=np.array(self.edges))
        below, above = (values < self.edges[0]).sum(), (values > self.edges[-1]).sum()
        return [int(below), *inner.tolist(), int(above)]

    def figure(self, counts: Sequence[int], what: str) -> Figure:
        """With what `count` gave; what: is counted, for the bins' names."""
        first, last = f"{self.edges[0]:g}", f"{self.edges[-1]:g}"
        pairs = zip(self.edges[:-1], self.edges[1:], strict=True)
        names = (f"{what} below {first}", *(f"{what} of {a:g} to {b:g}" for a, b in pairs), f"{what} above {last}")
        return Figure(names=names, reference=(0.0, *self.shares, 0.0), counts=tuple(counts))


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What reference.json holds."""

    rows: int
    labels: dict[str, float]
    """Share of rows that were decided so."""
    tokens: Histogram
    """Of a row, special tokens counted, after truncation; the edges are the deciles of these rows."""
    confidence: Histogram
    """The largest probability of a row."""
    unknown_tokens: float | None
    """Share of all tokens; None where the tokenizer knows every character."""
    rows_cut: float
    """Share of rows that truncation cut."""
    unknown_rows: float | None = None
    """Share of rows with an unknown token; None as above, and in bundles of earlier versions."""

    abstained: float | None = None
    """Share of rows that were not answered; None where all are."""

    def __post_init__(self) -> None:
        all_rates = (self.unknown_tokens, self.rows_cut, self.unknown_rows, self.abstained)
        rates = [rate for rate in all_rates if rate is not None]
        _check_shares([*self.labels.values()], together=False)
        _check_shares(rates, together=False)
        if self.rows < 1:
            raise ValueError(f"rows: expected at least 1, found {self.rows}")

    @classmethod
    def open(cls, path: Path, space: LabelSpace) -> "Reference":
        """Read one. Raises ArtifactError where it is missing, damaged, or of other labels than a bundle's `space`."""
        found = from_json(cls, read_json(path), path)
        if tuple(found.labels) != space.names:
            raise ArtifactError(
                "the reference is of other labels",
                where=path,
                found=", ".join(found.labels),
                expected=", ".join(space.names),
                do="export again",
            )
        return found

    def count(self, encoded: Encoded, source: NDArray[np.int64], scores: Scores, unknown_id: int | None) -> BinCounts:
        """N scored rows counted in this reference's bins.

        source: int64 [N], the text of `encoded` that each row is. unknown_id: of the tokenizer.
        """
        decided = scores.decisions
        given = decided[:, None] == np.arange(scores.probabilities.shape[1]) if decided.ndim == 1 else decided
        unknown = unknown_tokens(encoded, unknown_id)[source]
        return {
            "labels": np.asarray(given).sum(axis=0, dtype=np.int64).tolist(),
            "lengths": self.tokens.count(encoded.lengths[source]),
            "confidences": self.confidence.count(scores.probabilities.max(axis=1, initial=0)),
            "unknown words": [int((unknown > 0).sum())],
            "truncation": [int((encoded.cut[source] > 0).sum())],
            "abstaining": [int((~scores.answered).sum())],
        }

    def figures(
        self, counts: Mapping[str, Sequence[int]], space: LabelSpace, without: Collection[str] = ()
    ) -> dict[str, Figure]:
        """What is compared, by name. without: figures that would tell of how the rows were decided, not of the rows."""
        abstained = None if space.abstain is None else self.abstained
        rates = {"unknown words": self.unknown_rows, "truncation": self.rows_cut, "abstaining": abstained}
        names = {
            "unknown words": "rows with an unknown token",
            "truncation": "rows cut",
            "abstaining": "rows not answered",
        }
        found = {
            "labels": Figure(
                names=space.names,
                reference=tuple(self.labels.values()),
                counts=tuple(counts["labels"]),
                each=space.kind == "multi",
            ),
            "lengths": self.tokens.figure(counts["lengths"], "tokens"),
            "confidences": self.confidence.figure(counts["confidences"], "confidences"),
            **{
                name: Figure(names=(names[name],), reference=(rate,), counts=tuple(counts[name]), each=True)
                for name, rate in rates.items()
                if rate is not None
            },
        }
        return {name: figure for name, figure in found.items() if name not in without}


def unknown_tokens(encoded: Encoded, unknown_id: int | None) -> NDArray[np.int64]:
    """How many tokens of each row are unknown, int64 [N]."""
    if unknown_id is None:
        return np.zeros(len(encoded), dtype=np.int64)
    until = np.concatenate([[0], np.cumsum(encoded.ids == unknown_id)])
    return np.asarray(np.diff(until[encoded.offsets]), dtype=np.int64)


def _check_shares(shares: Sequence[float], *, together: bool = True) -> None:
    """Raise ValueError where they are no shares. together: whether they add up to 1."""
    if not all(0 <= share <= 1 for share in shares) or (together and abs(sum(shares) - 1) > 1e-6):
        raise ValueError(f"expected shares between 0 and 1, found {list(shares)[:5]}")
