"""The last fit of a search: the best settings once more, on train and most validation rows together."""

import dataclasses
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from trainer.contract.errors import InputError
from trainer.contract.system.files import atomic_folder, read_json, write_json
from trainer.data.joined import hold_back, join_validation
from trainer.data.splits import SUMMARY, Splits
from trainer.data.splitting.refusals import HELD, refuse_unmeasurable
from trainer.decide import refuse_early
from trainer.recipes.file import changed, is_free, load, recipe_differences, save_recipe
from trainer.recipes.recipe import Recipe
from trainer.run_folder.folder import RUN_RECIPE
from trainer.run_folder.keeper import goodness
from trainer.run_folder.track import METRICS_FILE
from trainer.search.trial_runs import link_tree
from trainer.stages import prepare_splits, train
from trainer.training import TrainJob

REFIT_FOLDER, RESULT = "refit", "sweep.json"


def foresee_refit(asked: Recipe, splits: list[Splits], say: Callable[[str], None]) -> None:
    """Look at the rows that a refit will be measured on, before any trial. asked: the search's recipe.

    Raises InputError where they cannot give its metric, or its decisions.
    """
    last = splits[-1]
    kept, _ = hold_back(last)
    where = f"{len(kept)} of {len(last.validation)} validation rows, which sweep.refit holds back"
    refuse_unmeasurable(kept.labels, last.space, {"select.metric": asked.select.metric}, where)
    try:
        refuse_early(asked, [*splits[:-1], dataclasses.replace(last, validation=kept)], choosing=False)
    except InputError as error:
        raise InputError(error.what, where=where, do=f"{error.details['do']}; or leave sweep.refit out") from None
    if len(kept) < HELD:
        say(f"warning: the refit is measured on {where}; an export of it is proved with at least {HELD}")


def refit(run: Path, asked: Recipe, folder: Path, *, quiet: bool) -> dict[str, Any]:
    """Train `folder`/refit, which goes on where it was killed; gives what sweep.json says of it.

    Each stage runs for the epochs after which the best trial's run (`run`) was at its best, and its last weights are
    kept: the few validation rows that are held back measure them, and choose none. A refit of an earlier best trial
    is moved aside. asked: the search's recipe, whose decisions its trials leave out.
    """
    recipe = load(run / RUN_RECIPE)
    epochs = best_epochs(run, recipe)
    settings: dict[str, Any] = {}
    for number, epoch in enumerate(epochs):
        settings |= {f"stages.{number}.epochs": epoch, f"stages.{number}.early_stopping": None}
    again = dataclasses.replace(changed(recipe, settings, "refit"), decisions=asked.decisions)
    out = folder / REFIT_FOLDER
    if out.exists() and not all(map(is_free, recipe_differences(again.plain(), load(out / RUN_RECIPE).plain()))):
        out.rename(_unused(folder))
    if not out.exists():
        _make_run(out, again, folder)
    _note_trials(out, folder)
    result = train(TrainJob(recipe=again, out=out, resume=True, quiet=quiet, refit=True))
    rows = read_json(out / "splits" / SUMMARY)["refit"]
    note = f"trained on train and {rows['joined']} validation rows, measured on the other {rows['held']}"
    told = {"joined": rows["joined"], "held": rows["held"]}
    return {"run": REFIT_FOLDER, "epochs": epochs, "note": note, **told, "validation": result["validation"]}


def _note_trials(out: Path, search: Path) -> None:
    """Keep with the refit how many trials its rows helped to choose among."""
    path, trials = out / "splits" / SUMMARY, len(read_json(search / RESULT)["trials"])
    summary = read_json(path)
    write_json(path, {**summary, "refit": {**summary["refit"], "trials": trials}})


def _make_run(out: Path, recipe: Recipe, search: Path) -> None:
    """A run directory with the search's splits, but for the validation rows that join those of the last stage's train.

    An earlier stage that has other data keeps its own.
    """
    last = prepare_splits(recipe, search)[-1]
    with atomic_folder(out) as partial:
        save_recipe(recipe, partial / RUN_RECIPE)
        (partial / "checkpoints").mkdir()
        link_tree(search / "splits", partial / "splits")
        join_validation(last, partial / "splits")


def _unused(folder: Path) -> Path:
    """A name for a refit that is no longer that of the best trial."""
    return next(path for path in (folder / f"{REFIT_FOLDER}_{number}" for number in count(1)) if not path.exists())


def best_epochs(run: Path, recipe: Recipe) -> list[int]:
    """The epoch in which each stage had its best evaluation, counted from 1."""
    lines = [json.loads(line) for line in (run / METRICS_FILE).read_bytes().splitlines()]
    found = []
    for number in range(1, len(recipe.stages) + 1):
        own = [line for line in lines if line["kind"] == "evaluation" and line["stage"] == number]
        best = max(own, key=lambda line: (goodness(recipe.select.metric, line[recipe.select.metric]), -line["step"]))
        found.append(int(best["epoch"]))
    return found
