"""The splits of a run: read or cut once, saved in the run, and the same rows ever after.

splits/  splits.json (the summary)  train.jsonl (ids and places)  validation.jsonl  test.jsonl (whole rows)
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.contract.errors import InputError
from trainer.contract.files import atomic_file, read_json, write_json
from trainer.contract.labelled import LabelledRows
from trainer.contract.labels import LabelSpace
from trainer.data.gather import Gathered, divide, gather, shares
from trainer.data.rows import Row, labelled
from trainer.data.tied import units
from trainer.recipes.data_part import DataPart
from trainer.recipes.recipe import Recipe

SUMMARY = "splits.json"
KNOWN = "also_in_train.json"
SHOWN = 5
# The least that an export is proved with.
HELD = 32


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The rows of a run. test is None where the recipe has none; nothing but `evaluate` may look at it.

    summary: what splits.json holds: the fingerprint, rows and labels of each split, nulls dropped, exact repeats,
        overlaps between given files, how the splits were made.
    """

    space: LabelSpace
    train: LabelledRows
    validation: LabelledRows
    test: LabelledRows | None
    summary: dict[str, Any]


def prepare(recipe: Recipe, data: DataPart, folder: Path, space: LabelSpace | None = None) -> Splits:
    """Read the rows that `data` names, and make the splits or take those saved in `folder`; save them there.

    space: the labels of an earlier stage, which these rows must fit.

    Raises InputError: see `RowReader.read`; one class only; a split without rows; validation rows equal to test rows;
    rows that are not those that the saved splits were made of.
    """
    gathered = gather(recipe, data, space)
    for part in gathered.given.values():
        part.refuse()
    space = space or gathered.space(recipe.labels)
    rows = gathered.rows
    summary = read_json(folder / SUMMARY) if (folder / SUMMARY).exists() else None
    places = divide(gathered, space, recipe.seed) if summary is None else _saved_places(folder, summary, rows)
    splits = {name: labelled([rows[place] for place in places[name]], space) for name in places}
    if summary is not None:
        _check_fingerprint(summary, _fingerprint(splits, space), folder)
    else:
        refuse_unlearnable(splits, space, gathered.where)
        if "test" in splits:
            refuse_known(splits["validation"], splits["test"], "validation rows", "test rows")
        summary = _summary(splits, gathered, space, recipe.seed)
        _save(folder, splits, summary, space)
    return Splits(
        space=space,
        train=splits["train"],
        validation=splits["validation"],
        test=splits.get("test"),
        summary=summary,
    )


