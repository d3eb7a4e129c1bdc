"""The loop: one stage of fine-tuning, from its first optimizer step to its best checkpoint.

Read `fit` top to bottom. One optimizer step is `rows` rows of the epoch's plan, whatever the number of processes; each
process runs its share in micro-batches that fit in memory, and the loss is divided by what the whole batch weighs.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from trainer.batches import MicroBatch, micro_batches, plan_epoch
from trainer.contract.encoding import Ints
from trainer.contract.errors import ClassifactError
from trainer.contract.figures.constant import LEAST_GAIN, REMEDY, Constant
from trainer.contract.golden import Golden, choose
from trainer.losses import Loss
from trainer.network.cpu_dropout import quick_dropout
from trainer.network.layers import train_mode
from trainer.opening.golden import make_golden
from trainer.optim import learning_rate, set_learning_rate
from trainer.predict import EncodedRows, Predictor
from trainer.processes.fsdp import is_sharded
from trainer.processes.trained import Trained
from trainer.recipes.recipe import Stage
from trainer.run_folder.keeper import Interrupted, Position, goodness
from trainer.training import Run

# In shorter epochs the loss of a quarter says nothing.
LEAST_BATCHES = 40


@dataclass(frozen=True, kw_only=True)
class Fit:
    """All that one stage is fitted with."""

    run: Run
    """What all stages share: the launch, the folder, the log, the labels."""
    stage: Stage
    """The recipe's part for this stage."""
    trained: Trained
    """The run's network, its tail (see frozen/tail.py), or a copy that is split over processes (see
    processes/fsdp.py).
    """
    frozen: list[nn.Module]
    """Modules of `trained` that do not learn."""
    loss: Loss
    train: EncodedRows
    validation: EncodedRows
    predictor: Predictor
    """Gives logits of the validation rows, on all processes together."""


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """One optimizer step, over all processes."""

    loss: float
    """The mean over the batch."""
    norm: float
    """The norm of the gradient before clipping."""
    tokens: int
    stop: bool


def fit(job: Fit, position: Position) -> Position:
    """Train one stage from `position` to its end.

    Raises Interrupted after a signal, ClassifactError for a non-finite loss.
    """
    stage, lengths = job.stage, job.train.encoded.lengths
    batches = math.ceil(len(lengths) / stage.batch.rows)
    # Steps of earlier stages: the learning rate is a function of the step within this stage.
    before = position.step - position.epoch * batches - position.batch
    steps = stage.epochs * batches
    job.run.track.start(steps, position.step - before)
    job.trained.rehearse(lambda: micro_loss(job, MicroBatch(rows=np.zeros(1, dtype=np.int64), counted=False)))
    losses: list[float] = []
    while position.epoch < stage.epochs and not position.stage_done:
        plan = plan_epoch(lengths, stage.batch.rows, (job.run.recipe.seed, position.stage, position.epoch))
        for number in range(position.batch, batches):
            rate = learning_rate(stage.optimizer, position.step - before, steps)
            set_learning_rate(job.trained.optimizer, rate)
            tokens, result = step(job, plan[number], position)
            # In the position, so that a resume does not run out of memory first.
            halved = tokens if tokens < stage.batch.tokens else None
            position = replace(position, batch=number + 1, step=position.step + 1, tokens=halved)
            place = {
                "stage": position.stage + 1,
                "epoch": position.epoch + 1,
                "step": position.step,
                "batch": number + 1,
                "batches": batches,
            }
            values = {"loss": result.loss, "learning_rate": rate, "gradient_norm": result.norm}
            job.run.track.step(place, values, result.tokens)
            # After the first epoch it is the evaluations that say so.
            if position.epoch == 0:
                losses.append(result.loss)
                warn_early(job, losses, number + 1, batches)
            last = number + 1 == batches
            due = last or (stage.evaluate_every is not None and (position.step - before) % stage.evaluate_every == 0)
            # Before the evaluation: it writes a checkpoint, from the plain network.
            if due or result.stop:
                gather_weights(job)
            if due:
                position = evaluate_validation(job, position, place)
            # The end of an epoch is saved as the start of the next one: a resume has no empty epoch to go through.
            if last:
                position = replace(position, epoch=position.epoch + 1, batch=0)
                position = replace(position, stage_done=position.stage_done or position.epoch == stage.epochs)
            if due or result.stop:
                save_state(job, position)
            if result.stop:
                raise Interrupted(
                    "interrupted; the run is saved",
                    where=job.run.keeper.run,
                    do="run the same command with --resume to go on",
                )
            if position.stage_done:
                break
    job.run.track.close()
    return position


