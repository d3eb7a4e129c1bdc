"""The run directory itself: made or found, held by one command at a time, taken away again, and marked as finished."""

import json
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import ClassifactError, InputError
from trainer.contract.figures.stamped import read_figures, write_figures
from trainer.contract.system.files import refuse_existing, remove_partials
from trainer.contract.system.locks import hold
from trainer.data.splits import Splits
from trainer.processes.start import first_process_first
from trainer.recipes.file import is_free, load, recipe_differences, save_recipe
from trainer.recipes.recipe import Recipe
from trainer.run_folder.track import LAUNCH, METRICS_FILE

BEST_FIGURES = "metrics.json"
RUN_RECIPE = "recipe.yaml"
# Hidden, and of the name that a first file's remains have, so that an output with nothing else in it counts as free.
RUN_LOCK = f".{RUN_RECIPE}.lock"


def open_run(recipe: Recipe, out: Path, *, resume: bool, accelerator: Accelerator) -> dict[str, Any] | None:
    """Make the run's folder, or compare the one there with the recipe. Gives the figures of a run that is finished.

    Raises InputError where the folder exists and `resume` is off, or holds a run of another recipe; ArtifactError where
    its figures are of other weights than its best checkpoint's.
    """
    # The others compare their recipe with the one that the first has written.
    with first_process_first(accelerator):
        saved = out / RUN_RECIPE
        if accelerator.is_main_process and not (resume and saved.exists()):
            if resume and out.is_dir() and all(path.name.startswith(f".{saved.name}.") for path in out.iterdir()):
                # A run that was killed as it wrote its first file.
                remove_partials(out)
            refuse_existing(out)
            out.mkdir(parents=True, exist_ok=True)
            save_recipe(recipe, saved)
        if accelerator.is_main_process:
            (out / "checkpoints").mkdir(exist_ok=True)
        other = [text for text in recipe_differences(recipe.plain(), load(saved).plain()) if not is_free(text)]
        if other:
            raise InputError(
                "the run was made by another recipe",
                where=saved,
                found="; ".join(other[:5]),
                do="choose another --out, or go back to that recipe",
            )
    return _figures(out) if (out / BEST_FIGURES).exists() else None


def _figures(out: Path) -> dict[str, Any]:
    """What a finished run says of its best checkpoint. Raises ArtifactError where that is another one now."""
    do = "train into a new folder, or restore best.json and the checkpoint"
    return read_figures(out / BEST_FIGURES, Checkpoint.best(out), decided=False, do=do)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock that ends with the process, however it ends. Raises InputError where another has it and `wait` is
    off.
    """
    try:
        held = hold(path, wait=wait)
    except BlockingIOError:
        raise InputError(
            "another process works in this folder", where=path.parent, do="wait for it, or choose another --out"
        ) from None
    with held:
        yield


def sole_writer(out: Path, accelerator: Accelerator) -> AbstractContextManager[None]:
    """Keep other commands out of a run: a launcher that was killed may leave its processes at work.

    Raises InputError where another one is in it.
    """
    # A file of its own: the recipe's is replaced by a resume that changes it, and a lock stays with the old one.
    return locked(out / RUN_LOCK, wait=False) if accelerator.is_main_process else nullcontext()


def take_over(recipe: Recipe, out: Path, accelerator: Accelerator) -> list[str]:
    """Make `recipe` the run's where it differs in what `open_run` lets differ; gives the differences. Only the sole
    writer may call it.
    """
    changes = recipe_differences(recipe.plain(), load(out / RUN_RECIPE).plain())
    accelerator.wait_for_everyone()
    if changes and accelerator.is_main_process:
        save_recipe(recipe, out / RUN_RECIPE)
    return changes


@contextmanager
def discard_unstarted(out: Path, accelerator: Accelerator) -> Iterator[None]:
    """Take the run's folder away again where preparing it fails, so that the mended command finds its output free.

    Only what we made there, and only where nothing was trained yet.
    """
    try:
        yield
    except ClassifactError:
        if (
            accelerator.is_main_process
            and not (out / METRICS_FILE).exists()
            and not any((out / "checkpoints").iterdir())
        ):
            for name in (RUN_RECIPE, RUN_LOCK):
                (out / name).unlink(missing_ok=True)
            (out / "checkpoints").rmdir()
            shutil.rmtree(out / "splits", ignore_errors=True)
            with suppress(OSError):
                out.rmdir()
        raise


def finish_run(out: Path, accelerator: Accelerator, steps: int, *, refit: bool, splits: Splits) -> dict[str, Any]:
    """Write metrics.json, which also marks the run as finished: the validation figures of the best checkpoint.

    refit: whether most validation rows were trained on; the figures are of the others. splits: of the last stage.
    """
    best = Checkpoint.best(out)
    lines = (
        [json.loads(line) for line in (out / METRICS_FILE).read_bytes().splitlines()]
        if accelerator.is_main_process
        else []
    )
    figures = [line for line in lines if line["kind"] == "evaluation" and line["step"] == best.step]
    launched = [line for line in lines if line["kind"] == LAUNCH]
    measured = figures[-1] if figures else {}
    place = {"kind", "stage", "epoch", "step", "batch", "batches", "constant"}
    result = {
        "checkpoint": best.path.name,
        "metric": best.metric,
        "value": best.value,
        "stage": best.stage + 1,
        "epoch": best.epoch,
        "step": best.step,
        "steps": steps,
        "refit": refit,
        "also_in_train": splits.summary.get("train_rows_in", {}),
        # Where the steps after each were taken, and in which precision; several where the run was resumed.
        "launches": [{name: value for name, value in line.items() if name != "kind"} for line in launched],
        "validation": {name: value for name, value in measured.items() if name not in place},
        "constant": measured.get("constant"),
    }
    if accelerator.is_main_process:
        write_figures(out / BEST_FIGURES, result, best)
    accelerator.end_training()
    return result
