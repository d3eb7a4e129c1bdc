"""One state for each row, the mean over its tokens, from an encoder that saw no label; in a file that is mapped."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.contract.encoding import Encoded, TextEncoder, budget_batches
from trainer.contract.system.progress import Progress
from trainer.network.load import Classifier
from trainer.predict import model_inputs

Float32s = NDArray[np.float32]


def new_file(path: Path, shape: tuple[int, int]) -> Float32s:
    """A file of float32 numbers as an array."""
    return np.memmap(path, np.float32, mode="w+", shape=shape)


@torch.no_grad()
def write_states(
    classifier: Classifier,
    encoder: TextEncoder,
    encoded: Encoded,
    out: Float32s,
    tokens: int,
    progress: Progress,
) -> None:
    """Fill `out` [N, H] with the mean of each row's last hidden states. tokens: padded ones of a batch, left out."""
    device = next(classifier.network.parameters()).device
    with progress.step("encoding", len(encoded)) as tick:
        for rows in budget_batches(encoded.lengths, np.argsort(-encoded.lengths, kind="stable"), tokens):
            inputs = model_inputs(encoder.pad(encoded, rows), classifier.inputs, device)
            states = classifier.network.base_model(**inputs)[0].float()
            mask = inputs["attention_mask"][:, :, None].float()
            out[rows] = ((states * mask).sum(dim=1) / mask.sum(dim=1)).cpu().numpy()
            tick(len(rows))
