"""Rows on disk: written once as they are read, then mapped by every process of the machine.

FOLDER/  rows.arrow (what each row says, and its place)  SPLIT.rows.npy, .ids.npy, .keys.npy, .labels.npy,
SPLIT.groups.npy, .times.npy
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trainer.contract.labelled import LabelledRows
from trainer.contract.labels import LabelSpace
from trainer.data.columns import Columns, Ints
from trainer.data.rows import Row

STORE = "rows"
TABLE = "rows.arrow"
_BATCH = 8192
KINDS = ("rows", "ids", "keys", "labels", "groups", "times")
_FIELDS = ("text", "pair", "place")
# Before the names of columns that rows keep for `evaluate`.
_KEPT = "kept "


class TableWriter:
    """Writes rows to a file as they come, a batch at a time. pairs: whether rows have a second text; kept: the names of
    `Row.kept`.
    """

    def __init__(self, path: Path, *, pairs: bool, kept: tuple[str, ...] = ()) -> None:
        self._names = [name for name in _FIELDS if pairs or name != "pair"]
        self._all = [*self._names, *(_KEPT + name for name in kept)]
        # Bytes, not text: the name of a file need not be UTF-8.
        schema = pa.schema([(name, pa.large_binary()) for name in self._all])
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, schema)
        self._waiting: list[Row] = []

    def add(self, row: Row) -> None:
        """Append a row."""
        self._waiting.append(row)
        if len(self._waiting) == _BATCH:
            self._write()

    def close(self) -> None:
        """Write what is left."""
        self._write()
        self._writer.close()
        self._sink.close()

    def _write(self) -> None:
        columns = [[_bytes(getattr(row, name)) for row in self._waiting] for name in self._names]
        kept = range(len(self._all) - len(self._names))
        columns += [[_bytes(row.kept[place]) for row in self._waiting] for place in kept]
        self._writer.write_batch(
            pa.record_batch([pa.array(column, pa.large_binary()) for column in columns], names=self._all)
        )
        self._waiting = []


def _bytes(text: str | None) -> bytes:
    return (text or "").encode("utf-8", "surrogatepass")


class StoredTexts(Sequence[str]):
    """One column of the file at some rows, read when it is asked for."""

    def __init__(self, folder: Path, name: str, rows: Ints) -> None:
        self._path, self._name, self._rows = folder / TABLE, name, rows
        self._column: Any = None

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> "StoredTexts": ...
    def __getitem__(self, place: int | slice) -> "str | StoredTexts":
        if isinstance(place, slice):
            return StoredTexts(self._path.parent, self._name, self._rows[place])
        if self._column is None:
            self._column = pa.ipc.open_file(pa.memory_map(str(self._path))).read_all()[self._name]
        found: bytes = self._column[int(self._rows[place])].as_py()
        return found.decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        for (texts,) in batches(self._path.parent, self._rows, self._name):
            yield from texts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment] # A sequence that is equal to a list is no key.


def batches(folder: Path, rows: Ints, *names: str) -> Iterator[tuple[list[str], ...]]:
    """Columns of the file at rows in rising order, some thousands at a time: read, and not mapped, so that what was
    read is no longer in memory.
    """
    with pa.OSFile(str(folder / TABLE)) as source:
        file = pa.ipc.open_file(source)
        start = 0
        for number in range(file.num_record_batches):
            batch = file.get_batch(number)
            low, high = np.searchsorted(rows, [start, start + batch.num_rows]).tolist()
            if high > low:
                chosen = pa.array(rows[low:high] - start)
                yield tuple(
                    [text.decode("utf-8", "surrogatepass") for text in batch.column(name).take(chosen).to_pylist()]
                    for name in names
                )
            start += batch.num_rows


def fields(folder: Path) -> list[str]:
    """The names of what is stored of each row."""
    with pa.OSFile(str(folder / TABLE)) as source:
        return list(pa.ipc.open_file(source).schema.names)


def open_table(folder: Path, count: int) -> tuple[StoredTexts, StoredTexts | None]:
    """The texts of all `count` rows, and their pairs."""
    everything = np.arange(count)
    pairs = StoredTexts(folder, "pair", everything) if "pair" in fields(folder) else None
    return StoredTexts(folder, "text", everything), pairs


@dataclass(frozen=True, kw_only=True)
class StoredRows(LabelledRows):
    """A split's rows, mapped from the disk: pages that two processes read are in memory once."""

    folder: Path
    """Where the table lies."""
    positions: Ints
    """Places of the rows in the table, rising."""
    keys: NDArray[np.uint64]
    """`row_key` of each row."""
    groups: Ints
    """A number for the group of each row, by `split.group`; -1 for a row without one."""
    times: NDArray[np.float64]
    """What orders each row, by `split.time`; NaN for a row without it."""

    @classmethod
    def open(cls, folder: Path, name: str) -> "StoredRows":  # type: ignore[override] # Another file, another opener.
        """Open the rows of a split that `store_splits` wrote."""
        return cls._at(folder, *(_mapped(folder / f"{name}.{kind}.npy") for kind in KINDS))

    @classmethod
    def _at(cls, folder: Path, *arrays: NDArray[Any]) -> "StoredRows":
        positions, ids, keys, labels, groups, times = arrays
        texts = {name: StoredTexts(folder, name, positions) for name in fields(folder)}
        return cls(
            folder=folder,
            positions=positions,
            ids=ids,
            keys=keys,
            labels=labels,
            groups=groups,
            times=times,
            texts=texts["text"],
            pairs=texts.get("pair"),
            places=texts["place"],
            columns={name.removeprefix(_KEPT): each for name, each in texts.items() if name.startswith(_KEPT)},
        )

    def joined(self, other: "StoredRows") -> "StoredRows":
        """These rows and those of another split of the same folder."""
        order = np.argsort(np.concatenate([self.positions, other.positions]), kind="stable")
        both = zip(self._arrays, other._arrays, strict=True)
        return self._at(self.folder, *(np.concatenate(pair)[order] for pair in both))

    def take(self, rows: Ints) -> "StoredRows":
        """The rows at the given positions, which rise."""
        return self._at(self.folder, *(array[rows] for array in self._arrays))

    def store(self, folder: Path, name: str) -> None:
        """Write them as a split, beside a table like theirs."""
        _store(folder, name, self._arrays)

    @property
    def _arrays(self) -> tuple[NDArray[Any], ...]:
        """One a kind."""
        return self.positions, self.ids, self.keys, self.labels, self.groups, self.times


def store_splits(folder: Path, columns: Columns, places: dict[str, Ints], space: LabelSpace) -> None:
    """Write each split's rows, in rising order, beside the table."""
    for name, rows in places.items():
        labels = columns.label_ids(space, rows)
        arrays = (rows, columns.ids[rows], columns.keys[rows], labels, columns.groups[rows], columns.times[rows])
        _store(folder, name, arrays)


def _store(folder: Path, name: str, arrays: tuple[NDArray[Any], ...]) -> None:
    for kind, values in zip(KINDS, arrays, strict=True):
        path = folder / f"{name}.{kind}.npy"
        # The runs of a search share files under several names: what is written must be a new one.
        path.unlink(missing_ok=True)
        np.save(path, values)


def _mapped(path: Path) -> NDArray[Any]:
    # A plain array over the map: its own class would only slow indexing down. No map has no bytes.
    return np.asarray(np.load(path, mmap_mode="r")) if _rows_in(path) else np.load(path)


def _rows_in(path: Path) -> int:
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, _ = np.lib.format.read_array_header_1_0(file)
    return int(np.prod(shape))
