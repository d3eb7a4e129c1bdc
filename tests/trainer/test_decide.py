"""`decide` on a run: what it writes, what the recipe asks for, and what becomes of earlier decisions."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

import trainer.decide
from tests.trainer import runs
from trainer.cli import main
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.figures.stamped import read_figures
from trainer.contract.system.files import sha256
from trainer.decide import FILE, DecideJob, decide
from trainer.evaluate import MeasureJob, measure
from trainer.recipes.decisions_part import DecisionsPart
from trainer.recipes.file import load
from trainer.run_folder.folder import LOCK, locked
from trainer.stages import TrainJob, train


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose recipe asks for decisions."""
    folder = tmp_path_factory.mktemp("decided")
    asked = {"thresholds": "f1", "abstain": 0.5}
    data = {"train": {"files": "rows.csv"}, "split": {"validation": 0.5, "test": 0.1}}
    recipe = runs.write_recipe(folder, rows=400, decisions=asked, data=data)
    train(TrainJob(recipe=load(recipe), out=folder / "run", quiet=True))
    return folder / "run"


@pytest.fixture
def run(decided: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(decided, tmp_path / "run"))


def written(run: Path) -> dict[str, Any]:
    """decisions.json of a run."""
    found: dict[str, Any] = json.loads((run / FILE).read_text())
    return found


def test_training_ends_with_the_recipes_decisions(decided: Path) -> None:
    """The best checkpoint decides as decisions.json says, the test rows were not opened, other checkpoints stay."""
    best, found = Checkpoint.best(decided), written(decided)
    labels = best.contract.labels
    assert labels.temperature == found["temperature"]["value"]
    assert labels.thresholds == tuple(each["threshold"] for each in found["thresholds"])
    assert labels.abstain is not None
    assert (labels.abstain.below, labels.abstain.error) == (found["abstain"]["below"], 0.5)
    assert found["chose_checkpoint"]["checkpoints"] == 2
    assert found["rows"] == {"validation": 200, "fitted": 67, "tested": 133, "also_in_train": 0}
    assert not (decided / "test_opened.jsonl").exists()
    others = [path for path in (decided / "checkpoints").iterdir() if path != best.path]
    assert all(Checkpoint.open(path).contract.labels == labels.undecided() for path in others)
    assert read_figures(decided / FILE, best) == found
    best.verify()


def test_the_file_is_as_its_schema_says_and_small(run: Path) -> None:
    """decisions.json fits decisions.schema.json with promises and without, and does not where a key is missing."""
    schema = json.loads((Path(trainer.decide.__file__).parent / "decisions.schema.json").read_bytes())
    checker = Draft202012Validator(schema)
    checker.check_schema(schema)
    for asked in (
        None,
        DecisionsPart(),
        DecisionsPart(temperature=False),
        DecisionsPart(costs={"ham": {"spam": 3.0}}),
        DecisionsPart(recall={"spam": 0.5}),
    ):
        decide(DecideJob(run=run, asked=asked))
        checker.validate(written(run))
        assert (run / FILE).stat().st_size < 64_000
    for key in (found := written(run)):
        assert not checker.is_valid({name: value for name, value in found.items() if name != key}), key


def test_deciding_again_replaces_what_was_decided(run: Path) -> None:
    """Without a temperature nothing is left of earlier decisions; a resume of the finished run makes the recipe's
    anew.
    """
    recipe, before = load(run / "recipe.yaml"), Checkpoint.best(run).contract
    result = CliRunner().invoke(main, ["decide", str(run), "--no-temperature"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1])["temperature"] is None
    assert Checkpoint.best(run).contract.labels == before.labels.undecided()
    train(TrainJob(recipe=recipe, out=run, resume=True, quiet=True))
    assert Checkpoint.best(run).contract == before


def test_decisions_of_other_weights_are_refused(run: Path) -> None:
    """Where best.json names another checkpoint, or its contract was changed, decisions.json says nothing of it."""
    best = json.loads((run / "best.json").read_text())
    (other,) = (path for path in (run / "checkpoints").iterdir() if path.name != best["checkpoint"])
    with pytest.raises(ArtifactError, match="another hash of its weights"):
        read_figures(run / FILE, Checkpoint.open(other))
    checkpoint = Checkpoint.best(run)
    checkpoint.decide(checkpoint.contract.labels.undecided())
    with pytest.raises(ArtifactError, match="another hash of its contract"):
        read_figures(run / FILE, Checkpoint.best(run))


def test_what_cannot_be_decided_changes_nothing(run: Path) -> None:
    """Too few rows, a promise that is not shown and a label that there is not: exit codes 1, 3 and 1, and every file of
    the run stays as it was.
    """
    before = {path: sha256(path) for path in run.rglob("*") if path.is_file()}
    for options, code, said in (
        (["--abstain", "0.02"], 1, "2 % needs 183 tested rows without an error; there are 133"),
        (["--precision", "spma=0.9"], 1, "did you mean 'spam'"),
        (["--precision", "spam"], 2, "expected NAME=NUMBER"),
        (["--abstain", "2"], 2, "abstain: expected above 0 and below 1"),
    ):
        result = CliRunner().invoke(main, ["decide", str(run), *options])
        assert result.exit_code == code, result.output
        assert said in " ".join(result.stderr.split())
    assert {path: sha256(path) for path in run.rglob("*") if path.is_file()} == before


def test_test_rows_tell_what_was_gained(run: Path) -> None:
    """`evaluate` after `decide` tells before and after with the interval of the gain, and how many rows are answered
    and wrong, as its predictions file has them. Figures of earlier decisions are refused.
    """
    labels = Checkpoint.best(run).contract.labels
    found = measure(MeasureJob(run=run))
    rows = [json.loads(line) for line in (run / "test_predictions.jsonl").read_text().splitlines()]
    told = found["decisions"]
    given = [row for row in rows if row["answered"]]
    assert (told["answered"]["answered"], told["answered"]["rows"]) == (len(given), len(rows))
    assert told["answered"]["wrong"] == sum(not row["right"] for row in given)
    assert all((row["probabilities"][row["predicted"][0]] >= labels.abstain.below) == row["answered"] for row in rows)
    assert told["metrics"]["f1"]["after"] == pytest.approx(found["metrics"]["f1"])
    gain = told["metrics"]["f1"]["gain"]
    assert gain["value"] == pytest.approx(told["metrics"]["f1"]["after"] - told["metrics"]["f1"]["before"])
    assert gain["low"] <= gain["value"] <= gain["high"]
    result = CliRunner().invoke(main, ["evaluate", str(run), "--split", "validation"])
    assert "decisions:" in result.stdout
    assert "answered:" in result.stdout
    decide(DecideJob(run=run, asked=DecisionsPart(temperature=False)))
    with pytest.raises(ArtifactError, match="another hash of its contract"):
        read_figures(run / "test_metrics.json", Checkpoint.best(run))
    again = measure(MeasureJob(run=run))
    assert again["decisions"] is None
    assert again["metrics"]["f1"] == pytest.approx(told["metrics"]["f1"]["before"])


def test_a_run_in_use_is_left_alone(run: Path) -> None:
    """While another command works in the run, deciding is refused."""
    with locked(run / LOCK), pytest.raises(InputError, match="another process works"):
        decide(DecideJob(run=run))
