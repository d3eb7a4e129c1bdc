"""Probabilities of labels from models that never saw them: every training row is held out of one of K folds."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray

from trainer.contract.checkpoint import Checkpoint
from trainer.contract.encoding import Ints
from trainer.contract.system.files import atomic_file, atomic_folder
from trainer.contract.system.progress import QUIET, Progress
from trainer.data.splits import Splits, save_anew
from trainer.data.tokens import tokenized
from trainer.network.load import load_classifier, open_checkpoint
from trainer.predict import EncodedRows, Predictor
from trainer.recipes.file import save_recipe
from trainer.recipes.recipe import Recipe
from trainer.review.regression import Regression
from trainer.review.states import new_file, write_states
from trainer.run_folder.folder import RUN_RECIPE
from trainer.search.trial_runs import link_tree
from trainer.stages import train
from trainer.training import TrainJob

Float32s = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class TrainingRows:
    """All rows that a run trained on: those of its stages' data, one part after another."""

    parts: list[Splits]
    stages: list[int]
    """Of each part, the first stage that trains on it, from 1."""
    last: int
    """The place of the part that the last stage trains on."""
    labels: NDArray[np.int64] | NDArray[np.bool_]
    """int64 [N] or bool [N, C]."""
    keys: NDArray[np.uint64]
    """[N], equal where texts are."""

    @classmethod
    def of(cls, splits: list[Splits]) -> "TrainingRows":
        """The rows of each stage's splits, once where stages share them."""
        first = {id(part): number for number, part in reversed([*enumerate(splits, 1)])}
        parts = sorted({id(part): part for part in splits}.values(), key=lambda part: first[id(part)])
        return cls(
            parts=parts,
            stages=[first[id(part)] for part in parts],
            last=next(place for place, part in enumerate(parts) if part is splits[-1]),
            labels=np.concatenate([part.train.labels for part in parts]),
            keys=np.concatenate([part.train.keys for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def starts(self) -> list[int]:
        """Where each part begins, and where the last one ends."""
        return [0, *np.cumsum([len(part.train) for part in self.parts]).tolist()]

    def folds(self, count: int, seed: int) -> Ints:
        """A fold for each row, 0 to count - 1, [N]: equal texts in one, each set of labels spread over all."""
        _, first, unit = np.unique(self.keys, return_index=True, return_inverse=True)
        _, kind = np.unique(self.labels, axis=0, return_inverse=True)
        shuffled = np.random.default_rng(seed).random(len(first))
        dealt = np.empty(len(first), dtype=np.int64)
        # Dealt like cards: one set of labels after the other, shuffled within, so that folds have as many of each.
        dealt[np.lexsort((shuffled, kind.reshape(-1)[first]))] = np.arange(len(first)) % count
        return np.asarray(dealt[unit])


def from_frozen_states(
    best: Checkpoint, recipe: Recipe, rows: TrainingRows, fold: Ints, work: Path, progress: Progress
) -> Float32s:
    """Logits [N, C] of logistic regressions on the base model's states. The base model, not the best checkpoint: what
    was fine-tuned on wrong labels has them in its states.
    """
    space, encoder = best.contract.labels, best.encoder()
    classifier = load_classifier(recipe.model, space, recipe.seed)
    device = Accelerator().device
    classifier.network.to(device)
    states = new_file(work / "states", (len(rows), int(classifier.network.config.hidden_size)))
    for part, start, stop in zip(rows.parts, rows.starts, rows.starts[1:], strict=False):
        encoded = tokenized(part.train, encoder, work, progress)
        write_states(classifier, encoder, encoded, states[start:stop], recipe.stages[-1].batch.tokens, progress)
    targets = new_file(work / "targets", (len(rows), len(space)))
    for label in range(len(space)):
        targets[:, label] = rows.labels == label if space.kind == "single" else rows.labels[:, label]
    logits = new_file(work / "logits", (len(rows), len(space)))
    with progress.step("fitting folds") as tick:
        for number in range(int(fold.max()) + 1):
            model = Regression.fit(states, targets, np.flatnonzero(fold != number), space.kind)
            held = np.flatnonzero(fold == number)
            model.predict(states, held, logits)
            tick(len(held))
    return logits


def from_trained_folds(
    run: Path, recipe: Recipe, rows: TrainingRows, fold: Ints, work: Path, *, quiet: bool
) -> Float32s:
    """Logits [N, C] of the run's own training, once for each fold without its rows.

    The validation rows choose each checkpoint as they chose the run's. A fold that is done is not trained again after a
    kill, and one that was under way goes on.
    """
    logits = new_file(work / "logits", (len(rows), len(rows.parts[0].space)))
    for number in range(int(fold.max()) + 1):
        done, out = work / f"fold_{number}.npy", work / f"fold_{number}"
        held = np.flatnonzero(fold == number)
        # The file comes last: a fold without it is trained again, or goes on.
        if not done.exists():
            if not out.exists():
                _make_run(out, run, recipe, rows, fold != number)
            train(TrainJob(recipe=recipe, out=out, resume=True, quiet=quiet))
            with atomic_file(done) as file:
                np.save(cast(Any, file), _held_out(Checkpoint.best(out), recipe, rows, fold == number, work))
            shutil.rmtree(out)
        logits[held] = np.load(done)
    return logits


def _make_run(out: Path, run: Path, recipe: Recipe, rows: TrainingRows, kept: NDArray[np.bool_]) -> None:
    """A run directory with the run's splits, but for the training rows that are not kept; no test rows."""
    with atomic_folder(out) as partial:
        save_recipe(recipe, partial / RUN_RECIPE)
        (partial / "checkpoints").mkdir()
        link_tree(run / "splits", partial / "splits")
        for place, (part, stage, start) in enumerate(zip(rows.parts, rows.stages, rows.starts, strict=False)):
            last = place == rows.last
            folder = partial / "splits" if last else partial / "splits" / f"stage_{stage}"
            chosen = np.flatnonzero(kept[start : start + len(part.train)])
            save_anew(part, {"train": part.train.take(chosen), "validation": part.validation}, folder)
            # A copy of people's texts that no fold reads.
            (folder / "test.jsonl").unlink(missing_ok=True)


def _held_out(
    checkpoint: Checkpoint, recipe: Recipe, rows: TrainingRows, held: NDArray[np.bool_], work: Path
) -> Float32s:
    """The checkpoint's logits of the rows that its fold held out, [rows held, C]."""
    accelerator, encoder = Accelerator(), checkpoint.encoder()
    classifier = open_checkpoint(checkpoint.path)
    predictor = Predictor(
        network=accelerator.prepare(classifier.network),
        inputs=classifier.inputs,
        encoder=encoder,
        accelerator=accelerator,
        tokens=recipe.stages[-1].batch.tokens,
    )
    found = []
    for part, start in zip(rows.parts, rows.starts, strict=False):
        chosen = part.train.take(np.flatnonzero(held[start : start + len(part.train)]))
        if len(chosen):
            found.append(predictor.logits(EncodedRows(rows=chosen, encoded=tokenized(chosen, encoder, work, QUIET))))
    return np.concatenate(found)
