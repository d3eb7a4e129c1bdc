"""Labelled rows as arrays, and the file a split is kept in, so that export can measure on the very rows training
measured on.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.contract.errors import ArtifactError
from trainer.contract.labels import LabelSpace
from trainer.contract.system.files import atomic_file, json_bytes


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """N rows after `InputSpec.read` and `LabelSpace.ids`."""

    ids: NDArray[np.int64]
    """int64 [N], the row's place among all rows the recipe read."""
    texts: Sequence[str]
    """N texts."""
    pairs: Sequence[str] | None
    """N second texts; None if the recipe has none."""
    labels: NDArray[np.int64] | NDArray[np.bool_]
    """int64 [N] or bool [N, C]."""
    places: Sequence[str]
    """Where each row stands, as "file:line"."""
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Other cells of the rows, as text: columns that figures are split by. Only splits of a run have them."""

    def __post_init__(self) -> None:
        if self.pairs is not None and len(self.pairs) != len(self.texts):
            raise ValueError(f"{len(self.texts)} texts have {len(self.pairs)} pairs")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.int64]) -> "LabelledRows":
        """The rows at the given positions, in that order."""
        chosen = rows.tolist()
        return LabelledRows(
            ids=self.ids[rows],
            texts=[self.texts[row] for row in chosen],
            pairs=None if self.pairs is None else [self.pairs[row] for row in chosen],
            labels=self.labels[rows],
            places=[self.places[row] for row in chosen],
            columns={name: [cells[row] for row in chosen] for name, cells in self.columns.items()},
        )

    def label_names(self, space: LabelSpace) -> Iterator[list[str]]:
        """The names of each row's labels."""
        for row in self.labels.tolist():
            yield (
                [space.names[row]]
                if space.kind == "single"
                else [name for name, given in zip(space.names, row, strict=True) if given]
            )

    def save(self, path: Path, space: LabelSpace) -> None:
        """Write one JSON object a line: id, place, text, pair and columns (where there are any) and label names."""
        pairs: Sequence[str | None] = self.pairs if self.pairs is not None else [None] * len(self)
        with atomic_file(path) as file:
            for number, place, text, pair, names, cells in zip(
                self.ids.tolist(), self.places, self.texts, pairs, self.label_names(space), self._cells(), strict=True
            ):
                row = {
                    "id": number,
                    "place": place,
                    "text": text,
                    **({} if pair is None else {"pair": pair}),
                    "labels": names,
                    **({"columns": cells} if cells else {}),
                }
                file.write(json_bytes(row) + b"\n")

    def _cells(self) -> Iterator[dict[str, str]]:
        """Each row's own columns by name."""
        if not self.columns:
            yield from ({} for _ in range(len(self)))
        for cells in zip(*self.columns.values(), strict=True):
            yield dict(zip(self.columns, cells, strict=True))

    @classmethod
    def open(cls, path: Path, space: LabelSpace) -> "LabelledRows":
        """Read what `save` wrote. Raises ArtifactError where the file is missing or damaged."""
        try:
            # By bytes: str.splitlines would also cut at separators that a text may hold, such as U+2028.
            rows = [json.loads(line) for line in path.read_bytes().splitlines()]
            texts, pairs = [row["text"] for row in rows], [row["pair"] for row in rows if "pair" in row]
            columns = (
                {name: [row["columns"][name] for row in rows] for name in rows[0].get("columns", {})} if rows else {}
            )
            # Raises TypeError for a text that is none.
            "".join([*texts, *pairs, *(cell for cells in columns.values() for cell in cells)])
            return cls(
                ids=np.array([row["id"] for row in rows], dtype=np.int64),
                texts=texts,
                pairs=pairs or None,
                labels=space.ids(row["labels"] for row in rows),
                places=[row["place"] for row in rows],
                columns=columns,
            )
        except FileNotFoundError:
            raise ArtifactError(
                "the rows of a split are missing", where=path, do="train again, or restore the run's splits folder"
            ) from None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ArtifactError(
                "the rows of a split cannot be read",
                where=path,
                found=repr(error),
                do="restore the file, or train again",
            ) from None
