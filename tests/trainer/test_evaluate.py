"""`evaluate`: figures with intervals from the best checkpoint, and a record of every look at the test rows."""

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from sklearn.metrics import f1_score

import trainer.evaluate
from tests.trainer import runs
from trainer.cli import launched, main
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.system.files import sha256
from trainer.evaluate import MeasureJob, measure
from trainer.evaluation.table import figures_table
from trainer.predict import EncodedRows, Predictor
from trainer.recipes.file import load
from trainer.stages import train
from trainer.training import TrainJob


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, whose rows have a source (some of them hostile) and an author."""
    folder = tmp_path_factory.mktemp("measure")
    head, *rows = runs.write_rows(folder / "rows.csv", 120).read_text().splitlines()
    cells = ["<script>", "\x1b[31m", "web"]
    more = [f"{row},{cells[place % 3]},author {place % 7}" for place, row in enumerate(rows)]
    (folder / "rows.csv").write_text("\n".join([f"{head},source,author", *more]) + "\n")
    evaluation = {"slices": ["source"], "group": "author", "swaps": {"free": "cat"}}
    train(TrainJob(recipe=load(runs.write_recipe(folder, evaluation=evaluation)), out=folder / "run", quiet=True))
    return folder / "run"


def lines(path: Path) -> list[dict[str, Any]]:
    """A JSON lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_training_alone_never_opens_the_test_split(run: Path) -> None:
    """After training and measuring validation nothing says that the test rows were looked at; each test does."""
    assert not (run / "test_opened.jsonl").exists()
    measure(MeasureJob(run=run, split="validation"))
    assert not (run / "test_opened.jsonl").exists()
    measure(MeasureJob(run=run))
    measure(MeasureJob(run=run))
    assert [line["checkpoint"] for line in lines(run / "test_opened.jsonl")] == [Checkpoint.best(run).path.name] * 2


def test_figures_are_those_of_the_predictions(run: Path) -> None:
    """The printed F1 is scikit-learn's on the written predictions, inside its interval; the last line is JSON."""
    result = CliRunner().invoke(main, ["evaluate", str(run)])
    assert result.exit_code == 0, result.stderr
    figures = json.loads(result.stdout.splitlines()[-1])
    predictions = lines(run / "test_predictions.jsonl")
    expected = f1_score(
        [row["labels"] for row in predictions],
        [row["predicted"] for row in predictions],
        pos_label="spam",
        average="binary",
    )
    f1 = figures["intervals"]["f1"]
    assert figures["metrics"]["f1"] == f1["value"]
    assert f1["value"] == pytest.approx(expected)
    assert f1["low"] <= f1["value"] <= f1["high"]
    assert len(predictions) == figures["rows"] == 24
    assert all(row["place"].rpartition(":")[2].isdigit() for row in predictions)


def test_the_bag_of_words_learns_all_training_rows_and_says_the_same_twice(run: Path) -> None:
    """Of few rows it takes every one, and between two looks at a split its figures do not move."""
    first, second = (measure(MeasureJob(run=run, split="validation"))["baselines"]["bag_of_words"] for _ in range(2))
    train_rows = len(lines(run / "splits" / "train.jsonl"))
    assert first["fit"]["rows"] == first["fit"]["train_rows"] == train_rows > 0
    assert first["metrics"] == second["metrics"]


def test_validation_measured_again_agrees_with_the_run(run: Path) -> None:
    """`evaluate --split validation` finds the value that made the checkpoint the best (both in fp32 here)."""
    found = measure(MeasureJob(run=run, split="validation"))["metrics"]
    written = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["validation"]
    assert {name: found[name] for name in written} == pytest.approx(written, abs=1e-5)


def test_a_changed_checkpoint_is_not_measured(run: Path) -> None:
    """One flipped byte in the weights is an error before any figure is printed."""
    weights = Checkpoint.best(run).path / "model.safetensors"
    sound = weights.read_bytes()
    try:
        weights.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
        with pytest.raises(ArtifactError, match="changed"):
            measure(MeasureJob(run=run))
    finally:
        weights.write_bytes(sound)


def test_the_file_of_figures_is_as_its_schema_says(run: Path) -> None:
    """test_metrics.json fits split_metrics.schema.json, and does not where a key is missing or another is there."""
    measure(MeasureJob(run=run))
    schema = json.loads((Path(trainer.evaluate.__file__).parent / "split_metrics.schema.json").read_bytes())
    checker = Draft202012Validator(schema)
    checker.check_schema(schema)
    found = json.loads((run / "test_metrics.json").read_bytes())
    checker.validate(found)
    assert not checker.is_valid(found | {"more": 1})
    for key in found:
        assert not checker.is_valid({name: value for name, value in found.items() if name != key}), key
    assert found["predictions"]["sha256"] == sha256(run / "test_predictions.jsonl")


