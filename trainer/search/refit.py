"""The last fit of a search: the best settings once more, on train and validation rows together."""

import json
from pathlib import Path
from typing import Any

from trainer.recipes.file import changed, load
from trainer.recipes.recipe import Recipe
from trainer.run_folder.keeper import goodness
from trainer.run_folder.track import METRICS_FILE
from trainer.search.trial_runs import make_run
from trainer.stages import TrainJob, train

FOLDER = "refit"


def refit(run: Path, folder: Path, *, quiet: bool) -> dict[str, Any]:
    """Train `folder`/refit, which goes on where it was killed; gives what sweep.json says of it.

    Each stage runs for the epochs after which the best trial's run (`run`) was at its best, and its last weights are
    kept: with the validation rows among the training rows there is nothing to choose by, and no validation figure.
    """
    recipe = load(run / "recipe.yaml")
    epochs = best_epochs(run, recipe)
    settings: dict[str, Any] = {}
    for number, count in enumerate(epochs):
        settings |= {f"stages.{number}.epochs": count, f"stages.{number}.early_stopping": None}
    again, out = changed(recipe, settings, "refit"), folder / FOLDER
    make_run(out, again, folder / "splits")
    train(TrainJob(recipe=again, out=out, resume=True, quiet=quiet, refit=True))
    note = "trained on train and validation rows: it has no validation figure"
    return {"run": FOLDER, "epochs": epochs, "note": note}


def best_epochs(run: Path, recipe: Recipe) -> list[int]:
    """The epoch in which each stage had its best evaluation, counted from 1."""
    lines = [json.loads(line) for line in (run / METRICS_FILE).read_bytes().splitlines()]
    found = []
    for number in range(1, len(recipe.stages) + 1):
        own = [line for line in lines if line["kind"] == "evaluation" and line["stage"] == number]
        best = max(own, key=lambda line: (goodness(recipe.select.metric, line[recipe.select.metric]), -line["step"]))
        found.append(int(best["epoch"]))
    return found
