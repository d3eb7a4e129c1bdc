"""The classifier as training left it: torch in fp32, which every exported file is held against."""

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.proof.runtime import workers
from export.trained_run import Sample
from trainer.contract.encoding import Batch
from trainer.contract.errors import ArtifactError


def torch_logits(model: Any, batches: list[Batch], tick: Callable[[int], None]) -> list[NDArray[np.float32]]:
    """Logits [B, C] of each batch, in order, from worker threads.

    A thread a batch: threads inside torch wait for each other at every operator, which on a busy machine took three
    times the work.
    """
    # Families differ in what they take: DistilBERT knows no token types.
    accepted = inspect.signature(model.forward).parameters

    def score(batch: Batch) -> NDArray[np.float32]:
        """Logits of a batch, float32 [B, C]."""
        arrays = {name: torch.from_numpy(value) for name, value in batch.named().items() if name in accepted}
        with torch.inference_mode():
            logits: NDArray[np.float32] = model(**arrays).logits.float().numpy()
        tick(len(batch.ids))
        return logits

    with ThreadPoolExecutor(workers(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(score, batches))


def reference_logits(network: Any, sample: Sample, tick: Callable[[int], None]) -> NDArray[np.float32]:
    """torch's logits of the sample in row order, [N, C].

    Raises ArtifactError where any is not finite: such a model decides nothing.
    """
    logits = sample.in_order(torch_logits(network, sample.padded(), tick))
    broken = int((~np.isfinite(logits)).any(axis=1).sum())
    if broken:
        raise ArtifactError(
            "the checkpoint gives logits that are not numbers",
            found=f"{broken} of {len(sample)} rows",
            do="train again; the loss diverged",
        )
    return logits
