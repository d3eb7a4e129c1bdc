"""What a run keeps on disk while it runs: the best checkpoints, and the one state that `--resume` goes on from.

RUN/checkpoints/NAME/   what export takes: weights, config, tokenizer, contract
RUN/best.json           the best of them
RUN/resume/             weights, optimizer and position of the last save, named by current.json
"""

import math
import os
import pickle  # for the error that torch's weights-only reader raises; nothing is unpickled
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from trainer.contract.checkpoint import Checkpoint, Contract, from_json
from trainer.contract.encoding import EncodingPolicy
from trainer.contract.errors import ArtifactError, ClassifactError
from trainer.contract.figures.metrics import LOWER_IS_BETTER
from trainer.contract.golden import Golden
from trainer.contract.system.files import atomic_folder, inside, read_json, remove_partials, write_json
from trainer.network.load import Classifier
from trainer.network.lora import plain_weights


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where a run stands. All counts start at 0."""

    stage: int = 0
    epoch: int = 0
    batch: int = 0
    """Optimizer batches done in this epoch."""
    step: int = 0
    """Optimizer steps done in the whole run."""
    best: float | None = None
    """The stage's best value yet."""
    poor: int = 0
    """Evaluations in a row without a gain."""
    tokens: int | None = None
    """The micro-batch budget, which running out of memory halves."""
    stage_done: bool = False
    """Whether the stage ended with this step."""


