"""What a checkpoint folder holds, read without torch: the contract, and which checkpoint of a run is the best.

checkpoints/NAME/  model.safetensors config.json tokenizer.json tokenizer_config.json special_tokens_map.json
golden.json contract.json        golden.json: logits of some rows where it was trained (see golden.py)
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from trainer.contract import schema
from trainer.contract.encoding import EncodingPolicy, TextEncoder
from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.golden import GOLDEN_FILE as GOLDEN
from trainer.contract.inputs import InputSpec
from trainer.contract.labels import LabelSpace
from trainer.contract.system.files import inside, read_json, sha256, write_json

T = TypeVar("T")
# Written with the first checkpoint, and beside the recipe, which is there from the start.
_BEST, _RECIPE = "best.json", "recipe.yaml"
CONTRACT_SCHEMA = 1
# In a run: what `classifact decide` chose, on which rows, and what was shown (trainer/decisions.schema.json).
DECISIONS = "decisions.json"
CHECKPOINT_FILES = (
    "model.safetensors",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)


@dataclass(frozen=True, kw_only=True)
class Contract:
    """All that turns a record into a decision, but the tokenizer and the network: data, never code."""

    labels: LabelSpace
    input: InputSpec
    encoding: EncodingPolicy

    def plain(self) -> dict[str, Any]:
        """As JSON-like values."""
        return {**asdict(self), "labels": self.labels.plain()}


def require_run(run: Path) -> None:
    """Raise InputError where a folder is no run, or one without a checkpoint yet: every command that takes a run says
    it alike, before it makes a lock or any other file there.
    """
    if (run / _BEST).is_file():
        return
    if (run / _RECIPE).is_file():
        what, do = "the run has no checkpoint yet", "let its training go on: the same command with --resume"
    else:
        what, do = "there is no run here", "check the path"
        if (run / "manifest.json").is_file():
            do = "name the run that this bundle was made of"
    raise InputError(what, where=run, found=f"no {_BEST}", expected="a folder that `classifact train` made", do=do)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint folder."""

    path: Path
    contract: Contract
    """Labels, input and encoding: what a row means to these weights."""
    stage: int
    """Which stage made it, counted from 0; the folder's name counts from 1."""
    epoch: float
    """Epochs of that stage so far, with the part of the last one."""
    step: int
    """Optimizer steps of the whole run so far."""
    metric: str
    """What checkpoints of the run are compared by."""
    value: float | None
    """Of that metric on the validation rows; None if it is undefined there."""

    @classmethod
    def open(cls, path: Path) -> "Checkpoint":
        """Read a checkpoint's contract.

        Raises ArtifactError where the folder is none, or was written by another schema.
        """
        data = read_json(path / "contract.json")
        if not isinstance(data, dict) or data.pop("schema", None) != CONTRACT_SCHEMA:
            raise ArtifactError(
                "the checkpoint has another schema",
                where=path / "contract.json",
                expected=f"schema {CONTRACT_SCHEMA}",
                do="use the Classifact version that wrote it, or train again",
            )
        data.pop("sha256", None)
        return from_json(Checkpoint, data, path / "contract.json", path=path)

    @classmethod
    def best(cls, run: Path) -> "Checkpoint":
        """The checkpoint that `best.json` of a run names.

        Raises what `require_run` raises, ArtifactError where the file names no checkpoint of the run.
        """
        require_run(run)
        best = read_json(run / _BEST)
        if not isinstance(best, dict) or not isinstance(best.get("checkpoint"), str):
            raise ArtifactError("best.json names no checkpoint", where=run / _BEST, do="train again")
        return cls.open(inside(run / "checkpoints", best["checkpoint"]))

    def save(self) -> None:
        """Write contract.json into the folder, last of its files: it holds the hashes of those that are there."""
        content = asdict(self)
        del content["path"]
        hashes = {
            name: sha256(self.path / name) for name in (*CHECKPOINT_FILES, GOLDEN) if (self.path / name).is_file()
        }
        content["contract"] = self.contract.plain()
        write_json(self.path / "contract.json", {"schema": CONTRACT_SCHEMA, **content, "sha256": hashes})

    def decide(self, labels: LabelSpace) -> "Checkpoint":
        """The same checkpoint with other decisions, written over its contract.json, which is replaced as a whole.

        The hashes of the other files stay as they were saved, so what was changed since is still found.
        """
        contract = replace(self.contract, labels=labels)
        path = self.path / "contract.json"
        write_json(path, {**read_json(path), "contract": contract.plain()})
        return replace(self, contract=contract)

    def verify(self) -> None:
        """Compare every file with the hash it was saved with.

        Raises ArtifactError naming the first that is missing or was changed.
        """
        recorded = read_json(self.path / "contract.json").get("sha256", {})
        # Runs of earlier versions have no golden logits.
        for name in (*CHECKPOINT_FILES, *({GOLDEN} & {*recorded})):
            file = self.path / name
            if not file.is_file():
                raise ArtifactError(
                    "a file of the checkpoint is missing", where=file, do="restore it from a copy, or train again"
                )
            if name in recorded and sha256(file) != recorded[name]:
                raise ArtifactError(
                    "a file of the checkpoint was changed",
                    where=file,
                    found=f"sha256 {sha256(file)[:16]}...",
                    expected=f"sha256 {recorded[name][:16]}...",
                    do="restore it from a copy, or train again",
                )

    def encoder(self) -> TextEncoder:
        """The text encoder of this checkpoint."""
        return TextEncoder.open(self.path / "tokenizer.json", self.contract.encoding)


def from_json(cls: type[T], data: object, where: Path | str, **given: Any) -> T:
    """Bind JSON to a dataclass of ours.

    `given` fills fields that the file does not hold. Raises ArtifactError with every problem.
    """
    problems: list[str] = []
    result = schema.bind(cls, data, problems, given=given)
    if result is None:
        raise ArtifactError(
            "the file does not fit its schema",
            where=where,
            found="; ".join(problems),
            do="restore it, or make it again",
        )
    return result
