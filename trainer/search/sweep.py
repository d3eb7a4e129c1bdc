"""A search over recipe values: each trial a run of its own, the best one's weights kept as the result."""

import dataclasses
import math
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import ClassifactError, InputError
from trainer.contract.figures.stamped import weights
from trainer.contract.system.files import read_json, refuse_existing, write_json
from trainer.contract.system.progress import Progress
from trainer.data.splits import drop_stored
from trainer.decide import refuse_early, settle
from trainer.recipes.file import changed, is_free, load, recipe_differences, save_recipe
from trainer.recipes.recipe import Recipe
from trainer.recipes.sweep_part import SweepPart
from trainer.run_folder.folder import BEST_FIGURES, locked
from trainer.run_folder.keeper import Interrupted
from trainer.search import study as search
from trainer.search.refit import RESULT, foresee_refit, refit
from trainer.search.result import shown_setting, study_summary
from trainer.search.trial_runs import adopt, drop_weights, make_run, pinned, trial_folder
from trainer.search.workers import Worker
from trainer.stages import prepare_splits, train
from trainer.training import TrainJob

SWEEP_RECIPE = "sweep.yaml"
# Trials that fail one after another from the start share their reason.
HOPELESS = 3


@dataclass(frozen=True, kw_only=True)
class SweepJob:
    """What `classifact sweep` was asked for."""

    recipe: Recipe
    out: Path
    """The folder of the search, and of its result."""
    resume: bool = False
    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search under way."""

    job: SweepJob
    part: SweepPart
    base: Recipe
    """Every trial's recipe but for its own values."""
    metric: str
    study: optuna.Study
    progress: Progress
    space: dict[str, BaseDistribution]
    """What those values may be."""


def sweep(job: SweepJob) -> dict[str, Any] | None:
    """Try settings, keep the best trial's weights, and make `out` the best trial's run; gives what sweep.json holds.

    Under a launch of several processes each works through trials of its own; all but the first give None. What a killed
    search had finished stays, and what it was in the middle of goes on. The test split is not opened.

    Raises InputError where `out` exists and `resume` is off, or holds another search; RecipeError for a space that the
    recipe does not take; ClassifactError where no trial could be trained.
    """
    part = job.recipe.sweep
    if part is None:
        raise InputError(
            "the recipe has no sweep part",
            where="sweep",
            expected="a space of settings",
            do="add one, as: sweep: {space: {stages.0.epochs: {low: 1, high: 5}}}",
        )
    space = search.distributions(job.recipe, part)
    worker = Worker.join()
    if worker.rank == 0:
        _open_folder(job)
    worker.wait()
    alone = locked(job.out / ".lock", wait=False) if worker.rank == 0 else nullcontext()
    with alone, search.opened_study(job.out, job.recipe, part) as study:
        metric = search.objective(job.recipe, part)
        work = Search(
            job=job,
            part=part,
            base=pinned(job.recipe),
            metric=metric,
            study=study,
            progress=Progress(quiet=job.quiet),
            space=space,
        )
        if worker.rank == 0:
            _prepare(work)
        worker.wait()
        # All look before any begins: what one of them takes up is running too.
        left = [trial.number for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING])]
        worker.wait()
        worker.part()
        _work(work, left[worker.rank :: worker.processes])
        return _finish(work) if worker.rank == 0 else None


def _open_folder(job: SweepJob) -> None:
    saved = job.out / SWEEP_RECIPE
    if not (job.resume and saved.exists()):
        refuse_existing(job.out)
        job.out.mkdir(parents=True, exist_ok=True)
        save_recipe(job.recipe, saved)
    now, then = job.recipe.plain(), load(saved).plain()
    # A search may go on for longer than was first asked for.
    then["sweep"]["trials"] = now["sweep"]["trials"]
    other = [text for text in recipe_differences(now, then) if text.startswith("sweep") or not is_free(text)]
    if other:
        raise InputError(
            "the search was started with another recipe",
            where=saved,
            found="; ".join(other[:5]),
            do="choose another --out, or go back to that recipe",
        )


def _prepare(work: Search) -> None:
    # With the search's own part: its metric too must be defined on the validation rows.
    splits = prepare_splits(dataclasses.replace(work.base, sweep=work.part), work.job.out, progress=work.progress)
    # How many checkpoints a trial has may be what is searched.
    refuse_early(work.job.recipe, splits, choosing=False)
    if work.part.refit:
        foresee_refit(work.job.recipe, splits, work.progress.say)
    search.queue_grid(work.study, work.part, work.space, work.base.seed)
    ended = len(search.ended(work.study))
    total = search.budget(work.part, work.space)
    work.progress.say(f"{total} trials by {work.part.sampler}, objective {work.metric}; {ended} ended already")


def _work(work: Search, left: list[int]) -> None:
    """Trials until there are enough; first those that a killed process left."""
    study, seed = work.study, work.base.seed
    for number in left:
        _trial(work, search.take_up(study, number, work.space, seed))
    while True:
        # Counting and asking are one step, or two processes would both ask for the last trial.
        with locked(work.job.out / search.STUDY_LOCK):
            trial = search.ask(study, work.part, work.space, seed)
        if trial is None:
            return
        _trial(work, trial)


