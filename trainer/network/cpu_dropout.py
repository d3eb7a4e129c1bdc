"""Dropout for training on a CPU: the same distribution as torch's, for a fraction of its time.

On a CPU torch draws one random number a value, serially, and with dropout on attention leaves its fused kernel for one
that works in fp32 on all T x T weights at once: half of a training step. Here 16 random bits a value decide, what was
dropped is cleared by its bits, and attention runs a few rows at a time, while they are in the cache.

Within `quick_dropout` every `dropout` and `scaled_dot_product_attention` of any network is ours. Draws come from
torch's own generator, so `torch.manual_seed` and gradient checkpointing hold as before, and the number of threads
changes nothing. Where a network of yours does not get along with it, CLASSIFACT_QUICK_DROPOUT=0 in the environment
leaves torch's own in place.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional

# Probabilities are multiples of one in this many.
LEVELS = 1 << 16
# Attention weights that one piece of work holds: more fall out of the cache.
PIECE = 1 << 21
SWITCH = "CLASSIFACT_QUICK_DROPOUT"
_HALF = (torch.bfloat16, torch.float16)
_TORCHS_DROPOUT = functional.dropout
_TORCHS_ATTENTION = functional.scaled_dot_product_attention


@contextmanager
def quick_dropout(device: torch.device) -> Iterator[None]:
    """A block in which dropout on a CPU is ours, forward and backward; on other devices torch's own is the faster one.

    For the whole process, which must not run networks in other threads meanwhile. Torch's function modes would not do:
    they are off in the backward pass, where gradient checkpointing runs layers once more.
    """
    if device.type != "cpu" or os.environ.get(SWITCH) == "0":
        yield
        return
    functional.dropout, functional.scaled_dot_product_attention = _dropout, _attention
    try:
        yield
    finally:
        functional.dropout, functional.scaled_dot_product_attention = _TORCHS_DROPOUT, _TORCHS_ATTENTION


def _dropout(input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:  # noqa: A002 -- torch's name for it
    if not training or inplace or not _possible(input, p):
        return _TORCHS_DROPOUT(input, p, training, inplace)
    return _Dropout.apply(input, p)  # type: ignore[no-untyped-call]


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    *more: Any,
    **named: Any,
) -> Any:
    scale = named.get("scale") or query.shape[-1] ** -0.5
    other_kind = bool(more) or named.get("is_causal") or named.get("enable_gqa") or query.dim() != 4
    # A mask of fewer dimensions, and keys of another batch or other heads, are spread in ways that torch knows.
    other_shape = key.shape[:2] != query.shape[:2] or value.shape[:3] != key.shape[:3]
    other_mask = attn_mask is not None and (attn_mask.requires_grad or attn_mask.dim() != 4)
    if other_kind or other_shape or other_mask or not _possible(query, dropout_p):
        return _TORCHS_ATTENTION(query, key, value, attn_mask, dropout_p, *more, **named)
    if torch.is_autocast_enabled("cpu"):
        query, key, value = (part.to(torch.get_autocast_dtype("cpu")) for part in (query, key, value))
    bias = None
    if attn_mask is not None:
        bias = attn_mask
        if bias.dtype == torch.bool:
            bias = torch.zeros(bias.shape, dtype=query.dtype).masked_fill_(~bias, -math.inf)
        bias = bias.to(query.dtype).expand(len(query), -1, -1, -1)
    return _Attention.apply(query, key, value, bias, scale, dropout_p)  # type: ignore[no-untyped-call]


def _possible(values: torch.Tensor, p: float) -> bool:
    """Whether there is something to drop that 16 bits can express, of a kind that clearing bits can drop."""
    return 0 < round(p * LEVELS) < LEVELS and values.device.type == "cpu" and values.is_floating_point()


def _keep(shape: torch.Size, p: float, dtype: torch.dtype) -> torch.Tensor:
    """Which values stay. For halves int16, all bits set where a value stays; for others a bool."""
    count = math.prod(shape)
    # Four draws of 16 bits in each number that torch draws.
    words = torch.randint(-(1 << 63), (1 << 63) - 1, (-(-count // 4),), dtype=torch.int64)
    draws = words.view(torch.int16)[:count].view(shape)
    threshold = round(p * LEVELS) - LEVELS // 2
    return draws.ge_(threshold).neg_() if dtype in _HALF else draws >= threshold


def _kept(values: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """The values with zeros where they were dropped."""
    if keep.dtype == torch.bool:
        return values * keep
    return values.contiguous().view(torch.int16).bitwise_and(keep).view(values.dtype)


def _scale(p: float) -> float:
    return LEVELS / (LEVELS - round(p * LEVELS))


class _Dropout(torch.autograd.Function):
    """Values, each zero with probability p and divided by 1 - p otherwise: forward(values of any shape, p)."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, p: float) -> torch.Tensor:
        """Values with some of them dropped; keeps which."""
        keep = _keep(values.shape, p, values.dtype)
        ctx.save_for_backward(keep)
        ctx.scale = _scale(p)
        return _kept(values, keep).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """The gradient, dropped where the values were."""
        (keep,) = ctx.saved_tensors
        return _kept(gradients[0], keep).mul_(ctx.scale), None


class _Attention(torch.autograd.Function):
    """softmax(scale * Q K' + bias), dropped out, times V: [B, H, T, D], all in the precision of the inputs.

    forward(query, key, value [B, H, T, D], bias [B, H, T, T] or None, scale, p). It keeps the weights before dropout
    and one bit pattern a weight, so that backward draws nothing.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Any:
        """The result [B, H, T, D], a piece of the rows at a time."""
        query, key, value, bias, scale, p = inputs
        weights = query.new_empty(*query.shape[:3], key.shape[2])
        result = query.new_empty(*query.shape[:3], value.shape[3])
        keeps = []
        with torch.autocast("cpu", enabled=False):
            for rows in _pieces(weights):
                scores = torch.matmul(query[rows], key[rows].transpose(-1, -2)).mul_(scale)
                if bias is not None:
                    scores.add_(bias[rows])
                torch.softmax(scores, -1, out=weights[rows])
                keeps.append(_keep(scores.shape, p, scores.dtype))
                torch.matmul(_kept(weights[rows], keeps[-1]), value[rows], out=result[rows])
        ctx.save_for_backward(query, key, value, weights, *keeps)
        ctx.factors = scale, _scale(p)
        return result.mul_(_scale(p))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Gradients of query, key and value, by the same pieces."""
        query, key, value, weights, *keeps = ctx.saved_tensors
        scale, dropped = ctx.factors
        gradient = gradients[0] * dropped
        to_query, to_key, to_value = (torch.empty_like(part) for part in (query, key, value))
        for rows, keep in zip(_pieces(weights), keeps, strict=True):
            to_value[rows] = torch.matmul(_kept(weights[rows], keep).transpose(-1, -2), gradient[rows])
            to_weights = _kept(torch.matmul(gradient[rows], value[rows].transpose(-1, -2)), keep)
            to_scores = torch._softmax_backward_data(to_weights, weights[rows], -1, weights.dtype).mul_(scale)
            to_query[rows] = torch.matmul(to_scores, key[rows])
            to_key[rows] = torch.matmul(to_scores.transpose(-1, -2), query[rows])
        return to_query, to_key, to_value, None, None, None


def _pieces(weights: torch.Tensor) -> list[slice]:
    """Rows of a batch, so many at a time that their attention weights stay in the cache."""
    step = max(1, PIECE // max(1, weights[0].numel())) if len(weights) else 1
    return [slice(start, start + step) for start in range(0, len(weights), step)]
