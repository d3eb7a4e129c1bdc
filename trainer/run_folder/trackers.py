"""Experiment trackers, by name and through Accelerate's own mechanism. None is started that the recipe does not name;
`metrics.jsonl` is always written.
"""

import importlib.util
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from trainer.contract.errors import InputError, nearest
from trainer.contract.system.files import json_line
from trainer.recipes.file import without_folders
from trainer.recipes.recipe import Recipe

# A tracker's name in Accelerate, which is also that of its package and of our extra.
TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")
TRACKERS_FOLDER = "trackers"


def check_trackers(names: tuple[str, ...]) -> None:
    """Raise InputError for an unknown tracker, or one that is not installed (Accelerate leaves it out silently)."""
    for name in names:
        if name not in TRACKERS:
            raise InputError(
                f"unknown tracker {name!r}",
                where="tracking",
                expected=", ".join(TRACKERS),
                do=nearest(name, TRACKERS) or "correct the recipe",
            )
        if importlib.util.find_spec(name) is None:
            raise InputError(f"the tracker {name!r} is not installed", where="tracking", do=f"pip install {name}")


@contextmanager
def tracking(accelerator: Accelerator, recipe: Recipe, out: Path) -> Iterator[None]:
    """Start what the recipe names, on the main process, and end it with the block; each is told every value of the
    recipe, but of the folders that its files lie in.

    tensorboard and wandb write below RUN/trackers, mlflow and trackio where their own settings say. Raises InputError
    where a tracker does not start (no account, no connection).
    """
    if recipe.tracking:
        _start(accelerator, recipe, out)
    try:
        yield
    finally:
        # Also after an error: a search's next run in this process must not go into this run's record.
        with redirect_stdout(sys.stderr):
            for tracker in accelerator.trackers:
                tracker.finish()
        accelerator.trackers = []


def _start(accelerator: Accelerator, recipe: Recipe, out: Path) -> None:
    if accelerator.is_main_process:
        (out / TRACKERS_FOLDER).mkdir(exist_ok=True)
    # What Accelerate passes on to each tracker's own start, so that its runs carry the run directory's name.
    own = {
        "wandb": {"dir": str(out / TRACKERS_FOLDER), "name": out.name},
        "mlflow": {"run_name": out.name},
        "trackio": {"name": out.name},
    }
    try:
        # The name becomes a folder for tensorboard and a project for the others.
        project = re.sub(r"[^\w-]+", "_", recipe.name)
        # What they have to say is no result of ours. (trackio says one more thing at the very end of the process.)
        with redirect_stdout(sys.stderr):
            accelerator.init_trackers(project, config=dict(_flat("", without_folders(recipe).plain())), init_kwargs=own)
    except Exception as error:
        logging.getLogger(__name__).debug("starting trackers", exc_info=True)
        raise InputError(
            "a tracker does not start",
            where=f"tracking: {', '.join(recipe.tracking)}",
            found=" ".join(str(error).split())[:300],
            do="set it up as its own documentation says (WANDB_MODE=offline needs no account), or take it out",
        ) from error


def _flat(key: str, value: Any) -> list[tuple[str, Any]]:
    """A plain recipe as `stages.0.epochs`-like keys and single values, which is all that trackers take."""
    if isinstance(value, dict):
        items = [(f"{key}.{name}".strip("."), item) for name, item in value.items()]
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        items = [(f"{key}.{place}", item) for place, item in enumerate(value)]
    else:
        return [(key, json_line(value) if isinstance(value, list) or value is None else value)]
    return [pair for name, item in items for pair in _flat(name, item)]
