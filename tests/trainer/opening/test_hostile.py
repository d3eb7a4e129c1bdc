"""A model folder is data: whatever it says, no road that opens it runs its code or writes outside of its output."""

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoTokenizer

from export.pipeline import ExportJob, export
from tests import tiny
from tests.trainer import runs
from tests.trainer.opening import hostile
from trainer.checks.lint import lint
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import ArtifactError, ClassifactError
from trainer.contract.system.files import read_json
from trainer.decide import DecideJob, decide
from trainer.evaluate import MeasureJob, measure
from trainer.recipes.decisions_part import DecisionsPart
from trainer.recipes.file import load
from trainer.review.suspects import SuspectsJob, find_suspects
from trainer.search.sweep import SweepJob, sweep
from trainer.stages import train
from trainer.training import TrainJob

STAGE: dict[str, Any] = {"epochs": 1, "batch": {"rows": 8, "tokens": 64}}
LORA = {**STAGE, "lora": {"rank": 2}}
SWEEP = {"space": {"seed": {"choices": [1]}}, "metric": "loss", "trials": 1}


def recipe(folder: Path, stage: dict[str, Any]) -> Any:
    """The tiny recipe with a search, loaded."""
    return load(runs.write_recipe(folder, rows=240, stages=[stage], sweep=SWEEP))


