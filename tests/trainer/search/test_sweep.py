"""A search: trials, pruning, kills, and the best trial's weights as the result."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.trainer import runs
from trainer.cli import main
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import ArtifactError, ClassifactError, InputError, RecipeError
from trainer.contract.figures.stamped import read_figures
from trainer.contract.system.files import read_json, sha256
from trainer.evaluate import MeasureJob, measure
from trainer.recipes.file import load
from trainer.search import sweep as sweep_module
from trainer.search.result import trials_table
from trainer.search.sweep import SweepJob, sweep

RATE = "stages.0.optimizer.learning_rate"
SHORT = [{"epochs": 2, "batch": {"rows": 16}, "optimizer": {"learning_rate": 3.0e-3}}]


def write(folder: Path, space: dict[str, Any], **changes: Any) -> Path:
    """The tiny recipe with a search that minimises the loss; `changes` are of its sweep part."""
    part = {"space": space, "metric": "loss", **changes}
    return runs.write_recipe(folder, rows=60, stages=SHORT, sweep=part)


def run(recipe: Path, out: Path, *, resume: bool = False, settings: tuple[str, ...] = ()) -> dict[str, Any]:
    """Search in this process."""
    result = sweep(SweepJob(recipe=load(recipe, settings), out=out, resume=resume, quiet=True))
    assert result is not None
    return result


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search over a grid of learning rates, the last of which learns nothing; its folder is `out`."""
    folder = tmp_path_factory.mktemp("grid")
    space = {RATE: {"choices": [3e-3, 1e-3, 1e-4, 1e-9]}}
    run(write(folder, space, sampler="grid", startup=1, trials=10), folder / "out")
    return folder


def test_every_combination_is_tried_once_and_the_worse_are_pruned(grid: Path) -> None:
    """A grid of four ends with four trials; those that fall behind the median of an epoch end there."""
    result = read_json(grid / "out" / "sweep.json")
    assert sorted(trial["settings"][RATE] for trial in result["trials"]) == [1e-9, 1e-4, 1e-3, 3e-3]
    assert result["states"]["pruned"] >= 1
    assert result["states"]["complete"] + result["states"]["pruned"] == 4
    for trial in result["trials"]:
        steps = runs.log(grid / "out" / trial["folder"], "evaluation")
        assert len(steps) == trial["epochs"]
        assert trial["epochs"] == 2 or trial["state"] == "pruned"
    assert any(trial["epochs"] == 1 for trial in result["trials"] if trial["state"] == "pruned")
    assert result["best"]["value"] == min(trial["value"] for trial in result["trials"] if trial["value"] is not None)
    assert result["best"]["settings"][RATE] >= 1e-3
    assert sum(result["importances"].values()) == pytest.approx(1)
    assert "pruned" in trials_table(result)


def test_the_result_is_the_best_trials_run_not_trained_again(grid: Path) -> None:
    """The folder has the weights that the best trial had, its recipe and figures, and opens as a run does."""
    out = grid / "out"
    result = read_json(out / "sweep.json")["best"]
    best = out / result["run"]
    found = Checkpoint.best(out)
    found.verify()
    assert sha256(found.path / "model.safetensors") == sha256(Checkpoint.best(best).path / "model.safetensors")
    assert read_json(out / "metrics.json") == read_json(best / "metrics.json")
    assert read_json(out / "metrics.json")["validation"]["loss"] == result["value"]
    assert load(out / "recipe.yaml").stages[0].optimizer.learning_rate == result["settings"][RATE]
    assert measure(MeasureJob(run=out, split="validation"))["rows"] == 12


def test_losing_trials_keep_their_figures_and_not_their_weights(grid: Path) -> None:
    """Of all trials only the best has checkpoints; each has its recipe and its log, and the same validation rows."""
    out = grid / "out"
    best = read_json(out / "sweep.json")["best"]["folder"]
    folders = sorted((out / "trials").iterdir())
    assert len(folders) == 4
    for folder in folders:
        assert (folder / "checkpoints").exists() == (folder == out / best)
        assert not (folder / "resume").exists()
        assert runs.log(folder, "step")
        rows = (folder / "splits" / "validation.jsonl").read_bytes()
        assert rows == (out / "splits" / "validation.jsonl").read_bytes()


