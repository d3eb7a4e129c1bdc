"""`evaluate`: figures with intervals from the best checkpoint, and a record of every look at the test rows."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sklearn.metrics import f1_score

from tests.trainer import runs
from trainer.cli import main
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import ArtifactError
from trainer.evaluate import MeasureJob, measure
from trainer.recipes.file import load
from trainer.stages import TrainJob, train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("measure")
    train(TrainJob(recipe=load(runs.write_recipe(folder, rows=120)), out=folder / "run", quiet=True))
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
    f1 = figures["metrics"]["f1"]
    assert f1["value"] == pytest.approx(expected)
    assert f1["low"] <= f1["value"] <= f1["high"]
    assert len(predictions) == figures["rows"] == 24
    assert all(row["place"].rpartition(":")[2].isdigit() for row in predictions)


def test_validation_measured_again_agrees_with_the_run(run: Path) -> None:
    """`evaluate --split validation` finds the value that made the checkpoint the best (both in fp32 here)."""
    found = measure(MeasureJob(run=run, split="validation"))["metrics"]
    written = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["validation"]
    assert {name: figure["value"] for name, figure in found.items()} == pytest.approx(written, abs=1e-5)


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