def test_every_part_of_the_figures_is_of_the_run(run: Path) -> None:
    """Both baselines were made from the run's training rows, slices are of its columns, group intervals of its authors,
    the swap is the recipe's, and an application finds the keys and shapes that it knows.
    """
    found = measure(MeasureJob(run=run))
    words = found["baselines"]["bag_of_words"]
    assert (words["missing"], words["fit"]["rows"]) == (None, found["data"]["n_train"])
    assert words["metrics"]["f1"]["value"] > 0.8
    assert found["baselines"]["majority"]["about"] == "always 'ham', so never 'spam'"
    values = {each["value"]: each["rows"] for each in found["slices"]["found"] if each["by"] == "source"}
    assert {*values} == {"<script>", "\x1b[31m", "web"}
    assert sum(values.values()) == found["rows"] == 24
    assert (found["by_group"]["column"], 3 < found["by_group"]["groups"] <= 7) == ("author", True)
    swap = next(each for each in found["robustness"]["kinds"] if each["swap"])
    assert (swap["kind"], swap["rows"] > 5) == ("free / cat", True)
    written = json.loads((run / "test_metrics.json").read_bytes())
    assert written["task"] == "binary_classification"
    assert written["target_label"] == "label"
    assert set(written["data"]) >= {"n_samples", "n_train", "n_test", "train_size", "test_size", "random_state"}
    assert written["data"]["n_samples"] == 120
    assert all(
        isinstance(written["metrics"][name], float) for name in ("accuracy", "precision", "recall", "f1", "roc_auc")
    )
    matrix = written["confusion_matrix"]
    assert sum(matrix.values()) == 24
    assert matrix["tp"] / (matrix["tp"] + matrix["fp"] / 2 + matrix["fn"] / 2) == pytest.approx(
        written["metrics"]["f1"]
    )
    datetime.fromisoformat(written["timestamp"])


def test_what_a_terminal_would_obey_is_never_printed(run: Path) -> None:
    """The table has no control character of a cell, whichever slice it names."""
    result = measure(MeasureJob(run=run))
    for each in result["slices"]["found"]:
        each["flagged"], each["p_adjusted"] = each["value"] == "\x1b[31m", 0.01
    shown = figures_table(result)
    assert r"source '\x1b[31m'" in shown
    assert "\x1b" not in shown


def test_a_run_without_its_training_files_has_no_bag_of_words(run: Path, tmp_path: Path) -> None:
    """Where training rows are gone or changed that baseline is told to be missing, in the file and to people, and all
    else is measured; a column that the rows were not saved with is an error that names it.
    """
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    rows = run.parent / "rows.csv"
    moved, text = tmp_path / "rows.csv", rows.read_text()
    moved.write_text(text.replace("dinner", "supper"))
    recipe = (copy / "recipe.yaml").read_text()
    for file, reason in ((moved, "not those that the saved splits were made of"), (tmp_path / "gone.csv", "gone.csv")):
        (copy / "recipe.yaml").write_text(recipe.replace(str(rows), str(file)))
        result = measure(MeasureJob(run=copy))
        words = result["baselines"]["bag_of_words"]
        assert reason in words["missing"]
        assert words["metrics"] == {}
        assert "bag of words:    not measured: the training rows cannot be read again" in figures_table(result)
    (copy / "recipe.yaml").write_text(recipe.replace("- source", "- sauce"))
    with pytest.raises(InputError, match="'sauce'"):
        measure(MeasureJob(run=copy))


def test_rows_that_were_learnt_are_told_with_figures_without_them(tmp_path: Path) -> None:
    """Given test rows that also stand in train are counted by `train` and `evaluate`, for people and for programs; the
    figures without them are those of the other rows alone.
    """
    recipe = runs.write_recipe(tmp_path, rows=96)
    rows = (tmp_path / "rows.csv").read_text().splitlines()
    runs.write_rows(tmp_path / "other.csv", 20, seed=9)
    mixed = [*(tmp_path / "other.csv").read_text().splitlines(), *rows[1:21]]
    (tmp_path / "test.csv").write_text("\n".join(mixed) + "\n")
    (tmp_path / "validation.csv").write_text("\n".join([rows[0], *rows[61:]]) + "\n")
    (tmp_path / "rows.csv").write_text("\n".join(rows[:61]) + "\n")
    data = {"train": {"files": "rows.csv"}, "validation": {"files": "validation.csv"}, "test": {"files": "test.csv"}}
    recipe = runs.write_recipe(tmp_path, data=data)
    arguments = ["--config", str(recipe), "--out", str(tmp_path / "run")]
    trained = CliRunner().invoke(launched, arguments)
    assert trained.exit_code == 0, trained.stderr
    assert "20 test rows also stand in the training rows" in trained.stderr
    assert json.loads(trained.stdout.splitlines()[-1])["also_in_train"] == {"validation": 0, "test": 20}
    measured = CliRunner().invoke(main, ["evaluate", str(tmp_path / "run")])
    assert "20 of these 40 rows also stand in the training rows" in measured.stdout
    assert "without them:" in measured.stdout
    known = json.loads(measured.stdout.splitlines()[-1])["also_in_train"]
    assert known["rows"] == 20
    others = lines(tmp_path / "run" / "test_predictions.jsonl")[:20]
    right = sum(row["right"] for row in others) / 20
    assert known["metrics_without"]["accuracy"]["value"] == pytest.approx(right)


