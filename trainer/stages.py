"""A whole run: prepare the folder, then one stage after another, each from the best checkpoint of the one before."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel

from trainer.contract.checkpoint import Contract
from trainer.contract.encoding import EncodingPolicy, TextEncoder
from trainer.contract.errors import InputError
from trainer.data.splits import Splits, drop_stored, prepare, told
from trainer.data.splitting.refusals import refuse_known
from trainer.data.stored import StoredRows
from trainer.data.tokens import tokenized
from trainer.frozen.prefix import PrefixJob, without_prefix
from trainer.frozen.states import drop_states
from trainer.loop import Fit, fit
from trainer.losses import Loss
from trainer.network.layers import Sizes, checkpoint_gradients, freeze, frozen_modules
from trainer.network.load import Classifier, load_classifier, load_weights, start_biases
from trainer.network.lora import attach, check_lora, detach
from trainer.optim import build_optimizer
from trainer.predict import EncodedRows, Predictor
from trainer.processes.fsdp import is_sharded, split_copy
from trainer.processes.start import described, facts, start_accelerator
from trainer.processes.trained import Trained
from trainer.recipes.recipe import Recipe, Stage
from trainer.run_folder.folder import discard_unstarted, finish, open_run, sole_writer, take_over
from trainer.run_folder.keeper import Keeper, Progress, StopRequest
from trainer.run_folder.track import Track, Watch
from trainer.run_folder.trackers import tracking

CACHE = "cache"


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """What `trainer/run.py` was asked for."""

    recipe: Recipe
    out: Path
    resume: bool = False
    quiet: bool = False
    cache: Path | None = None
    """Where to keep what frozen layers make of rows, for other runs too; in the run while a stage lasts if None."""
    watch: Watch | None = None
    """What to call with each evaluation (see Track)."""
    refit: bool = False
    """Keep the last weights, whatever the figures: there are too few rows left to choose by."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What all stages of a run share."""

    recipe: Recipe
    accelerator: Accelerator
    classifier: Classifier
    encoder: TextEncoder
    keeper: Keeper
    track: Track
    stop: StopRequest
    cache: Path | None


def train(job: TrainJob) -> dict[str, Any]:
    """Train every stage; gives what metrics.json holds. A finished run that is resumed is left as it is.

    Raises InputError where `out` exists and `resume` is off, or holds a run of another recipe.
    """
    accelerator = start_accelerator(job.recipe, job.out)
    track = Track(job.out, accelerator, quiet=job.quiet, watch=job.watch)
    done = open_run(job.recipe, job.out, resume=job.resume, accelerator=accelerator)
    if done is not None:
        track.say(f"{job.out} is finished; nothing to do")
        return done
    with sole_writer(job.out, accelerator), StopRequest().listening() as stop:
        for change in take_over(job.recipe, job.out, accelerator):
            track.say(f"changed since the run began: {change}")
        # All rows of all stages are read and checked before any time goes into training.
        with discard_unstarted(job.out, accelerator):
            splits = prepare_splits(job.recipe, job.out, accelerator.main_process_first, track.say)
            run = _open(job, accelerator, splits[0], track, stop)
        progress = run.keeper.load_progress() or Progress()
        track.rewind(progress.step)
        _introduce(run, splits)
        track.launch(facts(accelerator), progress.step)
        with tracking(accelerator, job.recipe, job.out):
            shares = None
            for number in range(progress.stage, len(splits)):
                if number > progress.stage:
                    progress = Progress(stage=number, step=progress.step)
                if not progress.stage_done:
                    progress = _run_stage(run, splits[number], progress, shares)
                shares = _loss(job.recipe.stages[number], splits[number]).constant()
    done = finish(job.out, accelerator, steps=progress.step, refit=job.refit, splits=splits[-1])
    if accelerator.is_main_process:
        drop_stored(job.out / "splits")
        shutil.rmtree(job.out / CACHE, ignore_errors=True)
    return done


