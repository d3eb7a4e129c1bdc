"""The search itself, in optuna's hands: its database, its samplers and its pruners."""

import itertools
import json
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from trainer.contract.errors import RecipeError
from trainer.contract.figures.metrics import LOWER_IS_BETTER
from trainer.contract.system.files import json_line
from trainer.recipes.file import changed
from trainer.recipes.recipe import Recipe
from trainer.recipes.sweep_part import Dimension, SweepPart
from trainer.run_folder.folder import locked

DATABASE = "trials.db"
# The lock for what only one process may do at a time.
STUDY_LOCK = ".trials.lock"
STUDY_NAME = "sweep"


@contextmanager
def opened_study(folder: Path, recipe: Recipe, part: SweepPart) -> Iterator[optuna.Study]:
    """The study in `folder`, made where there is none; its connections end with the block."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Several processes may write at once: wait for the other one.
    options = {"connect_args": {"timeout": 120}}
    lower = objective(recipe, part) in LOWER_IS_BETTER
    # Of processes that start together one makes the tables.
    with locked(folder / STUDY_LOCK):
        storage = optuna.storages.RDBStorage(f"sqlite:///{(folder / DATABASE).absolute()}", engine_kwargs=options)
        study = optuna.create_study(
            storage=storage,
            study_name=STUDY_NAME,
            direction=StudyDirection.MINIMIZE if lower else StudyDirection.MAXIMIZE,
            pruner=_pruner(part),
            load_if_exists=True,
        )
    try:
        yield study
    finally:
        storage.remove_session()
        storage.engine.dispose()


def objective(recipe: Recipe, part: SweepPart) -> str:
    """The metric that trials are compared by."""
    return part.metric or recipe.select.metric


def distributions(recipe: Recipe, part: SweepPart) -> dict[str, BaseDistribution]:
    """Optuna's form of the space, each end and choice of it tried on the recipe.

    Raises RecipeError with every value that the recipe does not take, a misspelt key with the nearest name.
    """
    problems: list[str] = []
    for key, dimension in part.space.items():
        for value in dimension.choices if dimension.choices is not None else (dimension.low, dimension.high):
            try:
                changed(recipe, {key: value}, "sweep.space")
            except RecipeError as error:
                problems += [line for line in error.what.splitlines()[1:] if line not in problems]
    if problems:
        raise RecipeError("\n".join(["values of sweep.space do not fit the recipe", *problems]))
    return {key: _distribution(dimension, _value_at(recipe.plain(), key)) for key, dimension in part.space.items()}


def budget(part: SweepPart, space: dict[str, BaseDistribution]) -> int:
    """How many settings will be tried."""
    return min(part.trials, len(_grid(space))) if part.sampler == "grid" else part.trials


def queue_grid(study: optuna.Study, part: SweepPart, space: dict[str, BaseDistribution], seed: int) -> None:
    """Queue a grid's settings, in an order that spreads a part of them over the whole; nothing for other samplers."""
    if part.sampler == "grid":
        queued = _grid(space)
        random.Random(seed).shuffle(queued)  # noqa: S311 -- an order, not a secret
        # What is there already was queued before a kill.
        for setting in queued[len(study.get_trials(deepcopy=False)) : part.trials]:
            study.enqueue_trial(setting)


def ask(study: optuna.Study, part: SweepPart, space: dict[str, BaseDistribution], seed: int) -> optuna.Trial | None:
    """The next trial with all its values, or None where enough were asked for."""
    asked = sum(trial.state != TrialState.WAITING for trial in study.get_trials(deepcopy=False))
    if asked >= budget(part, space):
        return None
    study.sampler = _sampler(part, seed, asked)
    return study.ask(fixed_distributions=space)


def take_up(study: optuna.Study, number: int, space: dict[str, BaseDistribution], seed: int) -> optuna.Trial:
    """A trial that was running when its process was killed, to go on with: its values stand in the database."""
    frozen = study.get_trials(deepcopy=False)[number]
    study.sampler = optuna.samplers.RandomSampler(seed=_seed(seed, number))
    # Optuna would fail such a trial and queue another like it; this one keeps its number, and with it its folder.
    trial = optuna.Trial(study, frozen._trial_id)
    for key, distribution in space.items():
        # Gives the stored value; draws one that the kill kept from being stored.
        trial._suggest(key, distribution)
    return trial


def importances(study: optuna.Study) -> dict[str, float]:
    """The share of each dimension in the differences between trials (PED-ANOVA, Watanabe et al. 2023, arXiv
    2304.10255); empty for fewer than two finished trials.
    """
    done = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if len({json_line(dict(sorted(trial.params.items()))) for trial in done}) < 2:
        return {}
    with warnings.catch_warnings():
        # Of trials that are all alike, it says that the shares will be equal; they are.
        warnings.simplefilter("ignore")
        return {key: float(share) for key, share in optuna.importance.get_param_importances(study).items()}


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that are over, by number."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))


def best(study: optuna.Study, trials: list[FrozenTrial]) -> FrozenTrial | None:
    """The best finished one of the trials, of equals the earlier; None where there is none."""
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
    return min(done, key=lambda trial: (sign * (trial.value or 0.0), trial.number), default=None)


def _distribution(dimension: Dimension, current: Any) -> BaseDistribution:
    low, high, step = dimension.low, dimension.high, dimension.step
    if dimension.choices is not None or low is None or high is None:
        return CategoricalDistribution(dimension.choices or ())
    if isinstance(low, int) and isinstance(high, int) and not isinstance(current, float):
        return IntDistribution(low, high, log=dimension.log, step=int(step or 1))
    return FloatDistribution(float(low), float(high), log=dimension.log, step=None if step is None else float(step))


def _value_at(content: Any, key: str) -> Any:
    for name in key.split("."):
        content = content[int(name)] if isinstance(content, list) else (content or {}).get(name)
    return content


def _grid(space: dict[str, BaseDistribution]) -> list[dict[str, Any]]:
    def values(distribution: BaseDistribution) -> list[Any]:
        """All values of one setting."""
        if isinstance(distribution, CategoricalDistribution):
            return list(distribution.choices)
        content = json.loads(distribution_to_json(distribution))["attributes"]
        count = int(np.floor((content["high"] - content["low"]) / content["step"] + 1e-9)) + 1
        return [content["low"] + place * content["step"] for place in range(count)]

    return [
        dict(zip(space, setting, strict=True))
        for setting in itertools.product(*(values(part) for part in space.values()))
    ]


def _startup(part: SweepPart) -> int:
    return part.startup if part.startup is not None else min(10, max(1, part.trials // 3))


def _sampler(part: SweepPart, seed: int, number: int) -> optuna.samplers.BaseSampler:
    """Drawn from the trial's own seed, so that a search that was killed draws what it would have drawn."""
    if part.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=_seed(seed, number), n_startup_trials=_startup(part))
    return optuna.samplers.RandomSampler(seed=_seed(seed, number))


def _seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])


def _pruner(part: SweepPart) -> optuna.pruners.BasePruner:
    if part.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=_startup(part))
    if part.pruner == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1)
    return optuna.pruners.NopPruner()