def test_undefined_metrics_are_null_and_never_nan(tmp_path: Path) -> None:
    """Test and validation rows of one class: JSON lines, logs and figures hold null, and a person reads "undefined"."""
    recipe = runs.write_recipe(tmp_path)
    for name in ("validation", "test"):
        (tmp_path / f"{name}.csv").write_text(
            "text,label\n" + "".join(f"see you {name} {number},ham\n" for number in range(40))
        )
    data = {"train": {"files": "rows.csv"}, "validation": {"files": "validation.csv"}, "test": {"files": "test.csv"}}
    recipe = runs.write_recipe(tmp_path, data=data)
    arguments = ["--config", str(recipe), "--out", str(tmp_path / "run"), "--set", "select.metric=accuracy"]
    results = [CliRunner().invoke(launched, [*arguments, *more]) for more in ([], ["--resume"])]
    results.append(CliRunner().invoke(main, ["evaluate", str(tmp_path / "run")]))
    for result in results:
        assert result.exit_code == 0, result.output
        assert "undefined" in result.stdout
        assert strict(result.stdout.splitlines()[-1])
    for path in (tmp_path / "run").rglob("*.json*"):
        for line in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
            strict(line)


def strict(text: str) -> Any:
    """JSON that holds no NaN, which other readers refuse."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_batches_are_the_recipes(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`evaluate` cuts batches by the last stage's token budget (64 here), or by its own option."""
    seen: list[int] = []
    logits = Predictor.logits

    def noted(self: Predictor, data: EncodedRows) -> Any:
        seen.append(self.tokens)
        return logits(self, data)

    monkeypatch.setattr(Predictor, "logits", noted)
    measure(MeasureJob(run=run))
    assert CliRunner().invoke(main, ["evaluate", str(run), "--batch-tokens", "99"]).exit_code == 0
    assert list(dict.fromkeys(seen)) == [64, 99]


def test_figures_of_other_weights_do_not_end_a_resume(run: Path, tmp_path: Path) -> None:
    """A run whose best.json names another checkpoint than its figures were made of is refused, not called finished."""
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    best = json.loads((copy / "best.json").read_text())
    (other,) = (path.name for path in (copy / "checkpoints").iterdir() if path.name != best["checkpoint"])
    (copy / "best.json").write_text(json.dumps(best | {"checkpoint": other}))
    with pytest.raises(ArtifactError, match="not of this checkpoint"):
        train(TrainJob(recipe=load(run.parent / "recipe.yaml"), out=copy, resume=True, quiet=True))


def test_a_run_that_learns_nothing_says_so_early_and_in_the_end(tmp_path: Path) -> None:
    """Labels that the texts say nothing of: half way through the first epoch, at each evaluation, at the end and from
    `evaluate` comes a plain warning with what to try.
    """
    stages = [{"epochs": 1, "batch": {"rows": 4}, "optimizer": {"learning_rate": 1e-3}}]
    recipe = runs.write_recipe(tmp_path, rows=300, stages=stages, select={"metric": "f1_macro"})
    texts = [line.partition(",")[0] for line in (tmp_path / "rows.csv").read_text().splitlines()[1:]]
    labels = np.random.default_rng(0).choice(["ham", "spam"], len(texts), p=[0.8, 0.2])
    lines = ["text,label", *(f"{text},{label}" for text, label in zip(texts, labels, strict=True))]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    arguments = ["--config", str(recipe), "--out", str(tmp_path / "run")]
    trained = CliRunner().invoke(launched, arguments)
    assert trained.exit_code == 0, trained.stderr
    assert "is still that of the label shares alone" in trained.stderr
    assert "no better than one answer for all rows (always giving" in trained.stderr
    assert "the run has learnt nothing" in trained.stdout
    assert json.loads(trained.stdout.splitlines()[-1])["constant"]["beaten"] is False
    measured = CliRunner().invoke(main, ["evaluate", str(tmp_path / "run")])
    assert "the model has learnt nothing" in measured.stdout
    assert json.loads(measured.stdout.splitlines()[-1])["constant"]["beaten"] is False


def test_a_run_that_learns_is_not_warned(run: Path) -> None:
    """The tiny run beats one answer for all rows, on validation and on test."""
    assert json.loads((run / "metrics.json").read_text())["constant"]["beaten"] is True
    assert measure(MeasureJob(run=run))["constant"]["beaten"] is True
