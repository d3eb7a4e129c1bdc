"""Which rows go into which split: shares, label balance, and rows that must stay together."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.contract.labels import LabelSpace
from trainer.data.columns import Columns, Ints
from trainer.data.splitting.similar import clusters
from trainer.data.splitting.tied import first_times, units


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """How rows are cut."""

    shares: dict[str, float]
    """The share of each split but "train", in the order of time."""
    taken: NDArray[np.uint64]
    """Keys of the rows of evaluation files; rows equal to them stay in training, where the summary counts them."""
    stratify: LabelSpace | None
    """The labels whose shares are kept."""
    seed: int
    by_time: bool
    """Whether to cut by `Row.time`, and then neither by labels nor by chance."""
    wholes: Sequence[str] | None = None
    """Each row's texts, to keep nearly equal ones together too."""


def cut_splits(columns: Columns, stop: int, plan: SplitPlan) -> dict[str, Ints]:
    """Places of the first `stop` rows in each split that is cut, and in "train", which gets the rest; in order.

    Exact repeats and rows of one group stay together.
    """
    of = np.zeros(stop, dtype=np.int64)
    # The others are training rows whatever chance says: they stand in a file for evaluation.
    free = np.flatnonzero(~np.isin(columns.keys[:stop], plan.taken))
    groups = columns.groups[free]
    keys: list[list[Hashable]] = [[*np.unique(columns.keys[free], return_inverse=True)[1].tolist()]]
    if (groups >= 0).any():
        keys.append([None if group < 0 else group for group in groups.tolist()])
    if plan.wholes is not None:
        keys.append([*clusters([plan.wholes[place] for place in free.tolist()]).tolist()])
    # Rows that share any key are one unit, and so are those that a chain of such rows joins.
    unit = units(len(free), keys)
    shares = np.array([1 - sum(plan.shares.values()), *plan.shares.values()])
    if plan.by_time:
        chosen = _by_time(columns.times[free], unit, shares)
    else:
        chosen = allocate(*_kinds(columns, free, unit, plan.stratify), shares, np.random.default_rng(plan.seed))
    of[free] = chosen[unit]
    return {name: np.flatnonzero(of == number) for number, name in enumerate(["train", *plan.shares])}


def _by_time(times: NDArray[np.float64], unit: Ints, shares: NDArray[np.float64]) -> Ints:
    """The split of each unit, [U]: the oldest rows are the first split's, the newest the last one's.

    Rows of one moment stay together.
    """
    first = first_times(times, unit)
    _, moment, sizes = np.unique(first[unit], return_inverse=True, return_counts=True)
    before = (np.cumsum(sizes) - sizes) / max(1, len(times))
    # A moment goes where its first row falls; the small number spares rounding at a share's edge.
    of_moment = np.searchsorted(np.cumsum(shares[:-1]) - 1e-9, before, side="right")
    chosen = np.zeros(len(first), dtype=np.int64)
    chosen[unit] = of_moment[moment]
    return chosen


def _kinds(columns: Columns, rows: Ints, unit: Ints, space: LabelSpace | None) -> tuple[NDArray[np.float64], Ints]:
    """The counts of `allocate`, one line for all units that are alike, [K, C + 1], and the line of each unit, [U].

    Most units are one row, so there are about as many lines as combinations of labels, however many rows there are.
    """
    labels = columns.labels[rows] if space is not None else np.zeros(len(rows), dtype=np.int64)
    one = np.zeros((len(columns.combinations), 0), dtype=np.bool_)
    if space is not None:
        ids = space.ids(columns.combinations)
        one = np.eye(len(space), dtype=np.bool_)[ids] if space.kind == "single" else ids.astype(np.bool_)
    order = np.argsort(unit, kind="stable")
    starts = np.flatnonzero(np.diff(unit[order], prepend=-1))
    kind = labels[order][starts]
    known: dict[tuple[int, ...], int] = {}
    sizes = np.diff(starts, append=len(order))
    for place in np.flatnonzero(sizes > 1).tolist():
        members = labels[order[starts[place] : starts[place] + sizes[place]]]
        kind[place] = len(one) + known.setdefault(tuple(np.sort(members).tolist()), len(known))
    counts = np.concatenate([one.astype(np.float64), *([one[list(key)].sum(axis=0)] for key in known)])
    return np.column_stack([counts, [1.0] * len(one) + [float(len(key)) for key in known]]), kind


def allocate(
    counts: NDArray[np.floating], kind: Ints, shares: NDArray[np.floating], generator: np.random.Generator
) -> Ints:
    """The split of each unit, [U]: iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011).

    counts: [K, C + 1], how many rows of a kind of unit have each label, and in the last column how many rows it has;
    without labels (C = 0) only the sizes are balanced. kind: of each unit, [U]. shares: [S], summing to 1.

    The rarest label is dealt out first, each unit to the split that lacks most of that label, ties to the one that
    lacks most rows, then at random. Large units come first, so that small ones can even out what they leave. For one
    label a row this is the usual stratified split. A label with too few rows for every split goes to the splits with
    the larger shares.
    """
    totals = np.bincount(kind, minlength=len(counts)) @ counts
    # Plain lists: a million units are dealt out one by one, and each is a few numbers.
    wanted = [(totals * share).tolist() for share in np.asarray(shares, dtype=np.float64)]
    spent = [[(label, float(line[label])) for label in np.flatnonzero(line)] for line in counts]
    chosen = np.full(len(kind), -1, dtype=np.int64)
    order = generator.permutation(len(kind))
    order = order[np.argsort(-counts[kind[order], -1], kind="stable")]
    for label in [*np.argsort(totals[:-1], kind="stable").tolist(), len(totals) - 1]:
        open_units = order[(chosen[order] < 0) & (counts[kind[order], label] > 0)]
        for unit, own in zip(open_units.tolist(), kind[open_units].tolist(), strict=True):
            split = _neediest(wanted, label, generator)
            chosen[unit] = split
            for other, count in spent[own]:
                wanted[split][other] -= count
    return chosen


def _neediest(wanted: list[list[float]], label: int, generator: np.random.Generator) -> int:
    best = list(range(len(wanted)))
    for column in (label, -1):
        most = max(wanted[split][column] for split in best) - 1e-9
        best = [split for split in best if wanted[split][column] >= most]
        if len(best) == 1:
            return best[0]
    return int(generator.choice(best))
