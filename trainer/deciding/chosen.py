"""What else the validation rows chose: among how many checkpoints, and in how many trials of a search."""

import json
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from trainer.contract.checkpoint import Checkpoint
from trainer.contract.system.files import read_json
from trainer.recipes.recipe import Recipe
from trainer.run_folder.folder import BEST_FIGURES
from trainer.run_folder.track import METRICS_FILE

_SEARCH = "sweep.json"


@dataclass(frozen=True, kw_only=True)
class ChoseCheckpoint:
    """How the checkpoint was chosen on the rows that decisions are fitted on."""

    metric: str
    checkpoints: int
    """How many it might have been: one an evaluation, times those that earlier stages might have started from. Of a
    stage that stops early all that were planned count, since these rows also chose when to stop.
    """
    trials: int
    """Of a search; 0 without one."""
    said: str

    @classmethod
    def of(cls, run: Path, recipe: Recipe, checkpoint: Checkpoint) -> "ChoseCheckpoint":
        """Read a finished run's log."""
        if read_json(run / BEST_FIGURES).get("refit"):
            return cls(metric=checkpoint.metric, checkpoints=1, trials=0, said="these rows chose no checkpoint")
        count = 1
        for number, evaluations in enumerate(_evaluations(run, recipe)[: checkpoint.stage + 1]):
            stage = recipe.stages[number]
            count *= _planned(recipe, number, evaluations[0]) if stage.early_stopping else len(evaluations)
        trials = len(read_json(run / _SEARCH)["trials"]) if (run / _SEARCH).is_file() else 0
        return cls(metric=checkpoint.metric, checkpoints=count, trials=trials, said=_said(checkpoint, count, trials))


def _evaluations(run: Path, recipe: Recipe) -> list[list[dict[str, int]]]:
    """The places of each stage's evaluations."""
    lines = [json.loads(line) for line in (run / METRICS_FILE).read_bytes().splitlines()]
    found = [line for line in lines if line["kind"] == "evaluation"]
    return [[line for line in found if line["stage"] == number + 1] for number in range(len(recipe.stages))]


def _planned(recipe: Recipe, number: int, place: dict[str, int]) -> int:
    """How many evaluations the stage has if it does not stop early, at most."""
    stage = recipe.stages[number]
    between = 0 if stage.evaluate_every is None else ceil(stage.epochs * place["batches"] / stage.evaluate_every)
    return stage.epochs + between


def _said(checkpoint: Checkpoint, count: int, trials: int) -> str:
    among = "" if count == 1 else f" among {count}, and each promise allows for that"
    said = f"The same rows chose the checkpoint by {checkpoint.metric}{among}."
    if count == 1:
        said = "There was one checkpoint, so these rows chose none."
    if trials:
        said += f" They also chose the settings among {trials} trials of a search, which no promise allows for."
    return said
