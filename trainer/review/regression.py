"""Logistic regression on states that need not fit memory: a few hundred numbers a row, read in pieces."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.contract.encoding import Ints

Float32s = NDArray[np.float32]
# Rows that are read at a time: 24 MB of 384 numbers each.
_PIECE = 16_384
# Of the squared weights, as a share of the mean loss: what scikit-learn calls C = 1 / (N * strength).
STRENGTH = 0.1
_ITERATIONS = 100


@dataclass(frozen=True, kw_only=True)
class Regression:
    """Weights of H states for C labels, on states of mean 0 and deviation 1."""

    kind: Literal["single", "multi"]
    mean: torch.Tensor
    deviation: torch.Tensor
    weights: torch.Tensor
    """float32 [H + 1, C]; the last row is the bias."""

    @classmethod
    def fit(cls, states: Float32s, targets: Float32s, rows: Ints, kind: Literal["single", "multi"]) -> "Regression":
        """Fit `rows` of states [N, H]. targets: float32 [N, C], 1 where a row has the label. By L-BFGS over all rows,
        so that the same rows give the same weights.
        """
        mean, deviation = _scale(states, rows)
        weights = torch.zeros(states.shape[1] + 1, targets.shape[1], requires_grad=True)
        optimizer = torch.optim.LBFGS([weights], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")
        model = cls(kind=kind, mean=mean, deviation=deviation, weights=weights)

        def closure() -> torch.Tensor:
            """The loss, a scalar, with its gradient in `weights`."""
            optimizer.zero_grad()
            penalty = STRENGTH / 2 * (weights[:-1] ** 2).sum()
            penalty.backward()  # type: ignore[no-untyped-call]
            total = penalty.detach()
            for piece in _pieces(rows):
                wanted = torch.from_numpy(targets[piece])
                # Backward piece by piece, so that no graph holds all rows at once.
                loss = model.loss(states[piece], wanted) / len(rows)
                loss.backward()  # type: ignore[no-untyped-call]
                total = total + loss.detach()
            return total

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        return cls(kind=kind, mean=mean, deviation=deviation, weights=weights.detach())

    def loss(self, states: Float32s, targets: torch.Tensor) -> torch.Tensor:
        """The summed negative log-likelihood."""
        logits = self.logits(states)
        if self.kind == "single":
            return torch.nn.functional.cross_entropy(logits, targets.argmax(dim=1), reduction="sum")
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")

    def logits(self, states: Float32s) -> torch.Tensor:
        """Of states [B, H], float32 [B, C]."""
        scaled = (torch.from_numpy(np.array(states)) - self.mean) / self.deviation
        return scaled @ self.weights[:-1] + self.weights[-1]

    def predict(self, states: Float32s, rows: Ints, out: Float32s) -> None:
        """Write the logits of `rows` into their places of `out` [N, C]."""
        with torch.no_grad():
            for piece in _pieces(rows):
                out[piece] = self.logits(states[piece]).numpy()


def _pieces(rows: Ints) -> list[Ints]:
    return [rows[start : start + _PIECE] for start in range(0, len(rows), _PIECE)]


def _scale(states: Float32s, rows: Ints) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of each of H states; a state that never moves has deviation 1."""
    total, squares = np.zeros(states.shape[1]), np.zeros(states.shape[1])
    for piece in _pieces(rows):
        values = states[piece].astype(np.float64)
        total += values.sum(axis=0)
        squares += (values**2).sum(axis=0)
    mean = total / len(rows)
    deviation = np.sqrt(np.maximum(squares / len(rows) - mean**2, 0))
    deviation[deviation < 1e-6] = 1.0
    return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(deviation.astype(np.float32))
