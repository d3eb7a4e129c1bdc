"""The splits of a run: read or cut once, saved in the run, and the same rows ever after.

splits/  splits.json (the summary)  train.jsonl (ids, places, some texts)  validation.jsonl  test.jsonl (whole rows)
splits/rows/  the rows as this run's processes read them, until the run is finished (see `stored.py`)
"""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.contract.errors import InputError
from trainer.contract.figures.metrics import ONE_LABEL
from trainer.contract.labelled import LabelledRows
from trainer.contract.labels import LabelSpace
from trainer.contract.system.files import atomic_folder, json_line, read_json, write_json
from trainer.contract.system.progress import QUIET, Progress
from trainer.contract.train_rows import TRAIN_ROWS_FILE as TRAIN_ROWS
from trainer.contract.train_rows import save_train_rows
from trainer.data.columns import wholes
from trainer.data.files.label_cells import separator_hint
from trainer.data.files.readers import seen
from trainer.data.gather import Gathered, divide, gather_rows, kept_columns, shares
from trainer.data.saved import Keyed, check_fingerprint, fingerprint, saved_places
from trainer.data.splitting.refusals import HELD, label_counts, refuse_known, refuse_unlearnable, refuse_unmeasurable
from trainer.data.stored import KINDS, STORE, TABLE, StoredRows, TableWriter, open_table, store_splits
from trainer.recipes.data_part import DataPart
from trainer.recipes.recipe import LabelsPart, Recipe

SUMMARY = "splits.json"
KNOWN = "also_in_train.json"
_SOURCE = "source.json"


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The rows of a run."""

    space: LabelSpace
    train: StoredRows
    validation: StoredRows
    """The rows that choose the checkpoint."""
    test: StoredRows | None
    """None if the recipe has none; nothing but `evaluate` may look at it."""
    summary: dict[str, Any]
    """What splits.json holds: the fingerprint, rows and labels of each split, nulls dropped, exact repeats, overlaps
    between given files, how the splits were made.
    """


def prepare(
    recipe: Recipe, data: DataPart, folder: Path, space: LabelSpace | None = None, progress: Progress = QUIET
) -> Splits:
    """Read the rows that `data` names, and make the splits or take those saved in `folder`; save them there.

    Rows that an earlier call has stored are not read again where their files have not changed, so of several processes
    only the first one reads. space: the labels of an earlier stage, which these rows must fit.

    Raises InputError: see `RowReader.read`; one class only; a split without rows; validation rows equal to test rows;
    rows that are not those that the saved splits were made of.
    """
    store, source = folder / STORE, _source(recipe, data, space)
    if not (_is_stored(store, source) and (folder / SUMMARY).exists()):
        shutil.rmtree(store, ignore_errors=True)
        # Under another name until it is whole: a kill while reading leaves no half of a table to be mapped.
        with atomic_folder(store) as partial:
            _read(recipe, data, folder, partial, space, progress)
            write_json(partial / _SOURCE, source)
    summary = read_json(folder / SUMMARY)
    # From the files, also where this process wrote them: all processes map the same ones.
    rows = {name: StoredRows.open(store, name) for name in summary["splits"]}
    return Splits(
        space=space or _space(summary, recipe),
        train=rows["train"],
        validation=rows["validation"],
        test=rows.get("test"),
        summary=summary,
    )


def _source(recipe: Recipe, data: DataPart, space: LabelSpace | None) -> dict[str, Any]:
    """What stored rows depend on, as JSON gives it back: the recipe's word, and each file's size and time."""
    parts = {
        "data": dataclasses.asdict(data),
        "input": dataclasses.asdict(recipe.input.spec()),
        "labels": dataclasses.asdict(recipe.labels),
        "kept": kept_columns(recipe, data),
        "space": None if space is None else space.names,
        # What the stored files look like: a resume by another version reads the rows anew.
        "stored": KINDS,
        "files": [seen(one) for part in (data.train, data.validation, data.test) if part is not None for one in part],
    }
    return dict(json.loads(json_line(parts)))


def _is_stored(store: Path, source: dict[str, Any]) -> bool:
    return (store / _SOURCE).exists() and read_json(store / _SOURCE) == source


def _space(summary: dict[str, Any], recipe: Recipe) -> LabelSpace:
    return LabelSpace(names=tuple(summary["labels"]), kind=summary["kind"], positive=recipe.labels.positive)


def _read(
    recipe: Recipe, data: DataPart, folder: Path, store: Path, space: LabelSpace | None, progress: Progress
) -> None:
    """Read all rows into `store`, and make the splits in `folder` or find the rows of those that are there."""
    writer = TableWriter(store / TABLE, pairs=recipe.input.pair is not None, kept=kept_columns(recipe, data))
    try:
        gathered = gather_rows(recipe, data, space, take=writer.add, progress=progress)
    finally:
        writer.close()
    for part in gathered.given.values():
        part.refuse()
    space = space or gathered.space(recipe.labels)
    columns, saved = gathered.columns, (folder / SUMMARY).exists()
    # Texts come back into memory only where near-repeats must be found, which compares them.
    texts = [*wholes(*open_table(store, len(columns)))] if data.split.similar and not saved else []
    summary = read_json(folder / SUMMARY) if saved else None
    places = divide(gathered, space, recipe.seed, texts) if summary is None else saved_places(folder, summary, columns)
    store_splits(store, columns, places, space)
    splits = {name: StoredRows.open(store, name) for name in places}
    if summary is not None:
        # Files that were changed since must not give a resumed run other rows under the same names.
        check_fingerprint(summary, fingerprint(_keyed(splits), space), folder)
        return
    refuse_unlearnable({name: rows.labels for name, rows in splits.items()}, space, gathered.where)
    refuse_unmeasurable(splits["validation"].labels, space, recipe.metrics, gathered.where)
    if "test" in splits:
        refuse_known(splits["validation"], splits["test"], "validation rows", "test rows")
    _save(folder, splits, _summary(splits, gathered, space, recipe.seed), space)


def told_splits(splits: Splits, labels: LabelsPart) -> Iterator[str]:
    """What a person should know of the rows before training, a line each."""
    space, held, test = splits.space, len(splits.validation), splits.test
    yield f"rows: train {len(splits.train)}, validation {held}{'' if test is None else f', test {len(test)}'}"
    if space.kind == "single":
        yield f"{', '.join(ONE_LABEL)} are of the label {space.names[space.positive_id]!r}"
    if hint := separator_hint(labels, space.names):
        yield f"warning: {hint}"
    if held < HELD:
        yield f"warning: {held} validation rows; an export is proved with at least {HELD}"
    if len(np.unique(splits.validation.labels, axis=0)) == 1:
        yield "warning: all validation rows have the same labels: a model that looks at no text may be right on each"
    for name, count in splits.summary.get("train_rows_in", {}).items():
        if count:
            yield f"warning: {count} {name} rows also stand in the training rows: figures say what was memorised"


def save_anew(splits: Splits, found: dict[str, StoredRows], folder: Path, **noted: Any) -> None:
    """Save in `folder` other splits of the same rows, beside a table like theirs. noted: more of the summary."""
    summary = splits.summary | {
        "fingerprint": fingerprint(_keyed(found), splits.space),
        "splits": _sizes(found, splits.space),
        "train_rows_in": {name: len(known) for name, known in _known(found).items()},
        **noted,
    }
    for name, rows in found.items():
        rows.store(folder / STORE, name)
    _save(folder, found, summary, splits.space)


def drop_stored(folder: Path) -> None:
    """Remove what a finished run needs no more: the rows as its processes read them."""
    for store in (folder / STORE, *folder.glob(f"stage_*/{STORE}")):
        shutil.rmtree(store, ignore_errors=True)


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


def _known(splits: dict[str, StoredRows]) -> dict[str, list[int]]:
    """Ids of each held-out split's rows that stand in train: what a figure of them says of memory."""
    return {
        name: rows.ids[np.isin(rows.keys, splits["train"].keys)].tolist()
        for name, rows in splits.items()
        if name != "train"
    }


