"""Golden logits made and compared: the same function where a checkpoint is written and wherever it is opened."""

import inspect
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from trainer.contract.checkpoint import Checkpoint
from trainer.contract.encoding import TextEncoder, budget_batches
from trainer.contract.golden import Golden, versions

# Padded tokens of a batch. It changes rounding at most.
_TOKENS = 2048
UNKNOWN = "no golden logits: an earlier version trained this run; that libraries read its weights alike is not checked"


def make_golden(
    network: PreTrainedModel, encoder: TextEncoder, texts: Sequence[str], pairs: Sequence[str] | None
) -> Golden:
    """What a network makes of these texts, in fp32. The network is left in evaluation mode."""
    logits = logits_in_fp32(network, encoder, texts, pairs)
    return Golden(texts=list(texts), pairs=None if pairs is None else list(pairs), logits=logits, versions=versions())


def check_golden(checkpoint: Checkpoint, network: PreTrainedModel) -> str:
    """Compare an opened checkpoint with its golden logits, and say what was found.

    Raises ArtifactError where the network is another function than the one that was trained.
    """
    golden = Golden.open(checkpoint.path)
    if golden is None:
        return UNKNOWN
    found = logits_in_fp32(network, checkpoint.encoder(), golden.texts, golden.pairs)
    difference = golden.compare(found, checkpoint.path)
    return f"{len(golden.texts)} golden rows: logits within {difference:.1g} of those where it was trained"


@torch.no_grad()
def logits_in_fp32(
    network: PreTrainedModel,
    encoder: TextEncoder,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    tick: Callable[[int], None] = lambda _rows: None,
) -> NDArray[np.float32]:
    """What a network makes of texts, float32 [N, C] in their order. The network is left in evaluation mode. tick: is
    called with each number of rows done.
    """
    network.eval()
    device = next(network.parameters()).device
    # Not the instance's own forward: Accelerate puts one there that computes in the launch's precision.
    forward = type(network).forward
    names = inspect.signature(forward).parameters
    encoded = encoder.encode(texts, pairs)
    order = np.argsort(-encoded.lengths, kind="stable")
    logits = np.empty((len(texts), network.config.num_labels), dtype=np.float32)
    for rows in budget_batches(encoded.lengths, order, _TOKENS):
        batch = encoder.pad(encoded, rows).named()
        given = {name: torch.from_numpy(array).to(device) for name, array in batch.items() if name in names}
        logits[rows] = forward(network, **given).logits.float().cpu().numpy()
        tick(len(rows))
    return logits
