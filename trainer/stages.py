"""A whole run: prepare the folder, then one stage after another, each from the best checkpoint of the one before."""

import math
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import Tensor

from trainer.contract.system.progress import QUIET, Progress
from trainer.data.splits import Splits, drop_stored, prepare
from trainer.data.splitting.refusals import refuse_known
from trainer.data.stored import StoredRows
from trainer.data.tokens import tokenized
from trainer.decide import refuse_early, settle
from trainer.frozen.prefix import PrefixJob, without_prefix
from trainer.frozen.states import drop_states
from trainer.loop import Fit, fit
from trainer.losses import Loss
from trainer.network.first_token import read_first
from trainer.network.layers import frozen_modules, last_layer
from trainer.network.load import load_weights, start_biases
from trainer.network.lora import detach
from trainer.network.shape import shape
from trainer.optim import build_optimizer, told_warmup
from trainer.predict import EncodedRows, Predictor
from trainer.processes.fsdp import is_sharded, split_copy
from trainer.processes.start import facts, first_process_first, start_accelerator
from trainer.processes.trained import Trained
from trainer.recipes.recipe import Recipe, Stage
from trainer.run_folder.folder import discard_unstarted, finish_run, open_run, sole_writer, take_over
from trainer.run_folder.keeper import Position, StopRequest
from trainer.run_folder.track import Track
from trainer.run_folder.trackers import tracking
from trainer.training import CACHE, Run, TrainJob, introduce, open_training


def train(job: TrainJob) -> dict[str, Any]:
    """Train every stage; gives what metrics.json holds. A finished run that is resumed is left as it is.

    Raises InputError where `out` exists and `resume` is off, or holds a run of another recipe.
    """
    accelerator = start_accelerator(job.recipe, job.out)
    track = Track(job.out, accelerator, quiet=job.quiet, watch=job.watch)
    done = open_run(job.recipe, job.out, resume=job.resume, accelerator=accelerator)
    if done is not None:
        track.say(f"{job.out} is finished; nothing to do")
        with sole_writer(job.out, accelerator):
            _take_over(job, accelerator, track)
        if accelerator.is_main_process:
            settle(job.out, job.recipe.decisions, track.say)
        return done
    with sole_writer(job.out, accelerator), StopRequest().listening() as stop:
        _take_over(job, accelerator, track)
        # All rows of all stages are read and checked before any time goes into training.
        with discard_unstarted(job.out, accelerator):
            splits = prepare_splits(job.recipe, job.out, partial(first_process_first, accelerator), track.progress)
            refuse_early(job.recipe, splits, choosing=not job.refit)
            run = open_training(job, accelerator, splits[0], track, stop)
        position = run.keeper.load_position() or Position()
        track.rewind(position.step)
        introduce(run, splits)
        track.launch(facts(accelerator), position.step)
        with tracking(accelerator, job.recipe, job.out):
            shares = None
            for number in range(position.stage, len(splits)):
                if number > position.stage:
                    position = Position(stage=number, step=position.step)
                if not position.stage_done:
                    position = _run_stage(run, splits[number], position, shares)
                # Also of a stage that a resume finds done: the next one moves its biases from here.
                shares = _loss(job.recipe.stages[number], splits[number]).constant()
    # Stored rows and the cache go only when metrics.json is there: until then a resume needs them.
    done = finish_run(job.out, accelerator, steps=position.step, refit=job.refit, splits=splits[-1])
    if accelerator.is_main_process:
        drop_stored(job.out / "splits")
        shutil.rmtree(job.out / CACHE, ignore_errors=True)
        settle(job.out, job.recipe.decisions, track.say)
    return done


def _take_over(job: TrainJob, accelerator: Accelerator, track: Track) -> None:
    for change in take_over(job.recipe, job.out, accelerator):
        track.say(f"changed since the run began: {change}")


def prepare_splits(
    recipe: Recipe,
    out: Path,
    turn: Callable[[], AbstractContextManager[None]] = nullcontext,
    progress: Progress = QUIET,
) -> list[Splits]:
    """The rows of each stage, saved in the run `out`. turn: makes the first of several processes read them and the
    others wait.

    The last stage's lie in `splits/`, those of an earlier one with other data in `splits/stage_N/`.
    """
    parts = [stage.data or recipe.data for stage in recipe.stages]
    found: list[Splits] = []
    for number, part in enumerate(parts):
        first = parts.index(part)
        if first < number:
            found.append(found[first])
            continue
        folder = out / "splits" if part == parts[-1] else out / "splits" / f"stage_{number + 1}"
        with turn():
            found.append(prepare(recipe, part, folder, found[0].space if found else None, progress))
        for before, earlier in enumerate(found[:-1], 1):
            _refuse_learnt(earlier, before, found[-1], number + 1)
    return found


