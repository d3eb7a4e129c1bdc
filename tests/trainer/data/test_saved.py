"""Columns that figures are split by lie in the saved splits, and training rows are found again in their files."""

import json
from pathlib import Path

import pytest

from tests.trainer import runs
from trainer.contract.errors import InputError
from trainer.contract.system.files import read_json
from trainer.data.saved import TrainedRows, read_training_rows
from trainer.data.splits import Splits, open_split, prepare
from trainer.recipes.file import load
from trainer.recipes.recipe import Recipe

CELLS = ["\u202e<b>", "", "a,b", "3.0"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Rows with a source and a group."""
    folder = tmp_path_factory.mktemp("saved")
    head, *rows = runs.write_rows(folder / "rows.csv", 80).read_text().splitlines()
    lines = [f'{row},"{CELLS[place % 4]}",g{place % 20}' for place, row in enumerate(rows)]
    (folder / "rows.csv").write_text("\n".join([f"{head},source,who", *lines]) + "\n", encoding="utf-8")
    data = {"train": {"files": "rows.csv"}, "split": {"validation": 0.2, "test": 0.2, "group": "who"}}
    return load(runs.write_recipe(folder, data=data, evaluation={"slices": ["source"]}))


@pytest.fixture(scope="module")
def splits(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Splits, Path]:
    """Its splits, and where they were saved."""
    folder = tmp_path_factory.mktemp("splits")
    return prepare(recipe, recipe.data, folder), folder


def again(recipe: Recipe, splits: tuple[Splits, Path], **bounds: int) -> TrainedRows:
    """The training rows, read again."""
    bounds = {"at_most": 1000, "characters": 10**6} | bounds
    return read_training_rows(recipe, recipe.data, splits[1], splits[0].space, **bounds)


def test_columns_come_back_as_they_were_written(splits: tuple[Splits, Path]) -> None:
    """The cells of a slice and of the split's group stand beside each held-out row, also after rows are taken."""
    found, folder = splits
    rows = open_split(folder, "test", found.space)
    assert {*rows.columns} == {"source", "who"}
    for number, source, who in zip(rows.ids.tolist(), rows.columns["source"], rows.columns["who"], strict=True):
        assert (source, who) == (CELLS[number % 4], f"g{number % 20}")
    some = rows.take(rows.ids.argsort()[-2:])
    assert list(some.columns["who"]) == [f"g{number % 20}" for number in some.ids.tolist()]


def test_training_rows_are_found_again(recipe: Recipe, splits: tuple[Splits, Path]) -> None:
    """All of them with their labels, or as many as are asked for, by rows or by characters, the same each time."""
    found = again(recipe, splits)
    train = splits[0].train
    assert sorted(zip(found.texts, found.labels.tolist(), strict=True)) == sorted(
        zip(train.texts, train.labels.tolist(), strict=True)
    )
    few = again(recipe, splits, at_most=7)
    assert (len(few.texts), few.of) == (7, len(train))
    assert list(again(recipe, splits, at_most=7).texts) == list(few.texts)
    short = again(recipe, splits, characters=200)
    assert 0 < sum(map(len, short.texts)) <= 200


def test_a_column_that_is_not_there_is_named(recipe: Recipe, tmp_path: Path) -> None:
    """A slice by a column that the files lack stops training before it starts, with the nearest name."""
    path = tmp_path / "recipe.yaml"
    content = recipe.plain() | {"evaluation": {"slices": ["sourc"], "group": None, "swaps": {}}}
    path.write_text(json.dumps(content))
    wrong = load(path)
    with pytest.raises(InputError, match="no column 'sourc'") as error:
        prepare(wrong, wrong.data, tmp_path / "splits")
    assert "'source'" in str(error.value)


def test_given_test_rows_need_the_columns_and_training_rows_then_do_not(tmp_path: Path) -> None:
    """Where validation and test have files of their own, those have the column."""
    runs.write_rows(tmp_path / "rows.csv", 40)
    for name, seed in (("validation", 1), ("test", 2)):
        head, *rows = runs.write_rows(tmp_path / f"{name}.csv", 40, seed=seed).read_text().splitlines()
        (tmp_path / f"{name}.csv").write_text("\n".join([f"{head},source", *(f"{row},web" for row in rows)]) + "\n")
    data = {
        name: {"files": f"{file}.csv"}
        for name, file in (("train", "rows"), ("validation", "validation"), ("test", "test"))
    }
    recipe = load(runs.write_recipe(tmp_path, data=data, evaluation={"slices": "source"}))
    found = prepare(recipe, recipe.data, tmp_path / "splits")
    assert found.test is not None
    assert set(found.test.columns["source"]) == {"web"}
    assert set(found.train.columns["source"]) == {""}
    assert read_json(tmp_path / "splits" / "splits.json")["splits"]["test"]["rows"] == 40