def _sizes(splits: dict[str, StoredRows], space: LabelSpace) -> dict[str, Any]:
    return {name: {"rows": len(part), "labels": label_counts(part.labels, space)} for name, part in splits.items()}


def _keyed(splits: dict[str, StoredRows]) -> dict[str, Keyed]:
    return {name: Keyed(ids=rows.ids, keys=rows.keys, labels=rows.labels) for name, rows in splits.items()}


def _summary(splits: dict[str, StoredRows], gathered: Gathered, space: LabelSpace, seed: int) -> dict[str, Any]:
    keys = {name: rows.keys for name, rows in splits.items()}
    cut, split = shares(gathered.data), gathered.data.split
    files = {file: count for part in gathered.given.values() for file, count in part.read.items()}
    dropped = {file: count for part in gathered.given.values() for file, count in part.dropped.items()}
    rows = np.concatenate([*keys.values()])
    return {
        "fingerprint": fingerprint(_keyed(splits), space),
        "labels": list(space.names),
        "kind": space.kind,
        "rows_read": sum(files.values()),
        "nulls_dropped": sum(dropped.values()),
        "exact_repeats": len(rows) - len(np.unique(rows)),
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


def _save(folder: Path, splits: dict[str, StoredRows], summary: dict[str, Any], space: LabelSpace) -> None:
    """Write all files, the summary last: where it stands, the others are whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in splits.items():
        # Train rows are many: their ids, places and keys tell which they were, and some texts teach a student.
        if name != "train":
            rows.save(folder / f"{name}.jsonl", space)
    train = splits["train"]
    about = zip(train.ids.tolist(), train.places, strict=True)
    save_train_rows(folder / TRAIN_ROWS, about, train.keys, train.texts, train.pairs or ())
    write_json(folder / KNOWN, _known(splits))
    write_json(folder / SUMMARY, summary)