ROADS: dict[str, Callable[[Path], object]] = {
    "train": lambda folder: train(TrainJob(recipe=recipe(folder, STAGE), out=folder / "run", quiet=True)),
    "lora": lambda folder: train(TrainJob(recipe=recipe(folder, LORA), out=folder / "run", quiet=True)),
    "sweep": lambda folder: sweep(SweepJob(recipe=recipe(folder, STAGE), out=folder / "run", quiet=True)),
    "lint": lambda folder: lint(recipe(folder, STAGE)),
}
# Roads to the best checkpoint of a finished run, which somebody else may have made.
LATER: dict[str, Callable[[Path], object]] = {
    "evaluate": lambda run: measure(MeasureJob(run=run, split="validation")),
    "export": lambda run: export(
        ExportJob(run=run, out=run.parent / "bundle", precisions=("fp32",), timing=False, anyway=True, quiet=True)
    ),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the tiny recipe, and the folder of its model."""
    folder = tmp_path_factory.mktemp("hostile")
    ROADS["train"](folder)
    return folder


@pytest.mark.parametrize("kind", ["lightglue", "auto_map", "template"])
def test_the_canary_can_sing(kind: str, tmp_path: Path) -> None:
    """What the tests below refuse does run, or write, where transformers opens the folder by itself."""
    model, canary = tiny.encoder(tmp_path / "model"), tmp_path / "canary.jinja"
    getattr(hostile, kind)(model, canary)
    try:
        if kind == "lightglue":
            AutoConfig.from_pretrained(model, trust_remote_code=False)
        else:
            tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=kind == "auto_map")
            tokenizer.chat_template = tokenizer.chat_template or {}
            (tmp_path / "saved" / "additional_chat_templates").mkdir(parents=True)
            tokenizer.save_pretrained(tmp_path / "saved")
    except (ValueError, KeyError):
        # A later transformers refuses it itself.
        assert not canary.exists()
        pytest.skip("this version of transformers is mended")
    assert canary.exists()


@pytest.mark.parametrize(
    ("kind", "road"),
    [
        # One kind on every road, every kind on one road; the rest takes minutes.
        pytest.param(kind, road, marks=[] if kind == "lightglue" or road == "train" else pytest.mark.slow)
        for kind in hostile.REFUSED
        for road in ROADS
    ],
)
def test_a_model_that_asks_for_code_is_refused(kind: str, road: str, tmp_path: Path) -> None:
    """Every road that would train on it refuses it by key and reason, nothing ran, and no output is left."""
    make, key = hostile.REFUSED[kind]
    recipe(tmp_path, STAGE)
    make(tmp_path / "encoder", tmp_path / "canary.jinja")
    if road == "lint":
        # It reads tokenizer.json alone, which names no code, and trains nothing.
        ROADS[road](tmp_path)
    else:
        with pytest.raises(ClassifactError, match=key):
            ROADS[road](tmp_path)
    assert not (tmp_path / "canary.jinja").exists()
    assert road == "sweep" or not (tmp_path / "run").exists()


@pytest.mark.parametrize("road", LATER)
@pytest.mark.parametrize("kind", hostile.REFUSED)
def test_a_checkpoint_that_asks_for_code_is_refused(kind: str, road: str, trained: Path, tmp_path: Path) -> None:
    """So do evaluate and export, whose checkpoint has all its hashes right; no bundle is left."""
    make, key = hostile.REFUSED[kind]
    shutil.copytree(trained / "run", tmp_path / "run")
    checkpoint = Checkpoint.best(tmp_path / "run")
    make(checkpoint.path, tmp_path / "canary.jinja")
    checkpoint.save()
    with pytest.raises(ClassifactError, match=key):
        LATER[road](tmp_path / "run")
    assert not (tmp_path / "canary.jinja").exists()
    assert not (tmp_path / "bundle").exists()


# What else looks at a finished run: one opens its checkpoint, the other its model.
BESIDE: dict[str, Callable[[Path], object]] = {
    "decide": lambda run: decide(DecideJob(run=run, asked=DecisionsPart(temperature=False))),
    "suspects": lambda run: find_suspects(SuspectsJob(run=run, quiet=True)),
}


@pytest.mark.parametrize("road", BESIDE)
@pytest.mark.parametrize("kind", ["lightglue", "auto_map"])
def test_what_looks_at_a_run_runs_nothing_of_it(kind: str, road: str, trained: Path, tmp_path: Path) -> None:
    """Checkpoint and model hostile alike: `decide` refuses the one, `suspects` the other, and nothing ran."""
    make, key = hostile.REFUSED[kind]
    for name in ("run", "encoder"):
        shutil.copytree(trained / name, tmp_path / name)
    shutil.copyfile(trained / "rows.csv", tmp_path / "rows.csv")
    for path in (tmp_path / "run" / "recipe.yaml", *(tmp_path / "run").rglob("*.json")):
        path.write_text(path.read_text(encoding="utf-8").replace(str(trained), str(tmp_path)), encoding="utf-8")
    checkpoint = Checkpoint.best(tmp_path / "run")
    make(checkpoint.path, tmp_path / "canary.jinja")
    shutil.rmtree(checkpoint.path.parent / "evil", ignore_errors=True)
    make(tmp_path / "encoder", tmp_path / "canary.jinja")
    checkpoint.save()
    with pytest.raises(ClassifactError, match=key):
        BESIDE[road](tmp_path / "run")
    assert not (tmp_path / "canary.jinja").exists()


@pytest.mark.parametrize("road", ROADS)
def test_chat_templates_are_left_behind(road: str, tmp_path: Path) -> None:
    """A model with templates trains; none is in the checkpoint, and none was written anywhere."""
    recipe(tmp_path, STAGE)
    hostile.template(tmp_path / "encoder", tmp_path / "canary.jinja")
    ROADS[road](tmp_path)
    assert not (tmp_path / "canary.jinja").exists()
    assert road == "lint" or not list((tmp_path / "run").rglob("*.jinja"))
    for path in (tmp_path / "run").rglob("tokenizer_config.json"):
        assert "chat_template" not in read_json(path)


@pytest.mark.parametrize("road", LATER)
def test_chat_templates_do_not_reach_a_bundle(road: str, trained: Path, tmp_path: Path) -> None:
    """Nor from a checkpoint: no file of the bundle has one, for other tools that open it."""
    shutil.copytree(trained / "run", tmp_path / "run")
    checkpoint = Checkpoint.best(tmp_path / "run")
    hostile.template(checkpoint.path, tmp_path / "canary.jinja")
    checkpoint.save()
    LATER[road](tmp_path / "run")
    assert not (tmp_path / "canary.jinja").exists()
    for path in (tmp_path / "bundle").rglob("*.json"):
        assert "gotcha" not in path.read_text(encoding="utf-8"), path.name


class _Runs:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.canary),))


def test_a_resume_opens_nothing_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A saved state that is a pickle with code is refused, and so is a model that turned hostile meanwhile."""
    job = TrainJob(recipe=recipe(tmp_path, {**STAGE, "epochs": 2}), out=tmp_path / "run", quiet=True, resume=True)
    monkeypatch.setattr("trainer.run_folder.keeper.StopRequest.received", property(lambda _: True))
    with pytest.raises(ClassifactError, match="interrupted"):
        train(job)
    monkeypatch.undo()
    (state,) = (tmp_path / "run" / "resume").glob("*/training.pt")
    kept = state.read_bytes()
    state.write_bytes(pickle.dumps(_Runs(tmp_path / "canary"), protocol=2))
    with pytest.raises(ArtifactError, match="resume state cannot be read"):
        train(job)
    torch.save({"optimizer": _Runs(tmp_path / "canary")}, state)
    with pytest.raises(ArtifactError, match="resume state cannot be read"):
        train(job)
    state.write_bytes(kept)
    config = (tmp_path / "encoder" / "config.json").read_bytes()
    hostile.lightglue(tmp_path / "encoder", tmp_path / "canary")
    with pytest.raises(ClassifactError, match="lightglue"):
        train(job)
    assert not (tmp_path / "canary").exists()
    (tmp_path / "encoder" / "config.json").write_bytes(config)
    assert train(job)["epoch"] > 0