def step(job: Fit, batch: Ints, position: Position) -> tuple[int, StepResult]:
    """One optimizer step.

    Running out of memory halves the micro-batches and tries again; gives the token budget that fitted.
    """
    tokens = min(position.tokens or job.stage.batch.tokens, job.stage.batch.tokens)
    while True:
        try:
            return tokens, attempt(job, batch, position, tokens)
        except torch.OutOfMemoryError as error:
            # On several processes the others already wait for this one's gradients: only a smaller budget from the
            # start helps.
            longest = int(job.train.encoded.lengths[batch].max())
            if job.run.accelerator.num_processes > 1 or tokens <= longest:
                raise ClassifactError(
                    "out of memory",
                    where=f"step {position.step + 1}",
                    found=f"{tokens} tokens in a micro-batch",
                    do="lower stages.batch.tokens or input.max_tokens, and run again with --resume",
                ) from error
            # Gradients of the micro-batches that did fit would count twice.
            job.trained.optimizer.zero_grad(set_to_none=True)
            if job.run.accelerator.device.type == "cuda":
                torch.cuda.empty_cache()
            # A row cannot be cut in two.
            tokens = max(longest, tokens // 2)
            job.run.track.say(f"out of memory: micro-batches of {tokens} tokens from here on")


def attempt(job: Fit, batch: Ints, position: Position, tokens: int) -> StepResult:
    """Forward and backward over the micro-batches of this process, then one update."""
    rank, processes = job.run.accelerator.process_index, job.run.accelerator.num_processes
    labels = job.train.rows.labels
    normaliser = job.loss.normaliser(labels[batch])
    train_mode(job.trained.network, job.frozen)
    torch.manual_seed(dropout_seed(job.run.recipe.seed, position, rank))
    total = torch.zeros((), device=job.run.accelerator.device)
    split = is_sharded(job.run.accelerator)
    share = micro_batches(batch, job.train.encoded.lengths, tokens, rank, processes, even=split)
    for micro, last in marked_last(share):
        with job.trained.micro_batch(last=last), quick_dropout(job.run.accelerator.device):
            loss = micro_loss(job, micro)
            # Gradients are averaged over processes: hence the factor.
            job.trained.backward(loss * (processes / normaliser))
        total += loss.detach()
    # One exchange for both: a stop that only one process heard of must stop all of them after the same step.
    sums = torch.stack(
        [total.double(), torch.tensor(float(job.run.stop.received), device=total.device, dtype=torch.float64)]
    )
    loss_sum, stops = job.run.accelerator.reduce(sums, reduction="sum").tolist()
    norm = job.trained.clip(job.stage.optimizer.clip_norm)
    # fp16's gradient scaler meets infinite gradients by design and skips that step itself.
    if not math.isfinite(loss_sum) or (not math.isfinite(norm) and job.run.accelerator.mixed_precision != "fp16"):
        raise not_finite(job, batch, loss_sum / normaliser, norm)
    job.trained.update()
    return StepResult(
        loss=loss_sum / normaliser, norm=norm, tokens=int(job.train.encoded.lengths[batch].sum()), stop=stops > 0
    )


def micro_loss(job: Fit, micro: MicroBatch) -> torch.Tensor:
    """The summed loss of a micro-batch; a stand-in's is zero, and still reaches every weight."""
    device = job.run.accelerator.device
    logits = job.trained.network(**job.predictor.feed(job.train, micro.rows)).logits
    loss = job.loss.total(logits, torch.from_numpy(job.train.rows.labels[micro.rows]).to(device))
    # Not skipped: its backward pass is what the other processes wait for.
    return loss if micro.counted else loss * 0.0


def evaluate_validation(job: Fit, position: Position, place: dict[str, int]) -> Position:
    """Measure on validation, keep the checkpoint if it is among the best, and note whether the stage should stop
    early.
    """
    found = job.predictor.evaluate(job.validation, job.run.space)
    metrics = found.metrics
    metric = job.run.recipe.select.metric
    value = metrics[metric]
    patience = job.stage.early_stopping
    margin = patience.min_delta if patience else 0.0
    # The margin is early stopping's; which checkpoints stay, the keeper decides by the value alone.
    better = position.best is None or goodness(metric, value) > goodness(metric, position.best) + margin
    if job.run.accelerator.is_main_process:
        epoch = position.epoch + position.batch / place["batches"]
        golden = golden_of_stage(job, found.logits)
        job.run.keeper.save_checkpoint(job.run.classifier, golden, position, epoch, value)
    job.run.accelerator.wait_for_everyone()
    constant = Constant.of(job.validation.rows.labels, job.run.space, metric)
    learnt = constant.beaten_by(metrics)
    notes = [f"(best {metric})"] * better + [f"no better than one answer for all rows ({constant.said()})"] * (
        not learnt
    )
    job.run.track.evaluation(place, metrics, " ".join(notes), {**asdict(constant), "beaten": learnt})
    poor = 0 if better else position.poor + 1
    if patience and poor >= patience.patience:
        job.run.track.say(f"no gain in {poor} evaluations: the stage stops early")
    return replace(
        position,
        best=value if better else position.best,
        poor=poor,
        stage_done=patience is not None and poor >= patience.patience,
    )


def warn_early(job: Fit, losses: list[float], done: int, batches: int) -> None:
    """Say while there is time, half way and three quarters through the first epoch, that the loss stands where the
    label shares alone bring it: such a network gives every row one answer, and seldom leaves it.
    """
    window = batches // 4
    if batches < LEAST_BATCHES or len(losses) < window or done not in (batches // 2, 3 * batches // 4):
        return
    mean, shares = float(np.mean(losses[-window:])), job.loss.of_shares()
    if mean > (1 - LEAST_GAIN) * shares:
        job.run.track.say(
            f"warning: the loss of the last {window} steps, {mean:.4f}, is still that of the label shares alone "
            f"({shares:.4f}): the network gives every row the same answer; stop and {REMEDY}"
        )


def golden_of_stage(job: Fit, logits: NDArray[np.float32]) -> Golden:
    """What the whole network makes of some validation rows in fp32. logits: of all, in the launch's precision."""
    rows = job.validation.rows.take(choose(logits, job.validation.encoded.lengths, job.run.space))
    return make_golden(job.run.classifier.network, job.predictor.encoder, rows.texts, rows.pairs)


def gather_weights(job: Fit) -> None:
    """Where the trained network is a split copy, bring the plain one up to date: files are written from that."""
    if is_sharded(job.run.accelerator):
        main = job.run.accelerator.is_main_process
        weights = job.trained.weights(keep=main)
        if main:
            job.run.classifier.network.load_state_dict(weights)


def save_state(job: Fit, position: Position) -> None:
    """Save what a resume needs; on the main process, while the others wait."""
    main = job.run.accelerator.is_main_process
    training = {"optimizer": job.trained.optimizer_state(keep=main)}
    if main:
        if job.run.accelerator.scaler is not None:
            training["scaler"] = job.run.accelerator.scaler.state_dict()
        job.run.keeper.save_resume(job.run.classifier.network, training, position)
    job.run.accelerator.wait_for_everyone()


def dropout_seed(seed: int, position: Position, rank: int) -> int:
    """A seed of 63 bits, different for every (seed, stage, step, rank)."""
    words = np.random.SeedSequence((seed, position.stage, position.step, rank)).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


def marked_last(items: list[MicroBatch]) -> Iterator[tuple[MicroBatch, bool]]:
    """The items, each with whether it is the last."""
    for place, item in enumerate(items):
        yield item, place == len(items) - 1


def not_finite(job: Fit, batch: Ints, loss: float, norm: float) -> ClassifactError:
    """The error of a step that would have spoilt the weights, with the rows it was made of."""
    places = [job.train.rows.places[row] for row in batch.tolist()]
    return ClassifactError(
        "the loss is not finite; the weights were not touched",
        found=f"loss {loss}, gradient norm {norm}",
        where=", ".join(places[:8]) + (f" and {len(places) - 8} more rows" if len(places) > 8 else ""),
        do="look at these rows; lower the learning rate; or train in bf16 or fp32. The checkpoints so far are good",
    )
