"""The keys that applications read who show a classifier's figures: names and shapes that they already know."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.contract.labels import LabelSpace
from trainer.recipes.recipe import Recipe

_TASKS = {"single": "multiclass_classification", "multi": "multilabel_classification"}


def task(space: LabelSpace) -> str:
    """What kind of classification it is."""
    return "binary_classification" if space.kind == "single" and len(space) == 2 else _TASKS[space.kind]


def target(recipe: Recipe) -> str:
    """The column, or columns, that the labels stand in."""
    return recipe.labels.column or ", ".join(recipe.labels.columns or ())


def model_name(recipe: Recipe) -> str:
    """The base model, without the folder that it lies in."""
    name = recipe.model.name
    return Path(name).name if Path(name).is_absolute() else name


def data(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of each split and their shares, and the seed that they were drawn with. summary: of splits.json."""
    rows = {name: int(part["rows"]) for name, part in summary["splits"].items()}
    whole = max(1, sum(rows.values()))
    return {
        "n_samples": sum(rows.values()),
        "n_train": rows["train"],
        "n_validation": rows["validation"],
        "n_test": rows.get("test", 0),
        "train_size": rows["train"] / whole,
        "test_size": rows.get("test", 0) / whole,
        "random_state": summary["made"]["seed"],
    }


def confusion_matrix(confusion: Sequence[Any], space: LabelSpace) -> dict[str, int] | None:
    """tn, fp, fn and tp of two single labels; None for others, whose counts are under `confusion`."""
    if task(space) != "binary_classification":
        return None
    positive = space.positive_id
    negative = 1 - positive
    return {
        "tn": int(confusion[negative][negative]),
        "fp": int(confusion[negative][positive]),
        "fn": int(confusion[positive][negative]),
        "tp": int(confusion[positive][positive]),
    }
