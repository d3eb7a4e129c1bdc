"""An encoder with a head for a recipe's labels, or the classifier of a checkpoint."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from packaging.version import InvalidVersion, Version
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.labels import LabelSpace
from trainer.contract.lanes import other_lane
from trainer.network.head import fit_head
from trainer.network.layers import embeddings, encoder_layers
from trainer.opening.checkpoint import open_network
from trainer.opening.config import ModelConfig
from trainer.opening.labels import label_settings
from trainer.opening.names import find_folder
from trainer.opening.network import Filled, head_name, network_with, read_weights
from trainer.opening.tokenizer import open_tokenizer
from trainer.recipes.recipe import ModelPart

# What transformers 4 had a choice of, and the choice that transformers 5 always takes.
_GONE = {"position_embedding_type": "absolute"}


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A network with its tokenizer."""

    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    inputs: frozenset[str]
    """Names that its forward takes."""
    head: str
    """Name of the linear layer that gives the logits, a row of its weight for each label."""
    new: tuple[str, ...]
    """Names of the weights that no file gave, drawn at random."""
    longest: int
    """The most tokens that its position embeddings allow."""
    notes: tuple[str, ...] = ()
    """What the user should know of how it was opened, a line each."""


def load_classifier(part: ModelPart, space: LabelSpace, seed: int) -> Classifier:
    """An encoder with a head for these labels, in fp32.

    Weights come from safetensors alone and no code comes with them. Raises InputError where the name leads nowhere, a
    hash differs, the folder asks for code, or there is no fast tokenizer; ArtifactError where a file is damaged.
    """
    folder, notes = find_folder(part.name, part.sha256)
    found = ModelConfig.read(folder)
    # Keys that no code reads would be carried into every checkpoint, and refused when one is opened.
    config, unknown = found.build(label_settings(space))
    if unknown:
        notes += (_ignored(found, unknown),)
        config, _ = found.build(label_settings(space), skip=frozenset(unknown))
    tokenizer = open_tokenizer(folder, part.name)
    notes += _give_padding(config, tokenizer, part.name)
    _set_dropout(config, part.dropout)
    weights, head = read_weights(folder), head_name(found.family, config, found.path)
    # Before the network is filled: a head for other labels, or for these in another order, must not be taken as it is.
    weights, note = fit_head(weights, head, found.labels, space, part.head)
    # Weights that are missing are drawn here.
    torch.manual_seed(seed)
    filled = network_with(found.family, config, weights, found.path)
    _check_filled(filled, part.name)
    _check_vocabulary(tokenizer, filled.network, part.name)
    return Classifier(
        network=filled.network,
        tokenizer=tokenizer,
        inputs=_inputs(filled.network),
        head=head,
        new=filled.missing,
        longest=_longest(filled.network),
        notes=(*notes, *([note] if note else [])),
    )


def open_checkpoint(path: Path) -> Classifier:
    """The classifier of a checkpoint folder, in fp32 and evaluation mode. Raises what `open_network` raises."""
    network = open_network(path)
    return Classifier(
        network=network,
        tokenizer=open_tokenizer(path, str(path)),
        inputs=_inputs(network),
        head=head_name(str(network.config.model_type), network.config, path),
        new=(),
        longest=_longest(network),
    )


def load_tokenizer(part: ModelPart) -> PreTrainedTokenizerFast:
    """The tokenizer alone, for looking at texts. Raises InputError as `load_classifier` does."""
    transformers.logging.set_verbosity_error()
    return open_tokenizer(find_folder(part.name, part.sha256)[0], part.name)


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


def _ignored(found: ModelConfig, unknown: list[str]) -> str:
    """The line that says which keys are left out. Raises InputError where a newer version may have meant them, or this
    one no longer does what they ask for.
    """
    here = transformers.__version__
    lost = [key for key in unknown if key in _GONE and found.settings[key] != _GONE[key]]
    try:
        newer = bool(found.written_by) and Version(found.written_by) > Version(here)
    except InvalidVersion:
        newer = True
    if newer or lost:
        raise InputError(
            "the model's config.json holds keys that this version of transformers ignores: it would compute another"
            " function",
            where=found.path,
            found=f"{', '.join(lost or unknown)}; written by transformers {found.written_by or '(not said)'}",
            expected=f"keys that transformers {here} knows for the family {found.family!r}",
            do=other_lane(here, written_by="4" if lost else found.written_by)
            or "install the version of transformers that wrote it, or use a copy that an earlier one wrote",
        )
    return f"config.json holds keys that no {found.family} network reads, left out: {', '.join(unknown)}"


