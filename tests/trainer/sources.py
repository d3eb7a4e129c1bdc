"""Small recipes and files for the tests of rows, splits and lint."""

from pathlib import Path
from typing import Any

from trainer.contract import schema
from trainer.contract.labelled import LabelledRows
from trainer.data.splits import Splits, prepare
from trainer.recipes.recipe import Recipe

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def recipe(data: Any, labels: Any = "label", **parts: Any) -> Recipe:
    """A recipe over `data`; labels: a column's name or the whole part."""
    content = {
        "model": {"name": "none"},
        "data": data,
        "input": {"text": "text"},
        "labels": labels if isinstance(labels, dict) else {"column": labels},
        **parts,
    }
    problems: list[str] = []
    made = schema.bind(Recipe, content, problems)
    assert made is not None, problems
    return made


def write(folder: Path, text: str | bytes, name: str = "rows.csv") -> str:
    """A file's path as a recipe names it."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def balanced(rows: int) -> str:
    """A CSV of different texts, half of them spam."""
    return "text,label\n" + "".join(f"text {n},{'spam' if n % 2 else 'ham'}\n" for n in range(rows))


def made(folder: Path, data: Any, labels: Any = "label", **parts: Any) -> Splits:
    """The splits of a recipe over `data`, saved under `folder`."""
    one = recipe(data, labels, **parts)
    return prepare(one, one.data, folder / "splits")


def everything(splits: Splits) -> list[tuple[str, tuple[str, ...]]]:
    """Text and labels of all rows of all splits in the order of their ids."""
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    rows = [row for part in parts for row in _rows(part, splits)]
    return [(text, labels) for _, text, labels in sorted(rows)]


def _rows(part: LabelledRows, splits: Splits) -> list[tuple[int, str, tuple[str, ...]]]:
    names = map(tuple, part.label_names(splits.space))
    return list(zip(part.ids.tolist(), part.texts, names, strict=True))
