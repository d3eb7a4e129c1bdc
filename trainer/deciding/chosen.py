"""What else the validation rows chose: among how many checkpoints, and in how many trials of a search."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import lcm, prod
from pathlib import Path

from trainer.contract.checkpoint import Checkpoint
from trainer.contract.system.files import read_json
from trainer.data.splits import SUMMARY
from trainer.recipes.recipe import Recipe, Stage
from trainer.run_folder.track import METRICS_FILE

_SEARCH = "sweep.json"
_NOT_ALLOWED_FOR = "which no promise allows for"


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
        refit = read_json(run / "splits" / SUMMARY).get("refit")
        if refit is not None:
            trials = refit.get("trials", 0)
            said = f"These rows chose no checkpoint, but settings and epochs among {trials} trials of a search, "
            return cls(metric=checkpoint.metric, checkpoints=1, trials=trials, said=f"{said}{_NOT_ALLOWED_FOR}.")
        batches = [place["batches"] for place in _first_evaluations(run, recipe)[: checkpoint.stage + 1]]
        count = planned(recipe.stages, batches)
        trials = len(read_json(run / _SEARCH)["trials"]) if (run / _SEARCH).is_file() else 0
        return cls(metric=checkpoint.metric, checkpoints=count, trials=trials, said=_said(checkpoint, count, trials))


def planned(stages: Sequence[Stage], batches: Sequence[int]) -> int:
    """Among how many checkpoints the validation rows choose: see `ChoseCheckpoint.checkpoints`. batches: of an epoch,
    for each of the first stages.
    """
    return prod(_evaluations(stage, count) for stage, count in zip(stages, batches, strict=False))


def _evaluations(stage: Stage, batches: int) -> int:
    """One at the end of an epoch, and one each `evaluate_every` steps."""
    if stage.evaluate_every is None:
        return stage.epochs
    steps, every = stage.epochs * batches, stage.evaluate_every
    return stage.epochs + steps // every - steps // lcm(every, batches)


def _first_evaluations(run: Path, recipe: Recipe) -> list[dict[str, int]]:
    """The place of each stage's first one."""
    lines = [json.loads(line) for line in (run / METRICS_FILE).read_bytes().splitlines()]
    found = [line for line in lines if line["kind"] == "evaluation"]
    return [next(line for line in found if line["stage"] == number + 1) for number in range(len(recipe.stages))]


def _said(checkpoint: Checkpoint, count: int, trials: int) -> str:
    among = "" if count == 1 else f" among {count}, and each promise allows for that"
    said = f"The same rows chose the checkpoint by {checkpoint.metric}{among}."
    if count == 1:
        said = "There was one checkpoint, so these rows chose none."
    if trials:
        said += f" They also chose the settings among {trials} trials of a search, {_NOT_ALLOWED_FOR}."
    return said
