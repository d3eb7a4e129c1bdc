"""Sets of rows that must stay together."""

from collections.abc import Hashable, Iterable

import numpy as np
from numpy.typing import NDArray


def units(
    rows: int, keys: Iterable[Iterable[Hashable | None]] = (), links: Iterable[tuple[int, int]] = ()
) -> NDArray[np.int64]:
    """Number the sets of rows that must stay together, [N]: rows share a unit where they share any key or are linked,
    also by way of other rows.

    `keys` holds one collection of N keys for each reason to stay together; None ties a row to no other.
    """
    parent = list(range(rows))

    def root(row: int) -> int:
        """The row that stands for all that are tied to this one."""
        while parent[row] != row:
            # Paths are halved as they are walked, so that a chain of a million rows stays quick.
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for column in keys:
        first: dict[Hashable, int] = {}
        for row, key in enumerate(column):
            if key is not None:
                parent[root(row)] = root(first.setdefault(key, row))
    for one, other in links:
        parent[root(one)] = root(other)
    return np.unique([root(row) for row in range(rows)], return_inverse=True)[1].astype(np.int64)


def first_times(times: NDArray[np.float64], unit: NDArray[np.int64]) -> NDArray[np.float64]:
    """The time of each unit, [U], from the times and the units of rows, [N].

    A text that comes again later belongs to the time when it was first seen, so that no later split holds what an
    earlier one knows.
    """
    first = np.full(int(unit.max(initial=-1)) + 1, np.inf)
    np.minimum.at(first, unit, times)
    return first