def join_validation(splits: Splits, folder: Path, seed: int) -> None:
    """Save in `folder` the same rows with most of validation among those to train on.

    What is held back (a fifth, at least HELD rows, at most half) is the new validation split: figures and the gates of
    an export need rows that were not learnt. Rows of one text stay together.
    """
    train, validation = splits.train, splits.validation
    held = min(len(validation) // 2, max(HELD, len(validation) // 5))
    unit = units(len(validation), [_keys(validation)])
    order = np.random.default_rng(seed).permutation(int(unit.max()) + 1)
    # Whole sets of equal rows, in random order, until there are enough.
    chosen = np.argsort(order[unit], kind="stable")
    last = max(1, held)
    while last < len(chosen) and unit[chosen[last]] == unit[chosen[last - 1]]:
        last += 1
    kept, moved = validation.take(np.sort(chosen[:last])), validation.take(np.sort(chosen[last:]))
    joined = LabelledRows(
        ids=np.concatenate([train.ids, moved.ids]),
        texts=train.texts + moved.texts,
        pairs=None if train.pairs is None or moved.pairs is None else train.pairs + moved.pairs,
        labels=np.concatenate([train.labels, moved.labels]),
        places=train.places + moved.places,
    )
    found = {"train": joined, "validation": kept} | ({} if splits.test is None else {"test": splits.test})
    summary = splits.summary | {
        "fingerprint": _fingerprint(found, splits.space),
        "splits": _sizes(found, splits.space),
        "train_rows_in": {name: len(known) for name, known in _known(found).items()},
        "refit": {"joined": len(moved), "held": len(kept)},
    }
    _save(folder, found, summary, splits.space)


def open_split(folder: Path, name: str, space: LabelSpace) -> LabelledRows:
    """Read a saved split, validation or test. Raises InputError where the run has no such split."""
    saved = [other for other in read_json(folder / SUMMARY)["splits"] if other != "train"]
    if name not in saved:
        raise InputError(
            f"the run has no rows of a split {name!r}",
            where=folder,
            found=", ".join(saved),
            do="name another split, or train with `split.test` or test files",
        )
    return LabelledRows.open(folder / f"{name}.jsonl", space)


def also_in_train(folder: Path, name: str) -> NDArray[np.int64]:
    """Ids of a saved split's rows that stand word by word among the training rows; none where nothing was noted."""
    noted = read_json(folder / KNOWN) if (folder / KNOWN).exists() else {}
    return np.array(noted.get(name, []), dtype=np.int64)


def refuse_unlearnable(splits: dict[str, LabelledRows], space: LabelSpace, where: str) -> None:
    """Raise InputError where splits cannot be learnt from or measured on: one class only, no rows, a label that no
    training row has.
    """
    totals = {name: _label_counts(rows, space) for name, rows in splits.items()}
    present = [name for name, count in totals["train"].items() if count]
    if space.kind == "single" and len(present) == 1:
        raise InputError(
            "the training rows have one class only",
            where=where,
            found=f"only {present[0]!r}",
            expected="two labels or more",
            do="check labels.column and the files",
        )
    for name, rows in splits.items():
        if not len(rows):
            raise InputError(
                f"the {name} split has no rows",
                where=where,
                found=", ".join(f"{other} {len(part)}" for other, part in splits.items()),
                do="give more rows or groups, a larger share, or files of its own for the split",
            )
    unlearnt = [
        name for name in space.names if not totals["train"][name] and any(total[name] for total in totals.values())
    ]
    if unlearnt:
        raise InputError(
            "labels stand in no training row",
            where=where,
            found=", ".join(map(repr, unlearnt)),
            do="give more rows of them, or split otherwise (another seed, no group)",
        )


def refuse_known(known: LabelledRows, held: LabelledRows, of_known: str, of_held: str) -> None:
    """Raise InputError where held-out rows stand word by word among rows that chose or trained the model: their figures
    would be of memory. of_known, of_held: what the rows are, in words.
    """
    places = dict(zip(_keys(known), known.places, strict=True))
    both = [f"{places[key]} = {place}" for key, place in zip(_keys(held), held.places, strict=True) if key in places]
    if both:
        raise InputError(
            f"{len(both)} of the {of_held} stand among the {of_known}",
            where=both[0].rpartition(" = ")[2],
            found="; ".join(both[:SHOWN]) + (f"; and {len(both) - SHOWN} more" if len(both) > SHOWN else ""),
            do="take them out of one of the files",
        )


def _keys(rows: LabelledRows) -> list[tuple[str, str | None]]:
    pairs: list[str | None] = [*rows.pairs] if rows.pairs is not None else [None] * len(rows)
    return list(zip(rows.texts, pairs, strict=True))


def _known(splits: dict[str, LabelledRows]) -> dict[str, list[int]]:
    """Ids of each held-out split's rows that stand in train: what a figure of them says of memory."""
    learnt = set(_keys(splits["train"]))
    return {
        name: [number for number, key in zip(rows.ids.tolist(), _keys(rows), strict=True) if key in learnt]
        for name, rows in splits.items()
        if name != "train"
    }


def _label_counts(rows: LabelledRows, space: LabelSpace) -> dict[str, int]:
    counts = Counter(name for names in rows.label_names(space) for name in names)
    return {name: counts[name] for name in space.names}


def _sizes(splits: dict[str, LabelledRows], space: LabelSpace) -> dict[str, Any]:
    return {name: {"rows": len(part), "labels": _label_counts(part, space)} for name, part in splits.items()}


def _fingerprint(splits: dict[str, LabelledRows], space: LabelSpace) -> str:
    """SHA-256 over the label names and every row's split, id, texts and labels; where the files lie does not matter."""
    digest = hashlib.sha256(json.dumps([space.kind, space.names]).encode())
    for name, rows in splits.items():
        for row in zip([name] * len(rows), rows.ids.tolist(), _keys(rows), rows.label_names(space), strict=True):
            digest.update(json.dumps(row).encode())
    return digest.hexdigest()


def _summary(splits: dict[str, LabelledRows], gathered: Gathered, space: LabelSpace, seed: int) -> dict[str, Any]:
    keys = {name: _keys(rows) for name, rows in splits.items()}
    cut, split = shares(gathered.data), gathered.data.split
    files = {file: count for part in gathered.given.values() for file, count in part.read.items()}
    dropped = {file: count for part in gathered.given.values() for file, count in part.dropped.items()}
    rows = [key for name in keys for key in keys[name]]
    return {
        "fingerprint": _fingerprint(splits, space),
        "labels": list(space.names),
        "kind": space.kind,
        "rows_read": sum(files.values()),
        "nulls_dropped": sum(dropped.values()),
        "exact_repeats": len(rows) - len(set(rows)),
        "splits": _sizes(splits, space),
        "train_rows_in": {name: len(known) for name, known in _known(splits).items()},
        "made": {
            **{name: cut.get(name, "files") for name in splits if name != "train"},
            "stratify": split.stratify,
            "group": split.group,
            "time": split.time,
            "similar": split.similar,
            "limit": gathered.data.limit,
            "seed": split.seed if split.seed is not None else seed,
        },
        "files": [
            {"file": file, "rows": count, "nulls_dropped": dropped.get(file, 0)} for file, count in files.items()
        ],
    }


def _save(folder: Path, splits: dict[str, LabelledRows], summary: dict[str, Any], space: LabelSpace) -> None:
    """Write all files, the summary last: where it stands, the others are whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in splits.items():
        if name != "train":
            rows.save(folder / f"{name}.jsonl", space)
    with atomic_file(folder / "train.jsonl") as file:
        for number, place in zip(splits["train"].ids.tolist(), splits["train"].places, strict=True):
            file.write(json.dumps({"id": number, "place": place}, ensure_ascii=False).encode() + b"\n")
    write_json(folder / KNOWN, _known(splits))
    write_json(folder / SUMMARY, summary)


def _saved_places(folder: Path, summary: dict[str, Any], rows: list[Row]) -> dict[str, list[int]]:
    """Places in `rows` of those that the saved splits name by id."""
    place = {row.id: number for number, row in enumerate(rows)}
    saved: dict[str, list[int]] = {}
    for name in summary["splits"]:
        ids = [json.loads(line)["id"] for line in (folder / f"{name}.jsonl").read_bytes().splitlines()]
        # A row that is gone is left out here, and the fingerprint tells.
        saved[name] = [place[number] for number in ids if number in place]
    return saved


def _check_fingerprint(summary: dict[str, Any], found: str, folder: Path) -> None:
    if summary.get("fingerprint") != found:
        raise InputError(
            "the rows are not those that the saved splits were made of",
            where=folder,
            found=f"fingerprint {found[:16]}...",
            expected=f"fingerprint {str(summary.get('fingerprint'))[:16]}...",
            do="restore the data files and the recipe's data, input and labels, or train into another --out",
        )
