"""The data of the five systems, read by their recipes: every row that each SOURCE.txt counts."""

import csv
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests import tiny
from tests.trainer.sources import SHARED, made
from trainer.contract.system.files import read_json
from trainer.data.splits import Splits, prepare
from trainer.evaluate import MeasureJob, measure
from trainer.recipes.file import load
from trainer.stages import train
from trainer.training import TrainJob

RECIPES = Path(__file__).parents[3] / "launch_configs" / "recipes"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the five systems' data is not beside the checkout")


def read(name: str, folder: Path, stage: int = 0) -> Splits:
    """The splits of one recipe's stage."""
    recipe = load(RECIPES / f"{name}.yaml")
    return prepare(recipe, recipe.stages[stage].data or recipe.data, folder / "splits")


def counts(splits: Splits) -> tuple[dict[str, int], dict[str, int]]:
    """Rows of each file, and of each label over all splits."""
    files = {Path(file["file"]).name: file["rows"] for file in splits.summary["files"]}
    parts = splits.summary["splits"].values()
    assert sum(part["rows"] for part in parts) == splits.summary["rows_read"] == sum(files.values())
    return files, {name: sum(part["labels"][name] for part in parts) for name in splits.space.names}


def test_s1_short_items(tmp_path: Path) -> None:
    """Three files, two of them labelled by their name, become 9,200 rows; no body stands in two splits."""
    splits = read("s1_fake_news", tmp_path)
    assert counts(splits) == (
        {"onlyfakes1000.csv": 1000, "onlytrue1000.csv": 1000, "1_corpus_unido.csv": 7200},
        {"fake": 4600, "real": 4600},
    )
    with (SHARED / "spanish_fake_short" / "1_corpus_unido.csv").open(encoding="utf-8", newline="") as file:
        bodies = [row["descripcion"] for row in csv.DictReader(file)]
    sides = [
        {bodies[number - 2000] for number in part.ids.tolist() if number >= 2000}
        for part in (splits.train, splits.validation)
    ]
    assert not sides[0] & sides[1]


def test_s1_long_articles(tmp_path: Path) -> None:
    """Two CSV files and three workbooks with three spellings of the label become the published 2,141 rows."""
    assert counts(read("s1_fake_news", tmp_path, stage=1)) == (
        {
            "spanishFakeNews.csv": 538,
            "testSpanishFakeNews.csv": 60,
            "train.xlsx": 676,
            "development.xlsx": 295,
            "test.xlsx": 572,
        },
        {"fake": 1025, "real": 1116},
    )


def test_s2_medical_labels(tmp_path: Path) -> None:
    """3,565 rows with one to four labels each, every label's share kept within a point in every split."""
    splits = read("s2_medical", tmp_path)
    _, labels = counts(splits)
    assert labels == {"cardiovascular": 1268, "neurological": 1785, "hepatorenal": 1091, "oncological": 601}
    assert splits.test is not None
    for part in (splits.train, splits.validation, splits.test):
        for number, name in enumerate(splits.space.names):
            assert abs(part.labels[:, number].mean() - labels[name] / 3565) < 0.02


def test_s3_calls_to_action(tmp_path: Path) -> None:
    """6,840 rows with line breaks inside quotes, 663 positive, 57 repeats kept on one side."""
    splits = read("s3_call_to_action", tmp_path)
    assert counts(splits) == ({"c2a_train.csv": 6840}, {"none": 6177, "call_to_action": 663})
    assert splits.summary["exact_repeats"] == 57


def test_s4_toxic_comments(tmp_path: Path) -> None:
    """1,000 rows under a byte order mark, 462 toxic; with VideoId as group no video is in two splits."""
    assert counts(read("s4_toxic", tmp_path)) == ({"youtoxic_english_1000.csv": 1000}, {"not_toxic": 538, "toxic": 462})
    recipe = load(RECIPES / "s4_toxic.yaml", ("data.split.group=VideoId",))
    splits = prepare(recipe, recipe.data, tmp_path / "grouped")
    assert min(part["rows"] for part in splits.summary["splits"].values()) > 20
    counts(splits)


def test_s4_twelve_columns_of_labels(tmp_path: Path) -> None:
    """One column a label gives the counts of every label, the ones that no row has among them."""
    names = (
        "Abusive Provocative Hatespeech Racist Obscene Threat ReligiousHate Nationalist Sexist Homophobic Radicalism"
    )
    file = str(SHARED / "youtoxic" / "youtoxic_english_1000.csv")
    labels: dict[str, Any] = {"columns": [f"Is{name}" for name in names.split()], "kind": "multi"}
    splits = made(tmp_path, {"train": {"files": file}}, labels, input={"text": "Text"})
    assert list(counts(splits)[1].values()) == [353, 161, 138, 125, 100, 21, 12, 8, 1, 0, 0]


def test_s5_ag_news(tmp_path: Path) -> None:
    """20,000 sorted training rows in two files and 7,600 headerless test rows, all classes even in every split."""
    splits = read("s5_ag_news", tmp_path)
    assert counts(splits) == (
        {"train20k_part1.csv": 10000, "train20k_part2.csv": 10000, "test.csv": 7600},
        {"World": 6900, "Sports": 6900, "Business": 6900, "Sci/Tech": 6900},
    )
    assert splits.summary["splits"]["test"] == {"rows": 7600, "labels": dict.fromkeys(splits.space.names, 1900)}
    assert set(splits.summary["splits"]["validation"]["labels"].values()) == {250}


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.yaml")))
def test_a_recipe_runs_from_its_files_to_test_figures(name: str, tmp_path: Path) -> None:
    """Each recipe, all its stages, one epoch on a few rows of each split with a tiny encoder: trained, and measured on
    its test rows.
    """
    stages = len(load(RECIPES / f"{name}.yaml").stages)
    settings = [f"model.name={tiny.encoder(tmp_path / 'encoder')}", "data.limit=60", "input.max_tokens=48"]
    for stage in range(stages):
        settings.append(f"stages.{stage}.epochs=1")
        if stage:
            settings.append(f"stages.{stage}.data.limit=60")
    recipe = load(RECIPES / f"{name}.yaml", tuple(settings))
    train(TrainJob(recipe=recipe, out=tmp_path / "run", quiet=True))
    found = measure(MeasureJob(run=tmp_path / "run"))
    assert found["rows"] == 60
    assert 0 <= found["metrics"][recipe.select.metric] <= 1
    assert found["baselines"]["bag_of_words"]["missing"] is None
    schema = read_json(RECIPES.parents[1] / "trainer" / "split_metrics.schema.json")
    Draft202012Validator(schema).validate(read_json(tmp_path / "run" / "test_metrics.json"))