def _trial(work: Search, trial: optuna.Trial) -> None:
    """Train one setting, tell the study what it is worth, and remove the weights that lost."""
    work.progress.say(
        f"trial {trial.number}: {', '.join(f'{key} {shown_setting(value)}' for key, value in trial.params.items())}"
    )
    started = time.perf_counter()
    try:
        values = _train(work, trial)
        value = fmean(values.values())
        trial.set_user_attr("values", values)
        state = TrialState.FAIL if math.isnan(value) else TrialState.COMPLETE
        said = f"{work.metric} {value:.4f}"
    except optuna.TrialPruned:
        value, state, said = math.nan, TrialState.PRUNED, "pruned"
    except Interrupted:
        # It stays in the database as running: --resume goes on with it.
        raise
    except ClassifactError as error:
        value, state, said = math.nan, TrialState.FAIL, f"failed: {error.what}"
        trial.set_user_attr("error", str(error))
    trial.set_user_attr("seconds", time.perf_counter() - started)
    work.study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)
    _tidy(work)
    best = search.best(work.study, search.ended(work.study))
    work.progress.say(
        f"trial {trial.number}: {said}" + ("" if best is None else f" (best: trial {best.number}, {best.value:.4f})")
    )
    _refuse_hopeless(work)


def _train(work: Search, trial: optuna.Trial) -> dict[str, float]:
    """The objective's value for each seed. Raises TrialPruned where the first seed's epochs fall behind."""
    values: dict[str, float] = {}
    for seed, run in _runs(work, trial.number).items():
        settings = trial.params if seed is None else {**trial.params, "seed": seed}
        recipe = changed(work.base, settings, f"trial {trial.number}")
        make_run(run, recipe, work.job.out / "splits")
        watch = _watch(work, trial, len(recipe.stages)) if not values else None
        # One for all trials, so that the tokens of the same rows are made once.
        cache = work.job.out / "cache"
        result = train(TrainJob(recipe=recipe, out=run, resume=True, quiet=True, cache=cache, watch=watch))
        value = result["validation"][work.metric]
        values[str(recipe.seed)] = math.nan if value is None else value
    return values


def _watch(work: Search, trial: optuna.Trial, stages: int) -> Callable[[dict[str, int], dict[str, float]], None]:
    """What to do after each evaluation: report the last stage's epochs, and stop where the pruner says so."""
    known = work.study.get_trials(deepcopy=False)[trial.number].intermediate_values

    def watch(place: dict[str, int], metrics: dict[str, float]) -> None:
        """Report an epoch's metric, and end the trial where it falls behind."""
        if place["stage"] != stages or place["batch"] != place["batches"]:
            return
        work.progress.say(f"trial {trial.number}: epoch {place['epoch']} {work.metric} {metrics[work.metric]:.4f}")
        # An epoch that a kill made this trial repeat was reported already.
        if place["epoch"] - 1 not in known:
            trial.report(metrics[work.metric], place["epoch"] - 1)
        if trial.should_prune():
            raise optuna.TrialPruned

    return watch


def _runs(work: Search, number: int) -> dict[int | None, Path]:
    """The run directories of a trial, by seed; by None where it has the recipe's own seed."""
    folder = trial_folder(work.job.out, number)
    return {seed: folder / f"seed_{seed}" for seed in work.part.seeds} or {None: folder}


def _best_run(work: Search, trial: FrozenTrial) -> Path:
    """The run of a trial whose weights are kept: its best seed's."""
    runs, values = _runs(work, trial.number), trial.user_attrs["values"]
    order = -1 if work.study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
    return min(runs.items(), key=lambda item: 0 if item[0] is None else order * values[str(item[0])])[1]


def _tidy(work: Search) -> None:
    """Remove the weights of every ended trial but the best one's."""
    # Read once: a trial that another process ends between two readings could be the new best, and lose its weights.
    trials = search.ended(work.study)
    best = search.best(work.study, trials)
    kept = None if best is None else _best_run(work, best)
    for trial in trials:
        for run in _runs(work, trial.number).values():
            if run != kept:
                drop_weights(run)
    if kept is not None:
        shutil.rmtree(kept / "resume", ignore_errors=True)


def _refuse_hopeless(work: Search) -> None:
    ended = search.ended(work.study)
    if len(ended) >= min(HOPELESS, search.budget(work.part, work.space)) and all(
        trial.state == TrialState.FAIL for trial in ended
    ):
        raise ClassifactError(
            f"none of the first {len(ended)} trials could be trained",
            where=trial_folder(work.job.out, ended[-1].number),
            found=ended[-1].user_attrs.get("error", f"{work.metric} is undefined on validation"),
            do="correct the recipe, and search into a new folder",
        )


def _finish(work: Search) -> dict[str, Any]:
    """Wait for the other processes' last trials, and make the folder the best one's run."""
    # By the database: the processes have left the group of the launch by now, and no barrier holds them.
    while work.study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        time.sleep(1)
    _tidy(work)
    best = search.best(work.study, search.ended(work.study))
    if best is None:
        raise ClassifactError("no trial was finished", where=work.job.out, do="raise sweep.trials, or set pruner: none")
    run, out = _best_run(work, best), work.job.out
    result = study_summary(
        work.study, work.part, work.metric, lambda number: trial_folder(out, number).relative_to(out)
    )
    result["constant"] = read_json(run / BEST_FIGURES)["constant"]
    result["best"] |= {"run": run.relative_to(out).as_posix(), "weights": weights(Checkpoint.best(run))}
    written = read_json(out / RESULT) if (out / RESULT).exists() else {}
    # Where a resume found nothing new the run stays: adopting it again would take away what was measured of it.
    if {name: value for name, value in written.items() if name != "refit"} != result:
        adopt(run, out)
        write_json(out / RESULT, result)
    if work.part.refit:
        # The search's own result stands, whatever becomes of this.
        result["refit"] = refit(run, work.job.recipe, out, quiet=work.job.quiet)
        if result != written:
            write_json(out / RESULT, result)
    shutil.rmtree(out / "cache", ignore_errors=True)
    drop_stored(out / "splits")
    settle(out, work.job.recipe.decisions, work.progress.say)
    return result