def test_the_test_split_is_not_opened(grid: Path) -> None:
    """No run of the search says that its test rows were looked at."""
    assert (grid / "out" / "splits" / "test.jsonl").is_file()
    assert list((grid / "out").rglob("test_opened.jsonl")) == []
    assert list((grid / "out").rglob("test_metrics.json")) == []


def test_a_finished_search_is_left_as_it_is(grid: Path) -> None:
    """--resume gives the same result and trains nothing; without it the folder is refused."""
    before = {path: path.stat().st_mtime_ns for path in (grid / "out" / "trials").rglob("*.json*")}
    assert run(grid / "recipe.yaml", grid / "out", resume=True) == read_json(grid / "out" / "sweep.json")
    assert {path: path.stat().st_mtime_ns for path in (grid / "out" / "trials").rglob("*.json*")} == before
    with pytest.raises(InputError, match="exists already"):
        run(grid / "recipe.yaml", grid / "out")


def test_another_search_cannot_go_on_in_the_folder(grid: Path) -> None:
    """--resume under another space is an error that names the difference."""
    with pytest.raises(InputError, match="another recipe") as error:
        run(grid / "recipe.yaml", grid / "out", resume=True, settings=("sweep.startup=3",))
    assert "sweep.startup: now 3, then 1" in str(error.value)


