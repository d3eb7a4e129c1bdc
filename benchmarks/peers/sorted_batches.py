"""Texts in the batches that Classifact's scorer makes, for contestants that bring a model and no batching of their own.

So what is compared is the engine: rows sorted by length, cut by padded tokens, in as many threads as asked for.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.contract.checkpoint import Checkpoint
from trainer.contract.encoding import Batch, budget_batches

Forward = Callable[[list[Batch]], Iterable[Any]]
Classify = Callable[[list[str]], NDArray[np.int64]]


def side_by_side(forward: Callable[[Batch], Any], threads: int) -> Forward:
    """Batches in so many threads. forward: a batch's logits, [B, C]."""
    pool = ThreadPoolExecutor(threads)
    return lambda batches: pool.map(forward, batches)


def in_sorted_batches(checkpoint: str, forward: Forward, tokens: int) -> Classify:
    """A function from texts to numbers of labels.

    forward: the logits of each batch, [B, C], in order. tokens: padded tokens of a batch.
    """
    encoder = Checkpoint.open(Path(checkpoint)).encoder()

    def classify(texts: list[str]) -> NDArray[np.int64]:
        encoded = encoder.encode(texts)
        order = np.argsort(-encoded.lengths, kind="stable")
        batches = budget_batches(encoded.lengths, order, tokens)
        labels = np.empty(len(texts), dtype=np.int64)
        found = forward([encoder.pad(encoded, rows) for rows in batches])
        for rows, logits in zip(batches, found, strict=True):
            labels[rows] = np.argmax(logits, axis=1)
        return labels

    return classify
