"""The tables of quality and of training, on fake tools: what is timed, what is judged, and what the tables say."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.peers import cost, train
from benchmarks.peers.contestant import contestants
from benchmarks.peers.learning_tables import quality_summary, quality_table, training_table
from benchmarks.peers.rounds import Outcome, Schedule, compete
from benchmarks.peers.sets import LabelledSet
from tests.benchmarks import learners, loops
from trainer.contract.labels import LabelSpace

ROWS = 200


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> LabelledSet:
    """Texts that are numbers, labelled by whether they are odd."""
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": str(row), "label": row % 2}) + "\n" for row in range(ROWS)))
    settings = {**dict.fromkeys(("train", "test", "validation"), str(path)), "labels": ["even", "odd"], "multi": False}
    space = LabelSpace(names=("even", "odd"))
    return LabelledSet(name="numbers", space=space, truth=np.arange(ROWS) % 2, settings=settings)


@pytest.fixture(scope="module")
def records(rows: LabelledSet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the table of quality is made of, by name."""
    schedule = Schedule(rounds=1, seconds=0, most=ROWS, first=0)
    outcomes = compete(contestants(learners.__name__), rows.settings, schedule, tmp_path_factory.mktemp("quality"))
    # In two pieces: who is judged later is held against the best of all.
    first, *others = [cost.answer(outcome, rows) for outcome in outcomes]
    return {record["name"]: record for record in cost.judged([*cost.judged([first], rows), *others], rows)}


def test_a_contestant_as_good_as_the_best_is_seen_to_be(records: dict[str, dict[str, Any]]) -> None:
    """One wrong row in a hundred is within chance of the best, one in five is not."""
    assert records["right"]["f1_macro"][0] == 1.0
    assert records["near"]["accuracy"][0] == 0.99
    assert records["near"]["behind"][1] <= 0 < records["near"]["behind"][2]
    assert records["far"]["behind"][1] > 0.1


def test_labels_that_are_too_few_are_no_answer(records: dict[str, dict[str, Any]]) -> None:
    """A tool that leaves a row out, and one that cannot learn these labels, are listed with the reason."""
    assert records["short"]["fell"] == "a wrong answer: labels of the shape (199,) for (200,)"
    assert records["cannot"]["fell"] == "ValueError: knows one label a row"
    assert "f1_macro" not in records["short"]


def test_the_table_of_quality(records: dict[str, dict[str, Any]]) -> None:
    """The best stands first, without a distance to itself; who has no figures is listed below."""
    found = {"name": "numbers", "train_rows": ROWS, "test_rows": ROWS, "contestants": list(records.values())}
    table = quality_table(found, "a machine")
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in lines[1:]] == ["| right", "| near", "| far"]
    assert lines[1].split(" | ")[2] == ""
    assert "* cannot: ValueError: knows one label a row" in table


def test_all_sets_in_one_table(records: dict[str, dict[str, Any]]) -> None:
    """Whoever is as good as the best, as far as the rows tell, is bold; who was measured on one set says so."""
    one = {"name": "one", "contestants": list(records.values())}
    other = {"name": "other", "contestants": [records["right"], {**records["far"], "train_cpu_seconds": 90.0}]}
    lines = quality_summary({"a": one, "b": other, "c": {"name": "none", "missing": "no file"}}).splitlines()[4:]
    cells = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in lines}
    assert list(cells) == ["right", "far", "near"]
    assert cells["right"][0] == "**1.000 [1.000, 1.000]**"
    assert cells["near"][0].startswith("**0.990")
    assert cells["near"][1] == "not measured"
    assert not cells["far"][0].startswith("**")
    assert cells["far"][2].endswith(" to 90")


@pytest.fixture(scope="module")
def trained(rows: LabelledSet, tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """Two rounds of 60 rows after an uncounted one."""
    folder = tmp_path_factory.mktemp("training")
    return compete(contestants(loops.__name__), rows.settings, train.schedule(60, 2), folder)


def test_training_goes_on_and_labelling_is_not_timed(trained: list[Outcome], rows: LabelledSet) -> None:
    """Each round trains on the next rows, so more is known; the seconds are those of training alone."""
    slow, quick = (train.judged(outcome, rows, target=0.8) for outcome in trained)
    assert [point["rows"] for point in quick["curve"]] == [120, 180]
    assert quick["curve"][0]["f1_macro"] < quick["to_target"]["f1_macro"]
    assert quick["to_target"]["rows"] == 180
    assert quick["to_target"]["seconds"] < 0.9 <= slow["to_target"]["seconds"]
    assert min(quick["rates"]) > max(slow["rates"])


def test_the_table_of_training_is_over_trainer_at_its_best(trained: list[Outcome], rows: LabelledSet) -> None:
    """The faster one stands first, with how many times as fast it is; the base has 1.00."""
    found = {"name": "numbers", "rows": 60, "batch": 8, "target": 0.8}
    told = {"operations_per_row": 1e6, "limits": {"fp32": {"rate": 1e9}}}
    records = train.beside_bases([train.judged(each, rows, 0.8) for each in trained])
    table = training_table({**found, "contestants": [{**each, **told} for each in records]}, "a machine.")
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    assert lines[1].startswith("| slow to label |")
    # Of two rounds the figure lies between them.
    low, high = sorted(records[0]["rates"]) if records[0]["name"] in lines[1] else sorted(records[1]["rates"])
    assert lines[1].split(" | ")[1] == f"{(low + high) / 2:,.1f} [{low:,.1f}, {high:,.1f}]"
    assert "| 1.00 [1.00, 1.00] |" in lines[2]
    # Trainer at its defaults did not run, so nothing is told over it.
    assert lines[2].split(" | ")[3] == ""


def test_the_shipped_set_and_a_bag_of_words(tmp_path: Path) -> None:
    """`quality --quick` on the SMS messages: figures of real rows, and a set whose files are not there is named."""
    given = Namespace(out=tmp_path, set=["sms_spam"], rows=300, asked=200, rounds=1, only=["tf-idf"], quick=True)
    cost.run(given)
    found = json.loads((tmp_path / "quality.json").read_text())["sms_spam"]
    (record,) = found["contestants"]
    assert (found["train_rows"], found["test_rows"], record["fell"]) == (300, 200, "")
    assert record["accuracy"][0] > 0.8
