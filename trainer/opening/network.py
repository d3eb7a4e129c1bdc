"""A network with a classification head, filled from safetensors that are read here: its class never sees the folder.

In a folder, transformers would also find adapters that name another model to open, and pickled weights.
"""

import contextlib
import copy
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel

from trainer.contract.encoding import PROBE, TextEncoder
from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.system.files import read_json
from trainer.opening.config import attention, network_class, told

WEIGHTS_FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A network in fp32 and evaluation mode."""

    network: PreTrainedModel
    missing: tuple[str, ...]
    """Names of its weights that no file gave, drawn at random."""
    other_shape: tuple[str, ...]
    """Those that a file gave in another shape, drawn at random too: name, both shapes, keys of config.json."""
    left_over: tuple[str, ...]
    """Names in the file that the network has not."""


def read_weights(folder: Path) -> Tensors:
    """All weights of a model folder, by name, from one safetensors file or from those that its index names.

    Raises InputError where there are none, ArtifactError where they are damaged.
    """
    weights: Tensors = {}
    for path in _files(folder):
        try:
            weights.update(load_file(path))
        except (OSError, ValueError, SafetensorError) as error:
            raise ArtifactError(
                "the weights cannot be loaded",
                where=path,
                found=" ".join(str(error).split())[:300],
                do="restore the file from its source",
            ) from error
    return weights


def network_with(family: str, config: Any, weights: Tensors, where: Path) -> Filled:
    """The network of a configuration with these weights. Weights that are not given are drawn with torch's seed.

    where: the configuration's file, for messages. Raises InputError where no network can be made of its values.
    """
    transformers.logging.set_verbosity_error()
    # transformers 5 shows bars while it reads and writes weights, whatever --quiet says.
    transformers.logging.disable_progress_bar()
    with _made_of(config, where):
        network, report = network_class(family).from_pretrained(
            None,
            config=config,
            state_dict=weights,
            dtype=torch.float32,
            attn_implementation=attention(family),
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    for weight in network.parameters():
        # transformers 5 cuts both halves of GTE's gated products out of one tensor; safetensors writes no such parts.
        if weight.untyped_storage().nbytes() > weight.nbytes:
            weight.data = weight.data.clone()
    # transformers puts the text "None" there.
    network.config.name_or_path = network.name_or_path = ""
    # Names in transformers 4, with the two shapes behind them in 5.
    names = [key if isinstance(key, str) else key[0] for key in report["mismatched_keys"]]
    return Filled(
        network=network.eval(),
        missing=_sorted(report["missing_keys"]),
        other_shape=_sorted(_apart(name, network, weights) for name in names),
        left_over=_sorted(report["unexpected_keys"]),
    )


def try_out(network: PreTrainedModel, encoder: TextEncoder, *, pairs: bool, where: str) -> None:
    """Run two texts (or pairs) through the network as training will, and leave it as it is.

    where: its config.json, for messages. Raises InputError where a value there, such as an epsilon that is text, lets a
    network be made and not run, or where it gives no finite numbers.
    """
    # Some families keep in themselves what they have met (BigBird its kind of attention): a copy, of the same weights.
    trial = copy.deepcopy(network, {id(weight): weight for weight in network.parameters()}).train()
    batch = encoder.pad(encoder.encode([PROBE, PROBE + PROBE], [PROBE] * 2 if pairs else None), np.arange(2)).named()
    names = inspect.signature(trial.forward).parameters
    with _made_of(network.config, where), torch.no_grad(), torch.random.fork_rng(devices=[]):
        logits = trial(**{name: torch.from_numpy(array) for name, array in batch.items() if name in names}).logits
        if not logits.isfinite().all():
            raise ArithmeticError(f"logits {logits[0].tolist()[:5]} of {PROBE!r}")


def head_name(family: str, config: Any, where: Path) -> str:
    """The name of the linear layer that gives the logits: the last one outside the encoder with a row a label.

    where: the configuration's file, for messages. Raises InputError where there is none, or no network can be made.
    """
    # Heads cannot be pruned where there are no values, and change nothing that is asked here.
    whole = copy.copy(config)
    whole.pruned_heads = {}
    with _made_of(config, where), torch.device("meta"):
        network: PreTrainedModel = network_class(family)(whole)
    inner = f"{network.base_model_prefix}."
    found = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and not name.startswith(inner) and module.out_features == config.num_labels
    ]
    if not found:
        raise InputError(
            f"the network of the family {family!r} has no linear layer that gives the logits",
            do="choose an encoder of another family",
        )
    return str(found[-1])


@contextlib.contextmanager
def _made_of(config: Any, where: object) -> Iterator[None]:
    """Tell in our words of values that no network works with: sizes that do not divide, an epsilon that is text."""
    try:
        yield
    except Exception as error:
        # Each family's class finds out in its own way.
        raise InputError(
            "no network works with this config.json and these weights",
            where=where,
            found=told(error, type(config), vars(config)),
            do="use the folder as its authors published it",
        ) from error


def _apart(name: str, network: PreTrainedModel, weights: Tensors) -> str:
    """A weight of another shape in words: both shapes, and the keys of config.json that hold what differs."""
    given = weights.get(name, weights.get(name.removeprefix(f"{network.base_model_prefix}.")))
    if given is None:
        return name
    here, there = list(network.state_dict()[name].shape), list(given.shape)
    sizes = {size for place, size in enumerate(here) if there[place : place + 1] != [size]}
    keys = [key for key, value in vars(network.config).items() if isinstance(value, int) and value in sizes]
    return f"{name} is {there} in the file, and {here} by {', '.join(keys[:3]) or 'config.json'}"


def _files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    if (folder / INDEX).is_file():
        index = read_json(folder / INDEX)
        names = index.get("weight_map") if isinstance(index, dict) else None
        found = {str(name) for name in names.values()} if isinstance(names, dict) else set()
        # Plain names alone. What they lead to may lie elsewhere: in the hub's cache they are links.
        if found and all(name.endswith(".safetensors") and Path(name).name == name for name in found):
            return [folder / name for name in sorted(found)]
        raise ArtifactError(
            f"{INDEX} names no files of its folder",
            where=folder,
            found=", ".join(sorted(found))[:200],
            do="restore the file from its source",
        )
    pickled = sorted(path.name for path in folder.glob("*.bin"))
    raise InputError(
        "the model has no weights as safetensors",
        where=folder,
        found=", ".join(pickled) or "no weights",
        expected=WEIGHTS_FILE,
        do="pickled weights can run code and are never loaded: convert them where they are trusted, or choose a model"
        " that has safetensors",
    )


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names))