def _refuse_learnt(earlier: Splits, before: int, later: Splits, stage: int) -> None:
    """Rows that one stage learnt must not be held out by a later one."""
    held = {"validation": later.validation, "test": later.test}
    for name, rows in held.items():
        if rows is not None:
            refuse_known(earlier.train, rows, f"training rows of stage {before}", f"{name} rows of stage {stage}")


def _run_stage(run: Run, splits: Splits, position: Position, before: Tensor | None) -> Position:
    """One stage, from its start or from the saved state. before: the best constant logits of the stage before it."""
    stage, network, number = run.recipe.stages[position.stage], run.classifier.network, position.stage
    resumed = position.batch > 0 or position.epoch > 0
    if number > 0 and not resumed:
        # From the best checkpoint, not the last weights: early stopping ends a stage some epochs after its best.
        load_weights(network, run.keeper.ranked(number - 1)[0].path)
    loss = _loss(stage, splits)
    if not resumed and run.recipe.model.head_bias == "shares":
        start_biases(run.classifier, loss.constant(), before)
    sizes = shape(network, stage, (run.recipe.seed, number))
    with first_process_first(run.accelerator):
        train, validation = (_encoded(run, rows) for rows in (splits.train, splits.validation))
    run.track.say(f"stage {number + 1}: {sizes}")
    run.track.say(f"stage {number + 1}: {train.cut(run.encoder.policy)}")
    for line in told_warmup(stage.optimizer, stage.epochs * math.ceil(len(splits.train) / stage.batch.rows)):
        run.track.say(line)
    # The saved weights come first: frozen layers run with them, and nothing wraps the network yet.
    training = run.keeper.load_resume(network) if resumed else None
    learner, (train, validation) = without_prefix(_prefix(run, stage), [train, validation])
    if is_sharded(run.accelerator):
        learner = network = split_copy(run.accelerator, network)
    predictor = Predictor(
        network=learner,
        inputs=run.classifier.inputs,
        encoder=run.encoder,
        accelerator=run.accelerator,
        tokens=stage.batch.tokens,
    )
    cuts = [] if is_sharded(run.accelerator) else read_first(learner, last_layer(network), predictor.probes(train))
    if cuts:
        run.track.say(f"stage {number + 1}: the head reads the first token alone, and so does most of the last layer")
    trained = Trained(run.accelerator, learner, build_optimizer(network, stage.optimizer))
    if training is not None:
        trained.load_optimizer(training["optimizer"])
        if run.accelerator.scaler is not None and "scaler" in training:
            run.accelerator.scaler.load_state_dict(training["scaler"])
        run.track.say(f"resumed at stage {number + 1}, step {position.step}")
    position = fit(
        Fit(
            run=run,
            stage=stage,
            trained=trained,
            frozen=list(frozen_modules(network)),
            loss=loss,
            train=train,
            validation=validation,
            predictor=replace(predictor, network=trained.network),
        ),
        position,
    )
    trained.close()
    # The hooks sit in the plain network, which the next stage trains whole.
    for cut in cuts:
        cut.remove()
    detach(run.classifier.network)
    if run.accelerator.is_main_process:
        drop_states(run.keeper.run / CACHE)
    return position


def _encoded(run: Run, rows: StoredRows) -> EncodedRows:
    return EncodedRows(rows=rows, encoded=tokenized(rows, run.encoder, run.cache, run.track.progress))


def _loss(stage: Stage, splits: Splits) -> Loss:
    return Loss(stage.loss, splits.space, splits.train.labels)


def _prefix(run: Run, stage: Stage) -> PrefixJob:
    return PrefixJob(
        accelerator=run.accelerator,
        network=run.classifier.network,
        inputs=run.classifier.inputs,
        encoder=run.encoder,
        folder=run.cache,
        tokens=stage.batch.tokens,
        progress=run.track.progress,
        stop=run.stop,
        wanted=stage.freeze.cache,
    )
