"""A run in training: what was asked for, and what all its stages share."""

from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from tokenizers import Tokenizer

from trainer.contract.checkpoint import Contract
from trainer.contract.encoding import EncodingPolicy, TextEncoder
from trainer.contract.errors import InputError
from trainer.contract.labels import LabelSpace
from trainer.data.splits import Splits, told_splits
from trainer.network.load import Classifier, load_classifier
from trainer.network.lora import check_lora, detach
from trainer.network.shape import shape
from trainer.opening.network import try_out
from trainer.processes.start import described
from trainer.recipes.recipe import Recipe
from trainer.run_folder.keeper import Keeper, StopRequest
from trainer.run_folder.track import Track, Watch

# In the run, while a stage lasts, unless the user names another folder.
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
    cache: Path
    """Where token ids and the states of frozen layers are kept."""

    @property
    def space(self) -> LabelSpace:
        """The labels, which all stages have in common."""
        return self.keeper.contract.labels


def open_training(job: TrainJob, accelerator: Accelerator, splits: Splits, track: Track, stop: StopRequest) -> Run:
    """Load the model and see that every stage can be made of it. splits: the first stage's.

    Raises InputError where the model cannot be loaded, read so long a text, or be what a stage asks for.
    """
    recipe = job.recipe
    classifier = load_classifier(recipe.model, splits.space, recipe.seed)
    if recipe.input.max_tokens > classifier.longest:
        raise InputError(
            "input.max_tokens is more than the model can read",
            found=recipe.input.max_tokens,
            expected=f"at most {classifier.longest}",
            do="lower it, or choose another model",
        )
    policy = EncodingPolicy(
        max_tokens=recipe.input.max_tokens,
        truncation=recipe.input.truncation,
        head_tokens=recipe.input.head_tokens,
        pad_id=int(classifier.tokenizer.pad_token_id or 0),
        pad_type_id=int(classifier.tokenizer.pad_token_type_id),
    )
    encoder = TextEncoder(Tokenizer.from_str(classifier.tokenizer.backend_tokenizer.to_str()), policy)
    # Before rows are tokenized, or a stage is over: what only a forward pass meets, such as an epsilon that is text.
    where = f"config.json of {recipe.model.name}"
    try_out(classifier.network, encoder, pairs=recipe.input.pair is not None, where=where)
    check_lora(recipe)
    for number, stage in enumerate(recipe.stages):
        # What a later stage cannot be shows now, not after hours of the first one.
        shape(classifier.network, stage, (recipe.seed, number))
        detach(classifier.network)
    contract = Contract(labels=splits.space, input=recipe.input.spec(), encoding=policy)
    return Run(
        recipe=recipe,
        accelerator=accelerator,
        classifier=classifier,
        encoder=encoder,
        keeper=Keeper(
            run=job.out, contract=contract, metric=recipe.select.metric, keep=recipe.select.keep, last=job.refit
        ),
        track=track,
        stop=stop,
        cache=job.cache or job.out / CACHE,
    )


def introduce(run: Run, splits: list[Splits]) -> None:
    """Say what is about to be trained."""
    accelerator, names = run.accelerator, ", ".join(run.space.names)
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
        for line in told_splits(part, run.recipe.labels):
            run.track.say(line)
