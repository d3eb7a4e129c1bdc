"""What splits are cut by, a few numbers a row: texts stay where they are."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainer.contract.inputs import row_key
from trainer.contract.labels import LabelSpace

if TYPE_CHECKING:
    from trainer.data.rows import Row

Ints = NDArray[np.int64]


@dataclass
class Columns:
    """Rows without their texts, in the order of their ids. Lists grow with `add`; the properties are arrays [N]."""

    # Flat arrays: eight bytes a value, where lists of Python's own numbers would take four times as much.
    _ids: "array[int]" = field(default_factory=lambda: array("q"))
    _keys: "array[int]" = field(default_factory=lambda: array("Q"))
    _labels: "array[int]" = field(default_factory=lambda: array("l"))
    _groups: "array[int]" = field(default_factory=lambda: array("q"))
    _times: "array[float]" = field(default_factory=lambda: array("d"))
    _known_labels: dict[tuple[str, ...], int] = field(default_factory=dict)
    _known_groups: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: "Iterable[Row]") -> "Columns":
        """The columns of some rows."""
        columns = cls()
        for row in rows:
            columns.add(row)
        return columns

    def add(self, row: "Row") -> None:
        """Append a row."""
        self._ids.append(row.id)
        self._keys.append(row_key(row.text, row.pair))
        self._labels.append(self._known_labels.setdefault(row.labels, len(self._known_labels)))
        self._groups.append(
            -1 if row.group is None else self._known_groups.setdefault(row.group, len(self._known_groups))
        )
        self._times.append(np.nan if row.time is None else row.time)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def ids(self) -> Ints:
        """The rows' own numbers."""
        return np.array(self._ids, dtype=np.int64)

    @property
    def keys(self) -> NDArray[np.uint64]:
        """`row_key` of each row: equal where rows repeat each other exactly."""
        return np.array(self._keys, dtype=np.uint64)

    @property
    def groups(self) -> Ints:
        """A number for each group; -1 for a row without one."""
        return np.array(self._groups, dtype=np.int64)

    @property
    def times(self) -> NDArray[np.float64]:
        """Row.time; NaN for a row without one."""
        return np.array(self._times, dtype=np.float64)

    @property
    def labels(self) -> Ints:
        """Places in `combinations`."""
        return np.array(self._labels, dtype=np.int64)

    @property
    def combinations(self) -> list[tuple[str, ...]]:
        """Every set of labels that a row has."""
        return list(self._known_labels)

    def names(self, stop: int | None = None) -> set[str]:
        """The labels of all rows, or of those before `stop`."""
        combinations = self.combinations
        return {name for number in set(self._labels[:stop]) for name in combinations[number]}

    def label_ids(self, space: LabelSpace, rows: Ints) -> NDArray[np.int64] | NDArray[np.bool_]:
        """Labels of some rows as `LabelSpace.ids` gives them. Raises InputError where a label is not of the space."""
        chosen, of = np.unique(self.labels[rows], return_inverse=True)
        combinations = self.combinations
        ids = space.ids(combinations[number] for number in chosen.tolist())
        return ids[of]


def wholes(texts: Sequence[str], pairs: Sequence[str] | None) -> Iterable[str]:
    """Each text with its pair under it, where there is one."""
    return texts if pairs is None else (f"{text}\n{pair}" for text, pair in zip(texts, pairs, strict=True))