def prepare_splits(
    recipe: Recipe,
    out: Path,
    turn: Callable[[], AbstractContextManager[None]] = nullcontext,
    say: Callable[[str], None] = lambda _: None,
) -> list[Splits]:
    """The rows of each stage, saved in the run `out`. turn: makes the first of several processes read them and the
    others wait; say: a line on how far it is.

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
            found.append(prepare(recipe, part, folder, found[0].space if found else None, say))
        for before, earlier in enumerate(found[:-1], 1):
            _refuse_learnt(earlier, before, found[-1], number + 1)
    return found


def _refuse_learnt(earlier: Splits, before: int, later: Splits, stage: int) -> None:
    """Rows that one stage learnt must not be held out by a later one."""
    held = {"validation": later.validation, "test": later.test}
    for name, rows in held.items():
        if rows is not None:
            refuse_known(earlier.train, rows, f"training rows of stage {before}", f"{name} rows of stage {stage}")


def _open(job: TrainJob, accelerator: Accelerator, splits: Splits, track: Track, stop: StopRequest) -> Run:
    recipe = job.recipe
    classifier = load_classifier(recipe.model, splits.space, recipe.seed)
    if recipe.input.max_tokens > classifier.longest:
        raise InputError(
            "input.max_tokens is more than the model can read",
            found=recipe.input.max_tokens,
            expected=f"at most {classifier.longest}",
            do="lower it, or choose another model",
        )
    check_lora(recipe)
    for number, stage in enumerate(recipe.stages):
        # What a later stage cannot be shows now, not after hours of the first one.
        shape(classifier.network, stage, (recipe.seed, number))
        detach(classifier.network)
    policy = EncodingPolicy(
        max_tokens=recipe.input.max_tokens,
        truncation=recipe.input.truncation,
        head_tokens=recipe.input.head_tokens,
        pad_id=int(classifier.tokenizer.pad_token_id or 0),
        pad_type_id=int(classifier.tokenizer.pad_token_type_id),
    )
    contract = Contract(labels=splits.space, input=recipe.input.spec(), encoding=policy)
    return Run(
        recipe=recipe,
        accelerator=accelerator,
        classifier=classifier,
        encoder=TextEncoder(Tokenizer.from_str(classifier.tokenizer.backend_tokenizer.to_str()), policy),
        keeper=Keeper(
            run=job.out, contract=contract, metric=recipe.select.metric, keep=recipe.select.keep, last=job.refit
        ),
        track=track,
        stop=stop,
        cache=job.cache,
    )


def _introduce(run: Run, splits: list[Splits]) -> None:
    """Say what is about to be trained."""
    accelerator, names = run.accelerator, ", ".join(run.keeper.contract.labels.names)
    run.track.say(f"{run.recipe.name}: {run.recipe.model.name}, labels {names}")
    run.track.say(described(accelerator))
    backend = accelerator.state.dynamo_plugin.backend.value
    if backend != "NO":
        run.track.say(f"compiled by torch.compile, backend {backend.lower()}")
    for note in run.classifier.notes:
        run.track.say(note)
    if run.classifier.new:
        run.track.say(f"new weights, drawn with seed {run.recipe.seed}: {', '.join(run.classifier.new)}")
    for part in {id(part): part for part in splits}.values():
        for line in told(part, run.recipe.labels):
            run.track.say(line)


def _run_stage(run: Run, splits: Splits, progress: Progress, before: Tensor | None) -> Progress:
    """One stage, from its start or from the saved state. before: the best constant logits of the stage before it."""
    stage, network, number = run.recipe.stages[progress.stage], run.classifier.network, progress.stage
    resumed = progress.batch > 0 or progress.epoch > 0
    if number > 0 and not resumed:
        load_weights(network, run.keeper.ranked(number - 1)[0].path)
    loss = _loss(stage, splits)
    if not resumed and run.recipe.model.head_bias == "shares":
        start_biases(run.classifier, loss.constant(), before)
    sizes = shape(network, stage, (run.recipe.seed, number))
    with run.accelerator.main_process_first():
        train, validation = (_encoded(run, rows) for rows in (splits.train, splits.validation))
    run.track.say(f"stage {number + 1}: {sizes}")
    run.track.say(f"stage {number + 1}: {_truncation(train, run.encoder.policy)}")
    # Before the frozen layers run, and before anything wraps the network.
    training = run.keeper.load_resume(network) if resumed else None
    learner, (train, validation) = without_prefix(_prefix(run, stage), [train, validation])
    if is_sharded(run.accelerator):
        learner = network = split_copy(run.accelerator, network)
    trained = Trained(run.accelerator, learner, build_optimizer(network, stage.optimizer))
    if training is not None:
        trained.load_optimizer(training["optimizer"])
        if run.accelerator.scaler is not None and "scaler" in training:
            run.accelerator.scaler.load_state_dict(training["scaler"])
        run.track.say(f"resumed at stage {number + 1}, step {progress.step}")
    predictor = Predictor(
        network=trained.network,
        inputs=run.classifier.inputs,
        encoder=run.encoder,
        accelerator=run.accelerator,
        tokens=stage.batch.tokens,
    )
    progress = fit(
        Fit(
            recipe=run.recipe,
            stage=stage,
            space=splits.space,
            accelerator=run.accelerator,
            classifier=run.classifier,
            trained=trained,
            frozen=list(frozen_modules(network)),
            loss=loss,
            train=train,
            validation=validation,
            predictor=predictor,
            keeper=run.keeper,
            track=run.track,
            stop=run.stop,
        ),
        progress,
    )
    trained.close()
    detach(run.classifier.network)
    if run.accelerator.is_main_process:
        drop_states(run.keeper.run / CACHE)
    return progress


def _encoded(run: Run, rows: StoredRows) -> EncodedRows:
    return EncodedRows(
        rows=rows, encoded=tokenized(rows, run.encoder, run.cache or run.keeper.run / CACHE, run.track.say)
    )


def _loss(stage: Stage, splits: Splits) -> Loss:
    return Loss(stage.loss, splits.space, splits.train.labels)


def shape(network: PreTrainedModel, stage: Stage, key: tuple[int, int]) -> Sizes:
    """Make of the plain network what a stage trains: freeze, adapt, choose what to keep for the backward pass.

    key: (seed, stage). Raises InputError where the network cannot be what the stage asks for.
    """
    checkpoint_gradients(network, stage.gradient_checkpointing)
    sizes = freeze(network, stage.freeze)
    if stage.lora is None:
        return sizes
    attach(network, stage.lora, key)
    return Sizes.of(network)


def _prefix(run: Run, stage: Stage) -> PrefixJob:
    return PrefixJob(
        accelerator=run.accelerator,
        network=run.classifier.network,
        inputs=run.classifier.inputs,
        encoder=run.encoder,
        folder=run.cache or run.keeper.run / CACHE,
        tokens=stage.batch.tokens,
        say=run.track.say,
        stop=run.stop,
        wanted=stage.freeze.cache,
    )


def _truncation(rows: EncodedRows, policy: EncodingPolicy) -> str:
    """What the limit costs, in words."""
    cut = rows.encoded.truncation()
    return (
        f"{cut['rows_cut']} of {cut['rows']} training texts are cut at {policy.max_tokens} tokens "
        f"({policy.truncation}): {cut['tokens_cut']} of {cut['tokens'] + cut['tokens_cut']} tokens"
    )
