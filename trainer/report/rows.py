"""The rows of a split with what the model said of them: read once, one line at a time, and only the few kept that the
page shows.
"""

import heapq
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trainer.contract.errors import ArtifactError
from trainer.contract.figures.metrics import row_losses
from trainer.contract.labels import LabelSpace
from trainer.contract.system.files import sha256

# Wrong rows on the page, and rows of each of the worst confusions.
WORST, EACH = 200, 3
# Characters of a row that are kept: what the page shows of it, and some more to know that there are more.
_KEPT = 2_000
_GLANCE = 100
# A true label and a decided one; of several labels, one label and whether it was missed or given wrongly.
Pair = tuple[str, str]
MISSED, WRONGLY = "missed", "given wrongly"


@dataclass(frozen=True, kw_only=True)
class SeenRow:
    """A row of the split."""

    id: int
    """Its place among all rows of the recipe."""
    place: str
    """file:line."""
    text: str
    """Its beginning."""
    characters: int
    """Of the whole text."""
    labels: tuple[str, ...]
    """Which it has."""
    predicted: tuple[str, ...]
    """Which it is given."""
    loss: float
    """As in the metric, of this row by itself."""
    margin: float
    """How far it is from another decision, in probability."""
    probability: float
    """Of the decided label; of several labels, of the likeliest."""

    @property
    def right(self) -> bool:
        """Whether the whole decision is right."""
        return self.labels == self.predicted


@dataclass(frozen=True, kw_only=True)
class SeenRows:
    """What was kept of a split."""

    wrong: int = 0
    """Rows that are decided wrongly."""
    worst: list[SeenRow] = field(default_factory=list)
    """Of those at most WORST, by falling loss."""
    of_pair: dict[Pair, list[SeenRow]] = field(default_factory=dict)
    """At most EACH for each pair that was asked for, by falling loss."""
    examples: list[SeenRow] = field(default_factory=list)
    """Rows worth explaining: surely wrong ones, the nearest to a decision, a surely right one of each label."""


class _Top:
    """The rows with the largest keys."""

    def __init__(self, most: int) -> None:
        self._most, self._heap = most, list[tuple[float, int, SeenRow]]()

    def add(self, key: float, row: SeenRow) -> None:
        """Keep a row while it is among them; of equal keys the earlier row."""
        entry = (key, -row.id, row)
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def rows(self) -> list[SeenRow]:
        """By falling key."""
        return [row for _, _, row in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]


def see(run: Path, figures: dict[str, Any], space: LabelSpace, pairs: list[Pair], examples: int) -> SeenRows:
    """Read the predictions that the figures are of. pairs: the confusions to find rows of. examples: how many rows.

    Raises ArtifactError where the file was changed since, or cannot be read.
    """
    path = run / str(figures["predictions"]["file"])
    if not path.is_file() or sha256(path) != figures["predictions"]["sha256"]:
        raise ArtifactError(
            "the predictions are missing, or were changed since they were measured",
            where=path,
            do=f"measure again: classifact evaluate {run} --split {figures['split']}",
        )
    worst, near = _Top(WORST), _Top(2)
    of_pair, sure = {pair: _Top(EACH) for pair in pairs}, {name: _Top(1) for name in space.names[:examples]}
    wrong = 0
    for row in _rows(path, space):
        near.add(-row.margin, row)
        if row.right:
            for name in row.labels[:1]:
                if name in sure:
                    # Of many sure rows one that can be read at a glance, and has words to weigh.
                    sure[name].add(row.probability - abs(row.characters - _GLANCE) / 10_000, row)
            continue
        wrong += 1
        worst.add(row.loss, row)
        for pair in of_pair.keys() & set(confusions_of(row, space)):
            of_pair[pair].add(row.loss, row)
    seen = worst.rows()
    return SeenRows(
        wrong=wrong,
        worst=seen,
        of_pair={pair: top.rows() for pair, top in of_pair.items()},
        examples=_chosen([seen[:2], near.rows()[:1], *(top.rows() for top in sure.values())], examples),
    )


def confusions_of(row: SeenRow, space: LabelSpace) -> list[Pair]:
    """Which confusions a wrong row is of."""
    if space.kind == "single":
        return [(row.labels[0], row.predicted[0])] if row.predicted else []
    missed = [(name, MISSED) for name in row.labels if name not in row.predicted]
    return missed + [(name, WRONGLY) for name in row.predicted if name not in row.labels]


def _chosen(groups: list[list[SeenRow]], most: int) -> list[SeenRow]:
    rows = {row.id: row for group in groups for row in group}
    return list(rows.values())[:most]


def _rows(path: Path, space: LabelSpace) -> Iterator[SeenRow]:
    limits = np.array(space.thresholds or (0.5,) * len(space))
    try:
        with path.open("rb") as file:
            for line in file:
                yield _row(json.loads(line), space, limits)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(
            "the predictions cannot be read", where=path, found=repr(error), do="measure again"
        ) from None


def _row(line: dict[str, Any], space: LabelSpace, limits: Any) -> SeenRow:
    probabilities = np.array([[line["probabilities"][name] for name in space.names]], dtype=np.float32)
    labels = space.ids([line["labels"]])
    if space.kind == "multi":
        margin = np.abs(probabilities[0] - limits).min()
    else:
        ordered = np.sort(probabilities[0] / limits)
        margin = ordered[-1] - ordered[-2]
    given = [line["probabilities"][name] for name in line["predicted"]] if space.kind == "single" else []
    text = str(line["text"])
    return SeenRow(
        id=int(line["id"]),
        place=str(line["place"]),
        text=text[:_KEPT],
        characters=len(text),
        labels=tuple(line["labels"]),
        predicted=tuple(line["predicted"]),
        loss=float(row_losses(probabilities, labels, space)[0]),
        margin=float(margin),
        probability=float(given[0]) if given else float(probabilities.max()),
    )
