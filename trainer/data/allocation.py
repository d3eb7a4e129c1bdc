"""Which rows go into which split: shares, label balance, and rows that must stay together."""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.contract.labels import LabelSpace
from trainer.data.rows import Row, labelled
from trainer.data.similar import clusters
from trainer.data.tied import units

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How rows are cut. shares: of each split but "train", in the order of time.

    taken: texts of evaluation files; rows equal to them stay in training, where the summary counts them.
    stratify: the labels whose shares are kept. similar: nearly equal texts stay together too.
    by_time: by `Row.time`, and then neither by labels nor by chance.
    """

    shares: dict[str, float]
    taken: set[tuple[str, str | None]]
    stratify: LabelSpace | None
    seed: int
    by_time: bool
    similar: bool


def cut(rows: list[Row], plan: Plan) -> dict[str, list[int]]:
    """Places in `rows` of each split that is cut, and of "train", which gets the rest; each in the order of `rows`.

    Exact repeats and rows of one group stay together.
    """
    free = [place for place, row in enumerate(rows) if row.key not in plan.taken]
    chosen_rows = [rows[place] for place in free]
    keys: list[list[Hashable]] = [[row.key for row in chosen_rows], [row.group for row in chosen_rows]]
    if plan.similar:
        keys.append([*clusters([row.whole for row in chosen_rows]).tolist()])
    unit = units(len(free), keys)
    shares = np.array([1 - sum(plan.shares.values()), *plan.shares.values()])
    if plan.by_time:
        chosen = _by_time(np.array([row.time for row in chosen_rows], dtype=np.float64), unit, shares)
    else:
        chosen = allocate(_counts(chosen_rows, unit, plan.stratify), shares, np.random.default_rng(plan.seed))
    of = dict(zip(free, chosen[unit].tolist(), strict=True))
    names = ["train", *plan.shares]
    return {
        name: [place for place in range(len(rows)) if of.get(place, 0) == number] for number, name in enumerate(names)
    }


def _by_time(times: NDArray[np.float64], unit: Ints, shares: NDArray[np.float64]) -> Ints:
    """The split of each unit, [U]: the oldest rows are the first split's, the newest the last one's.

    Rows of one moment stay together. A text that comes again later belongs to the time when it was first seen, so no
    later split holds what an earlier one knows.
    """
    first = np.full(int(unit.max(initial=-1)) + 1, np.inf)
    np.minimum.at(first, unit, times)
    _, moment, sizes = np.unique(first[unit], return_inverse=True, return_counts=True)
    before = (np.cumsum(sizes) - sizes) / max(1, len(times))
    of_moment = np.searchsorted(np.cumsum(shares[:-1]) - 1e-9, before, side="right")
    chosen = np.zeros(len(first), dtype=np.int64)
    chosen[unit] = of_moment[moment]
    return chosen


def _counts(rows: list[Row], unit: Ints, space: LabelSpace | None) -> NDArray[np.float64]:
    """[U, C + 1]: rows of each label in each unit, and its rows; [U, 1] without labels."""
    labels = np.zeros((len(rows), 0), dtype=np.bool_)
    if space is not None:
        ids = labelled(rows, space).labels
        labels = np.eye(len(space), dtype=np.bool_)[ids] if space.kind == "single" else ids.astype(np.bool_)
    counts = np.zeros((int(unit.max(initial=-1)) + 1, labels.shape[1] + 1))
    np.add.at(counts, unit, np.column_stack([labels, np.ones(len(rows), dtype=np.bool_)]).astype(np.float64))
    return counts


def allocate(counts: NDArray[np.floating], shares: Ints | NDArray[np.floating], generator: np.random.Generator) -> Ints:
    """The split of each unit, [U]: iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011).

    counts: [U, C + 1], how many rows of a unit have each label, and in the last column how many rows it has; without
    labels (C = 0) only the sizes are balanced. shares: [S], summing to 1.

    The rarest label is dealt out first, each unit to the split that lacks most of that label, ties to the one that
    lacks most rows, then at random. Large units come first, so that small ones can even out what they leave. For one
    label a row this is the usual stratified split. A label with too few rows for every split goes to the splits with
    the larger shares.
    """
    wanted = counts.sum(axis=0) * np.asarray(shares, dtype=np.float64)[:, None]
    chosen = np.full(len(counts), -1, dtype=np.int64)
    order = generator.permutation(len(counts))
    order = order[np.argsort(-counts[order, -1], kind="stable")]
    for label in _rarest_first(counts):
        for unit in order[(chosen[order] < 0) & (counts[order, label] > 0)]:
            split = _neediest(wanted, label, generator)
            chosen[unit] = split
            wanted[split] -= counts[unit]
    return chosen


def _rarest_first(counts: NDArray[np.floating]) -> list[int]:
    """Labels by their number of rows, then the sizes, which every unit has."""
    totals = counts[:, :-1].sum(axis=0)
    return [*np.argsort(totals, kind="stable").tolist(), counts.shape[1] - 1]


def _neediest(wanted: NDArray[np.floating], label: int, generator: np.random.Generator) -> int:
    best = np.flatnonzero(wanted[:, label] >= wanted[:, label].max() - 1e-9)
    if len(best) > 1:
        best = best[wanted[best, -1] >= wanted[best, -1].max() - 1e-9]
    return int(best[0] if len(best) == 1 else generator.choice(best))