@dataclass(frozen=True, kw_only=True)
class Keeper:
    """Writes and prunes a run's checkpoints and its resume state. Only the main process may write."""

    run: Path
    contract: Contract
    metric: str
    keep: int
    last: bool = False
    """Whether the last checkpoint counts as the best, whatever its figure."""

    def save_checkpoint(
        self, classifier: Classifier, golden: Golden, position: Position, epoch: float, value: float
    ) -> None:
        """Write a checkpoint, point best.json at the stage's best, and drop those beyond `keep`."""
        folder = self.run / "checkpoints" / f"stage{position.stage + 1}-step{position.step:06d}"
        # Where it exists, a run that was killed soon after wrote it: checkpoints are whole or absent, and these are the
        # same weights.
        if not folder.exists():
            with told_if_full(folder), atomic_folder(folder) as partial:
                classifier.network.save_pretrained(partial, state_dict=plain_weights(classifier.network))
                save_tokenizer(classifier, self.contract.encoding, partial)
                golden.save(partial)
                Checkpoint(
                    path=partial,
                    contract=self.contract,
                    stage=position.stage,
                    epoch=epoch,
                    step=position.step,
                    metric=self.metric,
                    value=value,
                ).save()
        # By what lies on disk: a resumed run ranks what the process before it left.
        ranked = self.ranked(position.stage)
        best = ranked[0]
        write_json(
            self.run / "best.json",
            {"checkpoint": best.path.name, "metric": best.metric, "value": best.value, "step": best.step},
        )
        for checkpoint in ranked[self.keep :]:
            shutil.rmtree(checkpoint.path)

    def ranked(self, stage: int) -> list[Checkpoint]:
        """The stage's checkpoints on disk, best first, of equals the earlier; or the last first."""

        def rank(checkpoint: Checkpoint) -> tuple[float, int]:
            """What checkpoints are sorted by, the best first."""
            return (0.0, -checkpoint.step) if self.last else (-goodness(self.metric, checkpoint.value), checkpoint.step)

        folders = (self.run / "checkpoints").glob(f"stage{stage + 1}-step*")
        return sorted((Checkpoint.open(path) for path in folders), key=rank)

    def save_resume(self, network: nn.Module, training: dict[str, Any], position: Position) -> None:
        """Replace the resume state. training: state dicts of what else learns (the optimizer, a gradient scaler)."""
        folder = self.run / "resume"
        folder.mkdir(exist_ok=True)
        remove_partials(folder)
        name = f"stage{position.stage + 1}-step{position.step:06d}{'-done' if position.stage_done else ''}"
        if not (folder / name).exists():
            with told_if_full(folder / name), atomic_folder(folder / name) as partial:
                save_model(network, str(partial / "model.safetensors"))
                torch.save(training, partial / "training.pt")
                write_json(partial / "progress.json", asdict(position))
        write_json(folder / "current.json", {"folder": name})
        # Only now that the pointer has moved: until then the older state is the one to go on from.
        for other in folder.iterdir():
            if other.is_dir() and other.name != name:
                shutil.rmtree(other)

    def load_position(self) -> Position | None:
        """The position that a resume goes on from, or None where nothing was saved yet."""
        folder = self._resume_folder()
        return (
            None
            if folder is None
            else from_json(Position, read_json(folder / "progress.json"), folder / "progress.json")
        )

    def load_resume(self, network: nn.Module) -> dict[str, Any]:
        """Load the saved weights into the network; gives the other state dicts.

        Raises ArtifactError where they are damaged.
        """
        folder = self._resume_folder()
        if folder is None:
            raise ArtifactError(
                "there is no state to resume from", where=self.run / "resume", do="train into a new folder"
            )
        try:
            load_model(network, str(folder / "model.safetensors"))
            training: dict[str, Any] = torch.load(folder / "training.pt", map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
            raise ArtifactError(
                "the resume state cannot be read",
                where=folder,
                found=str(error)[:300],
                do="train again into a new folder; the checkpoints are untouched",
            ) from error
        return training

    def _resume_folder(self) -> Path | None:
        pointer = self.run / "resume" / "current.json"
        return inside(self.run / "resume", str(read_json(pointer)["folder"])) if pointer.exists() else None


def goodness(metric: str, value: float | None) -> float:
    """A metric's value with its sign turned so that more is better; an undefined one is worse than any."""
    if value is None or math.isnan(value):
        return -math.inf
    return -value if metric in LOWER_IS_BETTER else value


def save_tokenizer(classifier: Classifier, policy: EncodingPolicy, folder: Path) -> None:
    """Write the tokenizer's files with the limit and the side that training cut by, for tools that know no more than
    that.
    """
    tokenizer, side = classifier.tokenizer, "left" if policy.truncation == "tail" else "right"
    tokenizer.model_max_length, tokenizer.truncation_side = policy.max_tokens, side
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.enable_truncation(policy.max_tokens, direction=side)
    tokenizer.save_pretrained(folder, legacy_format=False)
    special = folder / "special_tokens_map.json"
    if not special.exists():
        # transformers 5 keeps this in tokenizer_config.json alone; older tools read it here.
        write_json(special, dict(tokenizer.special_tokens_map))


class Interrupted(ClassifactError):
    """A signal ended the run, which can go on with --resume."""

    exit_code = 130


@contextmanager
def told_if_full(path: Path) -> Iterator[None]:
    """Say in our words what torch and safetensors say in theirs when a file cannot be written."""
    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        raise ClassifactError(
            "the run's state cannot be written",
            where=path,
            found=str(error)[:200],
            do="see whether the disk is full, then run it again with --resume; what was saved before is untouched",
        ) from error


class StopRequest:
    """SIGTERM, SIGINT and the death of our launcher, as a flag that the loop reads after each step.

    A second signal ends the process at once.
    """

    def __init__(self) -> None:
        self._signal = 0
        # A launcher that is killed sends no signal, and a launcher of one process passes no SIGTERM on. In both cases
        # our parent changes when it ends. Without a launcher our parent is a shell, which may end while we work on.
        self._launcher = os.getppid() if "ACCELERATE_MIXED_PRECISION" in os.environ else None

    @property
    def received(self) -> bool:
        """Whether the run should save and end."""
        return self._signal != 0 or self._launcher not in {None, os.getppid()}

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Listen inside the block; the former handlers come back after it."""
        former = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield self
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._signal:
            raise KeyboardInterrupt
        self._signal = number