def _give_padding(config: Any, tokenizer: PreTrainedTokenizerFast, name: str) -> tuple[str, ...]:
    """Where there is no padding token, pad with the end token, which the mask hides; and say so.

    A decoder's head reads the last token that is not padding: the same one whatever the row is padded to.
    """
    if tokenizer.pad_token_id is not None:
        if getattr(config, "pad_token_id", None) is None:
            config.pad_token_id = tokenizer.pad_token_id
        return ()
    stand_in = tokenizer.eos_token or tokenizer.sep_token or tokenizer.unk_token
    if stand_in is None:
        raise InputError(
            "the model's tokenizer has no padding token, and none that could stand in for one",
            where=name,
            expected="pad_token in tokenizer_config.json",
            do="name one there that no text contains, or choose another encoder",
        )
    tokenizer.pad_token = stand_in
    config.pad_token_id = tokenizer.pad_token_id
    return (f"the tokenizer has no padding token: rows are padded with {stand_in!r}, which the mask hides",)


def _check_filled(filled: Filled, name: str) -> None:
    """Raise InputError where a file's weights have another shape than config.json says, or leave the encoder open."""
    if filled.other_shape:
        raise InputError(
            "the model's weights do not fit its config.json",
            where=name,
            found=", ".join(filled.other_shape[:5]),
            do="use the folder as its authors published it",
        )
    network = filled.network
    parts = [*embeddings(network), *encoder_layers(network)]
    # By identity: tied weights have several names, of which a file holds one.
    inner = {id(weight) for part in parts for weight in part.parameters()}
    open_ones = [key for key, weight in network.named_parameters() if key in filled.missing and id(weight) in inner]
    if open_ones:
        raise InputError(
            "the model's weights do not fill its encoder, which would start at random",
            where=name,
            found=f"{len(open_ones)} weights are missing, the first is {open_ones[0]}",
            do="use the folder as its authors published it; see that config.json and the weights are of one model",
        )


def _check_vocabulary(tokenizer: PreTrainedTokenizerFast, network: PreTrainedModel, name: str) -> None:
    """Raise InputError where a token has no row in the table of embeddings: the first text with it would end all."""
    table = network.get_input_embeddings()
    token, number = max(tokenizer.get_vocab().items(), key=lambda item: item[1])
    if isinstance(table, nn.Embedding) and number >= table.num_embeddings:
        raise InputError(
            "the model's tokenizer has tokens that its network does not know",
            where=name,
            found=f"{token!r} is token {number}",
            expected=f"numbers below {table.num_embeddings}, the rows of its embeddings",
            do="give the network rows for them (transformers: resize_token_embeddings), or take the added tokens out",
        )


def _set_dropout(config: Any, dropout: float | None) -> None:
    if dropout is not None:
        # Families name theirs differently: hidden_dropout_prob, attention_dropout, classifier_dropout.
        for name in [name for name in config.to_dict() if "dropout" in name]:
            setattr(config, name, dropout)


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


@torch.no_grad()
def start_biases(classifier: Classifier, shares: torch.Tensor, before: torch.Tensor | None) -> None:
    """Put a new head's biases at the logits [C] of its training rows' label shares; where a later stage has others than
    the stage `before` it, move them by the difference.
    """
    bias = classifier.network.get_submodule(classifier.head).bias
    if not isinstance(bias, torch.Tensor):
        return
    if before is not None:
        # Moved, not set: the bias has learnt something beside the shares by then.
        bias.add_((shares - before).to(bias.device))
    elif f"{classifier.head}.bias" in classifier.new:
        bias.copy_(shares)