def test_kill_9_and_resume_end_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """A search that is killed in its second trial goes on with that trial, draws what it would have drawn, and ends
    with the same trials and figures as one that was not killed.
    """
    space = {RATE: {"low": 1e-4, "high": 1e-2, "log": True}, "seed": {"choices": [1, 2]}}
    recipe = write(tmp_path, space, trials=2, pruner="none")
    whole, out = run(recipe, tmp_path / "whole"), tmp_path / "killed"
    command = [sys.executable, "-m", "trainer", "sweep", str(recipe), "--out", str(out), "--quiet"]
    process = subprocess.Popen(command, cwd=runs.ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    log = out / "trials" / "0001" / "metrics.jsonl"
    while time.monotonic() < deadline and (not log.exists() or b'"evaluation"' not in log.read_bytes()):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (out / "sweep.json").exists()
    figures = [
        [(trial["number"], trial["value"], trial["settings"], trial["epochs"]) for trial in result["trials"]]
        for result in (whole, run(recipe, out, resume=True))
    ]
    assert figures[0] == figures[1]
    assert [trial[0] for trial in figures[0]] == [0, 1]


def test_a_finished_search_can_go_on_for_longer(tmp_path: Path) -> None:
    """--resume with more trials tries only those that are new, and the result is the best of all."""
    recipe = write(tmp_path, {RATE: {"choices": [1e-9, 3e-3]}}, sampler="grid", trials=1)
    first = run(recipe, tmp_path / "out")
    longer = run(recipe, tmp_path / "out", resume=True, settings=("sweep.trials=2",))
    assert [trial["number"] for trial in longer["trials"]] == [0, 1]
    assert longer["trials"][0] == first["trials"][0]
    assert longer["best"]["settings"][RATE] == 3e-3
    assert load(tmp_path / "out" / "recipe.yaml").stages[0].optimizer.learning_rate == 3e-3


def test_several_seeds_are_compared_by_their_mean(tmp_path: Path) -> None:
    """Each setting is trained once with each seed; its value is the mean, and the best seed's weights are kept."""
    space = {RATE: {"choices": [3e-3, 1e-9]}}
    result = run(write(tmp_path, space, sampler="grid", seeds=[1, 2], pruner="none"), tmp_path / "out")
    best = result["best"]
    assert set(best["values"]) == {"1", "2"}
    assert best["value"] == pytest.approx(sum(best["values"].values()) / 2)
    assert best["deviation"] == pytest.approx(abs(best["values"]["1"] - best["values"]["2"]) / 2)
    seed = min(best["values"], key=lambda name: best["values"][name])
    assert best["run"] == f"{best['folder']}/seed_{seed}"
    assert load(tmp_path / "out" / "recipe.yaml").seed == int(seed)
    kept = [path.parent for path in (tmp_path / "out" / "trials").rglob("best.json")]
    assert kept == [tmp_path / "out" / best["run"]]


def test_a_search_that_learns_nothing_says_so(tmp_path: Path) -> None:
    """The best of trials that all give one answer is told with what to try, as a training run's end is."""
    recipe = write(tmp_path, {RATE: {"choices": [1e-12]}}, trials=1)
    found = CliRunner().invoke(main, ["sweep", str(recipe), "--out", str(tmp_path / "out"), "--quiet"])
    assert found.exit_code == 0, found.stderr
    assert "warning:         the run has learnt nothing" in found.stdout
    assert json.loads(found.stdout.splitlines()[-1])["constant"]["beaten"] is False


def test_a_refit_learns_most_validation_rows_and_is_measured_on_the_others(tmp_path: Path) -> None:
    """The last fit trains on both splits but for the rows held back, keeps its last weights, and its own validation
    split holds rows that it has not learnt: what `evaluate` and an export of it measure on.
    """
    recipe = write(tmp_path, {"stages.0.epochs": {"choices": [2]}}, trials=1, refit=True)
    result = run(recipe, tmp_path / "out")
    again, splits = tmp_path / "out" / "refit", read_json(tmp_path / "out" / "splits" / "splits.json")["splits"]
    told = result["refit"]
    assert told["joined"] + told["held"] == splits["validation"]["rows"] == 2 * told["held"]
    metrics = read_json(again / "metrics.json")
    assert metrics["steps"] == -(-(splits["train"]["rows"] + told["joined"]) // 16) * told["epochs"][0]
    assert (metrics["step"], metrics["refit"]) == (metrics["steps"], True)
    learnt, held, before = (
        {json.loads(line)["id"] for line in path.read_text().splitlines()}
        for path in (
            again / "splits" / "train.jsonl",
            again / "splits" / "validation.jsonl",
            tmp_path / "out" / "splits" / "validation.jsonl",
        )
    )
    assert held < before
    assert not held & learnt
    assert len(learnt) == splits["train"]["rows"] + told["joined"]
    measured = measure(MeasureJob(run=again, split="validation"))
    assert measured["rows"] == told["held"]
    assert measured["baselines"]["bag_of_words"]["fit"]["train_rows"] == len(learnt)
    assert measured["metrics"]["loss"] == pytest.approx(metrics["validation"]["loss"], abs=1e-5)
    assert measure(MeasureJob(run=again))["rows"] == splits["test"]["rows"]
    assert read_json(tmp_path / "out" / "metrics.json")["refit"] is False


def test_a_refit_of_frozen_layers(tmp_path: Path) -> None:
    """With frozen embeddings and layers, whose output is kept in files, the refit trains as any other run."""
    frozen = [{**SHORT[0], "freeze": {"embeddings": True, "keep_last_layers": 1}}]
    part = {"space": {"stages.0.epochs": {"choices": [1]}}, "metric": "loss", "trials": 1, "refit": True}
    result = run(runs.write_recipe(tmp_path, rows=60, stages=frozen, sweep=part), tmp_path / "out")
    assert read_json(tmp_path / "out" / "refit" / "metrics.json")["steps"] > 0
    assert result["refit"]["held"] > 0


def test_a_refit_decides_as_the_recipe_asks(tmp_path: Path) -> None:
    """The recipe's decisions are fitted on the rows that the refit holds back, and what is said of those rows is true:
    they chose no checkpoint, but settings among the trials.
    """
    part = {"space": {RATE: {"choices": [3e-3, 1e-3]}}, "metric": "loss", "sampler": "grid", "pruner": "none"}
    asked = {"temperature": False, "thresholds": "f1"}
    recipe = runs.write_recipe(
        tmp_path, rows=400, stages=SHORT, decisions=asked, sweep={**part, "trials": 2, "refit": True}
    )
    run(recipe, tmp_path / "out")
    again = tmp_path / "out" / "refit"
    found = read_figures(again / "decisions.json", Checkpoint.best(again))
    assert found["asked"]["thresholds"] == "f1"
    chose = found["chose_checkpoint"]
    assert (chose["checkpoints"], chose["trials"]) == (1, 2)
    assert "chose no checkpoint, but settings and epochs among 2 trials" in chose["said"]
    assert "chosen by" not in measure(MeasureJob(run=again, split="validation"))["notes"]


def test_a_refits_rows_are_looked_at_before_any_trial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows too few for the decisions of a refit are refused, and rows too few for its export are told, before hours of
    trials.
    """
    space = {"stages.0.epochs": {"choices": [1]}}
    recipe = write(tmp_path, space, trials=1, refit=True)
    sweep(SweepJob(recipe=load(recipe), out=tmp_path / "told"))
    said = capsys.readouterr().err
    assert said.index("the refit is measured on 6 of 12 validation rows") < said.index("trial 0:")
    with pytest.raises(InputError, match=r"there are 32[\s\S]*32 of 80 validation rows, which sweep.refit holds back"):
        run(
            runs.write_recipe(
                tmp_path / "many",
                rows=400,
                stages=SHORT,
                decisions={"temperature": True},
                sweep={"space": space, "trials": 1, "refit": True},
                data={"train": {"files": "rows.csv"}, "split": {"validation": 0.2}},
            ),
            tmp_path / "out",
        )
    assert not (tmp_path / "out" / "trials").exists()


@pytest.mark.parametrize("refit", [False, True])
def test_a_metric_that_is_undefined_is_refused_before_any_trial(tmp_path: Path, *, refit: bool) -> None:
    """The search's own metric must be defined on the validation rows, and the recipe's on those that a refit keeps."""
    head, *lines = runs.write_rows(tmp_path / "all.csv", 60).read_text().splitlines()
    ham, spam = ([line for line in lines if line.endswith(name)] for name in ("ham", "spam"))
    # One row of spam among those that validate: a refit of it and its like learns or holds that row.
    (tmp_path / "held.csv").write_text("\n".join([head, *ham[:20], *spam[: int(refit)]]) + "\n")
    (tmp_path / "rows.csv").write_text("\n".join([head, *ham[20:], *spam[1:]]) + "\n")
    data = {"train": {"files": "rows.csv"}, "validation": {"files": "held.csv"}}
    metric = {"select": {"metric": "roc_auc" if refit else "loss"}}
    part = {"space": {"stages.0.epochs": {"choices": [1]}}, "trials": 1, "metric": "roc_auc", "refit": refit}
    recipe = runs.write_recipe(tmp_path, stages=SHORT, data=data, sweep=part, **metric)
    settings = ("data.split.seed=3",)
    with pytest.raises(InputError, match="roc_auc is undefined on the validation rows"):
        run(recipe, tmp_path / "out", settings=settings)
    assert not (tmp_path / "out" / "trials").exists()


def test_a_refit_that_fails_leaves_the_search_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search is a finished run with its table before the refit begins, and --resume does the refit alone."""
    recipe = write(tmp_path, {"stages.0.epochs": {"choices": [1]}}, trials=1, refit=True)
    with monkeypatch.context() as broken:
        broken.setattr(sweep_module, "refit", lambda *_, **__: (_ for _ in ()).throw(ClassifactError("no memory")))
        with pytest.raises(ClassifactError, match="no memory"):
            run(recipe, tmp_path / "out")
    Checkpoint.best(tmp_path / "out").verify()
    assert "refit" not in read_json(tmp_path / "out" / "sweep.json")
    result = run(recipe, tmp_path / "out", resume=True)
    assert result == read_json(tmp_path / "out" / "sweep.json")
    assert result["refit"]["run"] == "refit"


def test_more_trials_refit_the_new_best_and_keep_the_old_refit(tmp_path: Path) -> None:
    """A search that goes on to a better trial adopts its weights and refits them; the earlier refit is moved aside, and
    test figures of the earlier weights are refused beside the new ones.
    """
    # Shuffled with the seed: the one that learns nothing comes first.
    space = {RATE: {"choices": [3e-3, 1e-9]}}
    recipe = write(tmp_path, space, trials=1, sampler="grid", refit=True)
    run(recipe, tmp_path / "out")
    first = read_json(tmp_path / "out" / "sweep.json")["best"]
    measure(MeasureJob(run=tmp_path / "out"))
    read_figures(tmp_path / "out" / "test_metrics.json", Checkpoint.best(tmp_path / "out"))
    second = run(recipe, tmp_path / "out", resume=True, settings=("sweep.trials=2",))
    assert (first["number"], second["best"]["number"]) == (0, 1)
    assert load(tmp_path / "out" / "refit" / "recipe.yaml").stages[0].optimizer.learning_rate == 3e-3
    assert load(tmp_path / "out" / "refit_1" / "recipe.yaml").stages[0].optimizer.learning_rate == 1e-9
    with pytest.raises(ArtifactError, match="another hash of its weights"):
        read_figures(tmp_path / "out" / "test_metrics.json", Checkpoint.best(tmp_path / "out"))


def test_an_unknown_dimension_gets_the_nearest_name(tmp_path: Path) -> None:
    """A misspelt key and a value that the recipe does not take are both named, before any folder is made."""
    recipe = write(
        tmp_path, {"stages.0.optimizer.lerning_rate": {"low": 0.1, "high": 1}, "stages.0.epochs": {"low": 0, "high": 3}}
    )
    with pytest.raises(RecipeError) as error:
        run(recipe, tmp_path / "out")
    assert "did you mean 'learning_rate'?" in str(error.value)
    assert "epochs: expected at least 1, found 0" in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "key", ["data.split.validation", "labels.kind", "select.metric", "input.text", "stages.0.data.train"]
)
def test_what_trials_are_compared_by_is_no_dimension(tmp_path: Path, key: str) -> None:
    """A setting that changes the rows or the meaning of the figures is refused: trials could not be compared."""
    with pytest.raises(RecipeError, match="same for all trials"):
        load(write(tmp_path, {key: {"choices": [1, 2]}}))


@pytest.mark.parametrize(
    ("dimension", "message"),
    [
        ({"low": 1}, "expected choices, or low and a high"),
        ({"low": 2, "high": 1}, "a high that is not below it"),
        ({"low": 0, "high": 1, "log": True}, "a low above 0"),
        ({"choices": []}, "choices: expected at least one"),
        ({"choices": [1], "low": 1}, "either choices, or low and high"),
    ],
)
def test_a_dimension_without_sense_is_refused(tmp_path: Path, dimension: dict[str, Any], message: str) -> None:
    """Each kind of half-given range is an error of the recipe."""
    with pytest.raises(RecipeError, match=message):
        load(write(tmp_path, {"stages.0.epochs": dimension}))


def test_a_grid_needs_values_that_can_be_counted(tmp_path: Path) -> None:
    """A range of real numbers without a step has no grid."""
    with pytest.raises(RecipeError, match="a grid needs choices"):
        load(write(tmp_path, {RATE: {"low": 0.1, "high": 0.2}}, sampler="grid"))


def test_a_search_in_which_nothing_trains_ends_early(tmp_path: Path) -> None:
    """Where the first trials all fail, the search ends with the reason of the last one instead of trying the rest."""
    recipe = write(tmp_path, {"stages.0.freeze.keep_last_layers": {"low": 7, "high": 90}}, trials=50)
    with pytest.raises(ClassifactError, match="none of the first 3 trials") as error:
        run(recipe, tmp_path / "out")
    assert "keep_last_layers is more than the encoder has" in str(error.value)


def test_a_recipe_without_a_sweep_part_is_refused(tmp_path: Path) -> None:
    """There is nothing to search over."""
    with pytest.raises(InputError, match="no sweep part"):
        run(runs.write_recipe(tmp_path), tmp_path / "out")


def test_two_searches_in_one_folder_are_refused(grid: Path) -> None:
    """While one process searches, a second one with the same command is told so and changes nothing."""
    code = (
        "import fcntl, sys, time; file = open(sys.argv[1], 'a'); fcntl.flock(file, fcntl.LOCK_EX);"
        "print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(grid / "out" / ".lock")], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            with pytest.raises(InputError, match="another process"):
                run(grid / "recipe.yaml", grid / "out", resume=True)
        finally:
            process.kill()


@pytest.mark.slow
def test_launched_processes_share_the_trials(tmp_path: Path) -> None:
    """Under accelerate launch two processes work through one search: every trial once, and one result at the end."""
    recipe = write(tmp_path, {RATE: {"choices": [3e-3, 1e-3, 1e-4, 1e-9]}}, sampler="grid", pruner="none")
    process = launched(recipe, tmp_path / "out")
    assert process.returncode == 0, process.stderr
    results = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]
    assert [result["states"]["complete"] for result in results] == [4]
    assert results[0]["best"]["settings"][RATE] >= 1e-3
    assert Checkpoint.best(tmp_path / "out").path.is_dir()
    # What only the first process looks at: the other one, which waits for it, has nothing to add.
    again = launched(recipe, tmp_path / "out")
    assert (again.returncode, again.stderr.count("error: "), again.stderr.count("[rank1]")) == (1, 1, 0), again.stderr
    assert "the output exists already" in again.stderr


def launched(recipe: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """A search by two processes, ended."""
    command = ["-m", "accelerate.commands.launch", "--config_file", "launch_configs/two_cpu_processes.yaml"]
    command += ["--main_process_port", runs.free_port()]
    return subprocess.run(
        [sys.executable, *command, "--module", "trainer", "sweep", str(recipe), "--out", str(out)],
        cwd=runs.ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=230,
    )
