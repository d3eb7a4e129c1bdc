"""What the machine can do at most, and what a model asks of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.rounds import Outcome
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.encoding import Ints
from trainer.contract.system.files import read_json

ROOM = "benchmarks.peers.limits"


def limits(outcomes: Sequence[Outcome]) -> dict[str, dict[str, Any]]:
    """Of each precision the most operations a second that any kernel did in any round, and whose it was.

    outcomes: of the room of limits, which takes turns with those that are held against it. A multiplication and an
    addition are two operations.
    """
    best: dict[str, dict[str, Any]] = {}
    for outcome in outcomes:
        variant = outcome.contestant.variant
        rate = max((each["rate"] for each in outcome.rounds), default=0.0)
        if rate > best.get(variant.precision, {"rate": 0.0})["rate"]:
            best[variant.precision] = {"rate": rate, "kernel": variant.name}
    return best


def operations(checkpoint: Path, texts: Sequence[str]) -> list[float]:
    """Operations in the matrix products of each text, as the checkpoint's whole network does them without padding."""
    return products(checkpoint, Checkpoint.open(checkpoint).encoder().encode(texts).lengths)


def products(folder: Path, lengths: Ints) -> list[float]:
    """The same of rows of so many tokens, for the encoder whose config.json lies in a folder.

    A row of T tokens takes, in each of L layers of width H with F inside, 2 T (4 H^2 + 2 H F) for the products with
    weights and 4 T^2 H for the two of attention. Layers that an exact pass leaves out are counted all the same, so who
    spares work comes nearer to the limit.
    """
    config = read_json(folder / "config.json")
    wide, inside, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    tokens = lengths.astype(np.float64)
    each = layers * (2 * tokens * (4 * wide**2 + 2 * wide * inside) + 4 * tokens**2 * wide)
    return [float(one) for one in each]
