"""The wrong rows of a split, as files that people and labelling tools read."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tests.trainer import runs
from trainer.cli import main
from trainer.contract.labelled import LabelledRows
from trainer.contract.labels import Abstain, LabelSpace
from trainer.contract.system.files import sha256
from trainer.recipes.file import load
from trainer.review.mismatches import mismatch_table, told_mismatches, write_mismatches
from trainer.stages import train
from trainer.training import TrainJob

SINGLE = LabelSpace(names=("ham", "spam"))
MULTI = LabelSpace(names=("a|b", "c", 'd"e'), kind="multi")
HOSTILE = [
    "=cmd|'/c calc'!A1",
    "bidi \u202egnp.exe and \u2066more",
    "a NUL\0inside",
    "a line\nand \r another\r\nand the last\r",
    '"quoted", with; commas\tand tabs',
    "x" * 100_000,
    "<script>alert(1)</script>",
    "NA",
    "\ufeffbyte order mark",
]


def rows(texts: list[str], labels: list[list[str]], space: LabelSpace, **more: Any) -> LabelledRows:
    """Rows of one file, a line each."""
    places = [f"in:put.csv:{line}" for line in range(2, len(texts) + 2)]
    ids = np.arange(len(texts), dtype=np.int64)
    return LabelledRows(ids=ids, texts=texts, labels=space.ids(labels), **{"pairs": None, "places": places, **more})


def read_csv(path: Path) -> list[dict[str, str]]:
    """A CSV file, strictly."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def test_hostile_texts_come_back_as_they_were(tmp_path: Path) -> None:
    """Formulas, bidi overrides, NUL, line ends, quotes and 100,000 characters are the same text in both files; those
    like formulas are counted.
    """
    given = rows(HOSTILE, [["spam"]] * len(HOSTILE), SINGLE)
    scores = SINGLE.decode(np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (len(HOSTILE), 1)))
    found = write_mismatches(tmp_path, "test", given, scores, SINGLE)
    assert found["rows"] == len(HOSTILE)
    assert found["like_formulas"] == 1
    csv.field_size_limit(200_000)
    for table in (
        read_csv(tmp_path / "review" / "test_mismatches.csv"),
        pq.read_table(tmp_path / "review" / "test_mismatches.parquet").to_pylist(),
    ):
        assert [row["text"] for row in table] == HOSTILE
        assert {row["label"] for row in table} == {"spam"}
        assert {row["prediction"] for row in table} == {"ham"}
        assert {row["file"] for row in table} == {"in:put.csv"}
        assert [int(row["line"]) for row in table] == [*range(2, len(HOSTILE) + 2)]
    assert {path.name: sha256(path) for path in (tmp_path / "review").iterdir()} == found["files"]
    assert "1 of their texts begin like formulas" in told_mismatches(found, len(HOSTILE))


def test_the_worst_come_first_and_right_rows_not_at_all() -> None:
    """Rows are sorted by falling loss, equal ones by id; a row that is right is left out."""
    logits = np.array([[2, 0], [4, 0], [0, 3], [2, 0], [0, 1]], dtype=np.float32)
    table = mismatch_table(rows(list("abcde"), [["spam"]] * 5, SINGLE), SINGLE.decode(logits), SINGLE)
    assert table["id"].to_pylist() == [1, 0, 3]
    assert table["loss"].to_pylist() == sorted(table["loss"].to_pylist(), reverse=True)
    assert table["loss"][1].as_py() == pytest.approx(np.log1p(np.exp(2.0)), rel=1e-6)
    assert table["p_spam"][0].as_py() == pytest.approx(1 - table["confidence"][0].as_py(), rel=1e-4)


def test_rows_that_are_not_answered_are_marked() -> None:
    """A wrong row that the model abstained on is there, and says so."""
    careful = LabelSpace(names=("ham", "spam"), abstain=Abstain(below=0.9))
    logits = np.array([[5.0, 0.0], [0.1, 0.0]], dtype=np.float32)
    table = mismatch_table(rows(["x", "y"], [["spam"]] * 2, careful), careful.decode(logits), careful)
    assert dict(zip(table["id"].to_pylist(), table["answered"].to_pylist(), strict=True)) == {0: True, 1: False}


def test_several_labels_are_lists_in_parquet_and_one_cell_in_csv(tmp_path: Path) -> None:
    """A multi-label row is wrong where any label is; names that hold a bar make JSON lists of all cells."""
    labels = [["a|b", "c"], ["c"], []]
    logits = np.array([[5, 5, -5], [-5, -5, 5], [-5, -5, -5]], dtype=np.float32)
    given = rows(["x", "y", "z"], labels, MULTI, pairs=["p", "q", "r"])
    write_mismatches(tmp_path, "validation", given, MULTI.decode(logits), MULTI)
    (row,) = pq.read_table(tmp_path / "review" / "validation_mismatches.parquet").to_pylist()
    assert (row["id"], row["pair"], row["labels"], row["predictions"]) == (1, "q", ["c"], ['d"e'])
    (line,) = read_csv(tmp_path / "review" / "validation_mismatches.csv")
    assert json.loads(line["labels"]) == row["labels"]
    plain = LabelSpace(names=("a", "b"), kind="multi")
    write_mismatches(tmp_path, "test", rows(["x"], [["a", "b"]], plain), plain.decode(np.full((1, 2), -1.0)), plain)
    (line,) = read_csv(tmp_path / "review" / "test_mismatches.csv")
    assert (line["labels"], line["predictions"]) == ("a|b", "")


def test_no_wrong_row_is_a_table_of_none(tmp_path: Path) -> None:
    """Where every row is right both files are there, with their columns and no row."""
    logits = np.array([[0.0, 1.0]], dtype=np.float32)
    found = write_mismatches(tmp_path, "test", rows(["x"], [["spam"]], SINGLE), SINGLE.decode(logits), SINGLE)
    assert told_mismatches(found, 1).startswith("No row of 1 is wrong; of other rows up to 97.50 % may be")
    assert told_mismatches(found, 0) == "no row is wrong"
    assert read_csv(tmp_path / "review" / "test_mismatches.csv") == []
    assert "loss" in pq.read_table(tmp_path / "review" / "test_mismatches.parquet").column_names


def test_evaluate_leaves_every_wrong_row(tmp_path: Path) -> None:
    """The rows of the review are those of the predictions that are not right, with the file and line of each."""
    recipe = runs.write_recipe(tmp_path, rows=120)
    train(TrainJob(recipe=load(recipe, ("stages.0.epochs=1",)), out=tmp_path / "run", quiet=True))
    result = CliRunner().invoke(main, ["evaluate", str(tmp_path / "run"), "--split", "validation"])
    assert result.exit_code == 0, result.stderr
    predictions = (tmp_path / "run" / "validation_predictions.jsonl").read_text().splitlines()
    wrong = {row["id"]: row for row in map(json.loads, predictions) if not row["right"]}
    found = read_csv(tmp_path / "run" / "review" / "validation_mismatches.csv")
    assert {int(row["id"]) for row in found} == set(wrong)
    # The table may leave the house, so it names the file without its folders.
    assert {f"{row['file']}:{row['line']}" for row in found} == {Path(row["place"]).name for row in wrong.values()}
    figures = json.loads((tmp_path / "run" / "validation_metrics.json").read_text())["mismatches"]
    assert figures["rows"] == len(found)
    assert told_mismatches(figures, len(predictions)) in result.stdout
