"""`decide` on a run: what it writes, what the recipe asks for, and what becomes of earlier decisions."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

import trainer.decide
import trainer.deciding.gains
import trainer.stages
from tests.trainer import runs
from trainer.cli import main
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.figures.stamped import read_figures
from trainer.contract.system.files import sha256
from trainer.decide import DECISIONS, DecideJob, decide
from trainer.evaluate import MeasureJob, measure
from trainer.recipes.decisions_part import DecisionsPart
from trainer.recipes.file import load
from trainer.run_folder.folder import RUN_LOCK, locked
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
    found: dict[str, Any] = json.loads((run / DECISIONS).read_text())
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
    assert read_figures(decided / DECISIONS, best) == found
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
        assert (run / DECISIONS).stat().st_size < 64_000
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


def test_a_finished_runs_recipe_may_ask_for_other_decisions(run: Path) -> None:
    """A resume with other decisions makes them and keeps them in the run's recipe, which `decide` reads."""
    recipe = load(run / "recipe.yaml", ("decisions={temperature: false, thresholds: f1}",))
    train(TrainJob(recipe=recipe, out=run, resume=True, quiet=True))
    assert written(run)["temperature"] is None
    assert load(run / "recipe.yaml").decisions == recipe.decisions
    decide(DecideJob(run=run))
    assert written(run)["temperature"] is None


def test_a_run_that_is_not_finished_is_not_decided(run: Path) -> None:
    """What an interrupted run has for its best checkpoint may not stay it: the error says to go on first."""
    (run / "metrics.json").unlink()
    result = CliRunner().invoke(main, ["decide", str(run)])
    assert (result.exit_code, "the run is not finished" in result.stderr, "--resume" in result.stderr) == (
        1,
        True,
        True,
    )


def test_decisions_of_other_weights_are_refused(run: Path) -> None:
    """Where best.json names another checkpoint, or its contract was changed, decisions.json says nothing of it."""
    best = json.loads((run / "best.json").read_text())
    (other,) = (path for path in (run / "checkpoints").iterdir() if path.name != best["checkpoint"])
    with pytest.raises(ArtifactError, match="another hash of its weights"):
        read_figures(run / DECISIONS, Checkpoint.open(other))
    checkpoint = Checkpoint.best(run)
    checkpoint.decide(checkpoint.contract.labels.undecided())
    with pytest.raises(ArtifactError, match="another hash of its contract"):
        read_figures(run / DECISIONS, Checkpoint.best(run))


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
    with locked(run / RUN_LOCK), pytest.raises(InputError, match="another process works"):
        decide(DecideJob(run=run))


def test_what_the_rows_cannot_show_is_refused_before_the_network_runs(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`decide` says so before it scores, and training before it trains: by the very number of the end, since all
    checkpoints that there will be are counted. Nothing is left of such a run.
    """

    def never(*_: Any) -> Any:
        raise AssertionError("this costs time")

    monkeypatch.setattr(trainer.decide, "_logits", never)
    with pytest.raises(InputError, match="2 % needs 183 tested rows without an error; there are 133"):
        decide(DecideJob(run=run, asked=DecisionsPart(abstain=0.02)))
    monkeypatch.setattr(trainer.stages, "_run_stage", never)
    data = {"train": {"files": "rows.csv"}, "split": {"validation": 0.5, "test": 0.1}}
    for asked, said in (
        ({"abstain": 0.02}, "2 % needs 183 tested rows without an error; there are 133"),
        ({"precision": {"spma": 0.9}}, "did you mean 'spam'"),
    ):
        recipe = load(runs.write_recipe(tmp_path / "early", rows=400, decisions=asked, data=data))
        with pytest.raises(InputError, match=said):
            train(TrainJob(recipe=recipe, out=tmp_path / "early" / "run", quiet=True))
        assert not (tmp_path / "early" / "run").exists()


def test_progress_is_told_unless_quiet(run: Path) -> None:
    """How far the network is stands on standard error, and with --quiet nothing does."""
    told, quiet = (CliRunner().invoke(main, ["decide", str(run), *words]) for words in ([], ["--quiet"]))
    assert "scoring: 200 rows" in told.stderr
    assert quiet.stderr == ""
    assert told.stdout == quiet.stdout


def test_calibration_errors_are_those_that_evaluate_tells(run: Path) -> None:
    """Before, on the validation rows: the figure, its interval and the bins with their bands are the same."""
    decide(DecideJob(run=run, asked=DecisionsPart()))
    found = written(run)
    Checkpoint.best(run).decide(Checkpoint.best(run).contract.labels.undecided())
    told = measure(MeasureJob(run=run, split="validation"))
    assert found["temperature"]["ece"]["before"] == pytest.approx(told["intervals"]["ece"], abs=1e-6)
    assert found["curves"]["calibration"]["of"] == told["calibration"]["of"]
    for own, its in zip(found["curves"]["calibration"]["before"], told["calibration"]["reliability"], strict=True):
        assert own == pytest.approx(its, abs=1e-6)


def test_groups_are_kept_apart_and_told(tmp_path: Path) -> None:
    """Where the recipe names groups, decisions.json says so, the promise says what it takes for granted, and intervals
    on validation and test rows are by group.
    """
    path = runs.write_rows(tmp_path / "rows.csv", 400)
    lines = path.read_text().splitlines()
    cells = ["author", *(f"author {number // 10}" for number in range(400))]
    path.write_text("".join(f"{line},{cell}\n" for line, cell in zip(lines, cells, strict=True)))
    data = {"train": {"files": "rows.csv"}, "split": {"validation": 0.5, "test": 0.2, "group": "author"}}
    recipe = runs.write_recipe(tmp_path, decisions={"abstain": 0.5}, data=data)
    train(TrainJob(recipe=load(recipe), out=tmp_path / "run", quiet=True))
    found = written(tmp_path / "run")
    assert found["groups"] == {"column": "author", "count": 20}
    assert found["rows"]["tested"] % 10 == 0
    assert found["abstain"]["said"].endswith("with 95 % confidence if rows of one 'author' err independently")
    noted: list[Any] = []
    gains = trainer.deciding.gains
    real = gains.resampled_systems
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gains, "resampled_systems", lambda *given: noted.append(given[2]) or real(*given))
        measure(MeasureJob(run=tmp_path / "run"))
    assert len(np.unique(noted[0])) == 8
