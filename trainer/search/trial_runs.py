"""The run directories of a search: one a trial (and seed), all on the same splits; of the weights only the best stay.

DIR/trials/0003/          a run directory (with several seeds: trials/0003/seed_1/, ...)
DIR/splits/               shared by all, made once
DIR/recipe.yaml ...       in the end the best trial's run, so that DIR is a run like any other
"""

import dataclasses
import os
import shutil
from pathlib import Path

from trainer.contract.system.files import atomic_file, atomic_folder
from trainer.recipes.data_part import DataPart
from trainer.recipes.file import save_recipe
from trainer.recipes.recipe import Recipe
from trainer.run_folder.folder import BEST_FIGURES
from trainer.run_folder.track import METRICS_FILE

WEIGHT_FOLDERS = ("checkpoints", "resume")


def trial_folder(folder: Path, number: int) -> Path:
    """Where a trial lies."""
    return folder / "trials" / f"{number:04d}"


def make_run(run: Path, recipe: Recipe, splits: Path) -> None:
    """A run directory that training goes on from as if it had been interrupted at once: a recipe, and splits made
    already.
    """
    if run.exists():
        return
    with atomic_folder(run) as partial:
        save_recipe(recipe, partial / "recipe.yaml")
        (partial / "checkpoints").mkdir()
        link_tree(splits, partial / "splits")


def drop_weights(run: Path) -> None:
    """Remove what a run that lost needs space for; its recipe, log and metrics stay."""
    (run / "best.json").unlink(missing_ok=True)
    for name in WEIGHT_FOLDERS:
        shutil.rmtree(run / name, ignore_errors=True)


def adopt(run: Path, folder: Path) -> None:
    """Make `folder` the run that `run` is. Killed on the way, it is no run yet, and doing it again completes it."""
    for name in (BEST_FIGURES, "best.json"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    with atomic_folder(folder / "checkpoints") as partial:
        link_tree(run / "checkpoints", partial)
    # metrics.json last: it says that the run is finished.
    for name in ("recipe.yaml", METRICS_FILE, "best.json", BEST_FIGURES):
        with atomic_file(folder / name) as file:
            file.write((run / name).read_bytes())


def pinned(recipe: Recipe) -> Recipe:
    """The recipe of every trial but for its own values: splits keep the search's seed, whatever a trial's is. Only the
    best one's decisions are fitted, in the end.
    """

    def data(part: DataPart) -> DataPart:
        """The part with its split's seed written out."""
        seed = recipe.seed if part.split.seed is None else part.split.seed
        return dataclasses.replace(part, split=dataclasses.replace(part.split, seed=seed))

    stages = tuple(
        stage if stage.data is None else dataclasses.replace(stage, data=data(stage.data)) for stage in recipe.stages
    )
    return dataclasses.replace(recipe, data=data(recipe.data), stages=stages, sweep=None, decisions=None)


def link_tree(source: Path, target: Path) -> None:
    """The same files under another folder: a second name where the file system has such, else a copy."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, place)
        except OSError:
            shutil.copy2(path, place)
