"""Losses summed over rows, with the number they are divided by, so that a step means the same however it is cut."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trainer.contract.errors import InputError, nearest
from trainer.contract.labels import LabelSpace
from trainer.recipes.recipe import LossPart

Labels = NDArray[np.int64] | NDArray[np.bool_]


class Loss:
    """The loss of a stage. labels: of its training rows, for "balanced" weights."""

    def __init__(self, part: LossPart, space: LabelSpace, labels: Labels) -> None:
        self._part = part
        self._multi = space.kind == "multi"
        self._rows = len(labels)
        self._counts = _counts(labels, space)
        weights = _weights(part, space, labels)
        self._weights = None if weights is None else torch.tensor(weights, dtype=torch.float32)

    def total(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The sum of the rows' losses, in fp32. logits [B, C]; labels int64 [B], or bool [B, C] for multi-label."""
        return self._each(logits, labels).sum()

    def _each(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of each row, [B], or for multi-label of each row's labels, [B, C]."""
        # In half precision the sum over a batch would lose the small losses of rows that are learnt already.
        logits = logits.float()
        weights = None if self._weights is None else self._weights.to(logits.device)
        if not self._multi:
            each = functional.cross_entropy(
                logits, labels, weight=weights, label_smoothing=self._part.label_smoothing, reduction="none"
            )
            right = logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
        else:
            smooth = self._part.label_smoothing
            # Towards a coin for each label, as single labels are smoothed towards all alike.
            target = labels.float() * (1 - smooth) + smooth / 2
            each = functional.binary_cross_entropy_with_logits(logits, target, pos_weight=weights, reduction="none")
            right = torch.where(labels.bool(), logits.sigmoid(), (-logits).sigmoid())
        if not self._part.focal:
            return each
        # At 0 a power below 1 has no slope, and its NaN would reach every weight.
        wrong = (1 - right).clamp_min(torch.finfo(torch.float32).tiny)
        return wrong**self._part.focal * each

    def constant(self) -> Tensor:
        """The logits [C] that are best where every row gets the same ones: the log-odds of the training rows' label
        shares (their logarithms for single labels), as weights and label smoothing bend them. The focal factor is left
        out: it has no closed form (Lin et al. 2017, section 4.1, start from the shares too).
        """
        # A label without a row, or one of every row, has no finite log-odds: half a row stands for what was not seen.
        counts = torch.from_numpy(self._counts).double().clamp(0.5, self._rows - 0.5)
        weights = torch.ones_like(counts) if self._weights is None else self._weights.double()
        smooth = self._part.label_smoothing
        if self._multi:
            positive = counts * (1 - smooth) + self._rows * smooth / 2
            return (weights * positive / (self._rows - positive)).log().float()
        mass = (1 - smooth) * weights * counts + smooth / len(counts) * weights * self._rows
        return (mass / mass.sum()).log().float()

    def of_shares(self) -> float:
        """The mean loss of the training rows where every row gets the `constant` logits: what a network that has
        learnt nothing but the label shares comes to.
        """
        size = len(self._counts)
        counts = torch.from_numpy(self._counts).double()
        if self._multi:
            # Each label's loss once with it and once without, then counted by the rows that are so.
            both = torch.tensor([[True], [False]]).expand(2, size)
            each = self._each(self.constant().expand(2, size), both).double()
            return float((each * torch.stack([counts, self._rows - counts])).sum() / (self._rows * size))
        each = self._each(self.constant().expand(size, size), torch.arange(size)).double()
        weights = torch.ones_like(counts) if self._weights is None else self._weights.double()
        return float((each * counts).sum() / (weights * counts).sum())

    def normaliser(self, labels: Labels) -> float:
        """What the total of a whole optimizer batch is divided by: weights of its rows, or its rows times labels."""
        if self._multi:
            return float(labels.size)
        return (
            float(len(labels)) if self._weights is None else float(self._weights.numpy()[labels.astype(np.int64)].sum())
        )


def _weights(part: LossPart, space: LabelSpace, labels: Labels) -> NDArray[np.float64] | None:
    """One weight a label, [C], or None for none."""
    if part.weights is None:
        return None
    if isinstance(part.weights, dict):
        for name in part.weights:
            if name not in space.names:
                raise InputError(
                    f"loss.weights names {name!r}, which is not a label",
                    expected=", ".join(space.names),
                    do=nearest(name, space.names),
                )
        return np.array([part.weights.get(name, 1.0) for name in space.names])
    # A label without a row would weigh infinitely.
    counts = np.maximum(_counts(labels, space), 1)
    # Of several labels how many rows have each not, for one that has it; of single ones what scikit-learn calls
    # balanced.
    return (len(labels) - counts) / counts if space.kind == "multi" else len(labels) / (len(space) * counts)


def _counts(labels: Labels, space: LabelSpace) -> NDArray[np.int64]:
    """Rows of each label, [C]."""
    if space.kind == "multi":
        return np.asarray(labels.sum(axis=0), dtype=np.int64)
    return np.bincount(labels.astype(np.int64), minlength=len(space)).astype(np.int64)
