"""Rows that belong to saved splits, found again among the rows of the files, and proof that they are the same ones."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.contract.errors import InputError
from trainer.contract.figures.metrics import Labels
from trainer.contract.labels import LabelSpace
from trainer.contract.system.files import read_json
from trainer.data.columns import Columns, Ints
from trainer.data.gather import gather_rows
from trainer.data.rows import Row
from trainer.recipes.data_part import DataPart
from trainer.recipes.recipe import Recipe


class Keyed(NamedTuple):
    """What the rows of a split are told apart by, [N] each; see `StoredRows`."""

    ids: Ints
    keys: NDArray[np.uint64]
    labels: Labels


def fingerprint(splits: Mapping[str, Keyed], space: LabelSpace) -> str:
    """SHA-256 over the label names and every row's split, id, texts and labels; where the files lie does not matter."""
    digest = hashlib.sha256(json.dumps([space.kind, space.names], allow_nan=False).encode())
    for name, rows in splits.items():
        digest.update(f"{name} {len(rows.ids)}".encode())
        for array in rows:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def saved_places(folder: Path, summary: dict[str, Any], columns: Columns) -> dict[str, Ints]:
    """Places in `columns` of the rows that the saved splits name by id."""
    saved: dict[str, Ints] = {}
    for name in summary["splits"]:
        # A row that is gone is left out here, and the fingerprint tells.
        saved[name] = np.flatnonzero(np.isin(columns.ids, saved_ids(folder, name)))
    return saved


def saved_ids(folder: Path, name: str) -> Ints:
    """The ids of a saved split's rows."""
    with (folder / f"{name}.jsonl").open("rb") as file:
        return np.array([json.loads(line)["id"] for line in file], dtype=np.int64)


def check_fingerprint(summary: dict[str, Any], found: str, folder: Path) -> None:
    """Raise InputError where the rows are others than those that splits.json tells of."""
    if summary.get("fingerprint") != found:
        raise InputError(
            "the rows are not those that the saved splits were made of",
            where=folder,
            found=f"fingerprint {found[:16]}...",
            expected=f"fingerprint {str(summary.get('fingerprint'))[:16]}...",
            do="restore the data files and the recipe's data, input and labels, or train into another --out",
        )


@dataclass(frozen=True, kw_only=True)
class TrainedRows:
    """Some of the rows that a run was trained on, read from their files again."""

    texts: Sequence[str]
    """Each with its pair under it, where there is one."""
    labels: Labels
    of: int
    """How many training rows there are."""


def read_training_rows(
    recipe: Recipe, data: DataPart, folder: Path, space: LabelSpace, *, at_most: int, characters: int
) -> TrainedRows:
    """At most so many training rows of the splits saved in `folder`, with at most so many characters, drawn by the
    recipe's seed.

    Raises InputError where the files cannot be read, or hold other rows now.
    """
    ids = saved_ids(folder, "train")
    # The same ones at each `evaluate`, so that the baseline does not move between two of them.
    drawn = np.random.default_rng(recipe.seed).permutation(ids)[:at_most].tolist()
    wanted, found = set(drawn), dict[int, Row]()

    def taken(row: Row) -> None:
        """Keep a row that was drawn."""
        if row.id in wanted:
            found[row.id] = row

    gathered = gather_rows(recipe, data, space, take=taken)
    for part in gathered.given.values():
        part.refuse()
    _check_same(gathered.columns, folder, space)
    rows = _within([found[number] for number in drawn], characters)
    return TrainedRows(texts=[row.whole for row in rows], labels=space.ids(row.labels for row in rows), of=len(ids))


def _check_same(columns: Columns, folder: Path, space: LabelSpace) -> None:
    summary = read_json(folder / "splits.json")
    places = saved_places(folder, summary, columns)
    splits = {
        name: Keyed(ids=columns.ids[rows], keys=columns.keys[rows], labels=columns.label_ids(space, rows))
        for name, rows in places.items()
    }
    check_fingerprint(summary, fingerprint(splits, space), folder)


def _within(rows: Iterable[Row], characters: int) -> list[Row]:
    """The first rows that have at most so many characters together; one at least."""
    kept: list[Row] = []
    for row in rows:
        characters -= len(row.whole)
        if kept and characters < 0:
            break
        kept.append(row)
    return kept
