"""Dropout on a CPU: torch's distribution and torch's formulas, drawn and computed in another way."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from trainer.network import cpu_dropout as dropout
from trainer.network.cpu_dropout import LEVELS, quick_dropout

CPU = torch.device("cpu")
Draw = Callable[[torch.Size, float, torch.dtype], torch.Tensor]


def parts(dtype: torch.dtype = torch.float64, rows: int = 3) -> list[torch.Tensor]:
    """Query, key and value: [rows, 2 heads, 5 or 7 tokens, 4]."""
    torch.manual_seed(1)
    return [torch.randn(rows, 2, tokens, 4, dtype=dtype, requires_grad=True) for tokens in (5, 7, 7)]


def test_values_are_dropped_as_often_as_asked_and_the_rest_scaled() -> None:
    """Of a million ones a tenth becomes zero, within five standard deviations, and the others 1 / 0.9."""
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        torch.manual_seed(0)
        with quick_dropout(CPU):
            found = functional.dropout(torch.ones(1_000_003, dtype=dtype), 0.1)
        zeros = int((found == 0).sum())
        assert abs(zeros - 100_000) < 5 * math.sqrt(1e6 * 0.09)
        exact = torch.tensor(LEVELS / (LEVELS - round(0.1 * LEVELS)), dtype=dtype)
        assert torch.equal(found[found != 0], exact.expand(1_000_003 - zeros))


def test_neighbours_and_seeds_are_independent() -> None:
    """What one value's fate is says nothing of the next one's, nor of the same one's under another seed."""
    with quick_dropout(CPU):
        torch.manual_seed(3)
        first = functional.dropout(torch.ones(400_000), 0.5) > 0
        again = functional.dropout(torch.ones(400_000), 0.5) > 0
        torch.manual_seed(3)
        repeated = functional.dropout(torch.ones(400_000), 0.5) > 0
    assert torch.equal(first, repeated)
    for shift in (1, 2, 3, 4, 8):
        assert abs(float((first[shift:] == first[:-shift]).double().mean()) - 0.5) < 0.005
    assert abs(float((first == again).double().mean()) - 0.5) < 0.005


def test_the_gradient_is_dropped_where_the_value_was() -> None:
    """A value's gradient is what it was multiplied with."""
    for dtype in (torch.float32, torch.bfloat16):
        values = torch.randn(1000, dtype=dtype).abs().add(1).requires_grad_()
        with quick_dropout(CPU):
            found = functional.dropout(values, 0.3)
        found.sum().backward()
        assert values.grad is not None
        torch.testing.assert_close(values.grad * values, found, rtol=0.01 if dtype == torch.bfloat16 else 1e-6, atol=0)


@pytest.mark.parametrize("piece", [1, 1 << 21], ids=["row_by_row", "all_at_once"])
@pytest.mark.parametrize("mask", ["none", "bool", "bias"])
def test_attention_is_its_formula(mask: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the draws it made, attention and its three gradients are those of softmax, mask and product written out."""
    monkeypatch.setattr(dropout, "PIECE", piece)
    draws: list[torch.Tensor] = []
    draw: Draw = dropout._keep

    def kept(shape: torch.Size, p: float, dtype: torch.dtype) -> torch.Tensor:
        draws.append(draw(shape, p, dtype))
        return draws[-1]

    monkeypatch.setattr(dropout, "_keep", kept)
    query, key, value = parts()
    hidden = torch.zeros(3, 1, 1, 7, dtype=torch.bool)
    hidden[1, ..., 4:] = True
    bias = torch.zeros(3, 1, 1, 7, dtype=torch.float64).masked_fill_(hidden, -math.inf)
    given = {"none": None, "bool": ~hidden, "bias": bias}[mask]
    with quick_dropout(CPU):
        found = functional.scaled_dot_product_attention(query, key, value, given, dropout_p=0.25)
    assert len(draws) == (3 if piece == 1 else 1)
    scores = query @ key.transpose(-1, -2) / 2 + (0 if mask == "none" else bias)
    expected = (scores.softmax(-1) * torch.cat(draws) / 0.75) @ value
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(found)
    for ours, theirs in zip(
        torch.autograd.grad(found, (query, key, value), weight),
        torch.autograd.grad(expected, (query, key, value), weight),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_attention_is_on_average_what_it_is_without_dropout() -> None:
    """The mean of many draws comes to attention without dropout."""
    query, key, value = parts(torch.float32, rows=1)
    many = [part.detach().expand(20_000, -1, -1, -1) for part in (query, key, value)]
    with quick_dropout(CPU), torch.no_grad():
        found = functional.scaled_dot_product_attention(*many, dropout_p=0.2).mean(0)
        exact = functional.scaled_dot_product_attention(query, key, value)[0]
    torch.testing.assert_close(found, exact, atol=0.02, rtol=0)


def test_half_precision_under_autocast() -> None:
    """Under autocast attention runs in bfloat16, as torch's own does, and lies within its rounding."""
    query, key, value = parts(torch.float32)
    with torch.autocast("cpu", torch.bfloat16), quick_dropout(CPU):
        found = functional.scaled_dot_product_attention(query, key, value, dropout_p=1 / LEVELS)
    assert found.dtype == torch.bfloat16
    exact = functional.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(found.float(), exact, atol=0.03, rtol=0)
    found.float().sum().backward()
    assert value.grad is not None
    assert value.grad.dtype == torch.float32


@pytest.mark.parametrize(
    "settings",
    [
        {"is_causal": True},
        {"attn_mask": torch.ones(5, 7, requires_grad=True)},
        {"dropout_p": 0.0},
        {"dropout_p": 1 / (4 * LEVELS)},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_attention_that_is_not_ours_is_torchs(settings: dict[str, Any]) -> None:
    """Causal attention, a learned bias and probabilities that 16 bits cannot express run as torch runs them."""
    torch.manual_seed(5)
    found = []
    for block in (nullcontext(), quick_dropout(CPU)):
        query, key, value = parts(torch.float32)
        with block:
            found.append(
                functional.scaled_dot_product_attention(query, key, value, **{"dropout_p": 0.1, **settings}).sum()
            )
    assert torch.equal(*found)


@pytest.mark.parametrize("settings", [{"training": False}, {"p": 1.0}, {"p": 0.0}, {"inplace": True}], ids=str)
def test_dropout_that_is_not_ours_is_torchs(settings: dict[str, Any]) -> None:
    """Evaluation, all, nothing and in place are torch's own, with its draws."""
    found = []
    for block in (nullcontext(), quick_dropout(CPU)):
        torch.manual_seed(5)
        with block:
            found.append(functional.dropout(torch.ones(100), **{"p": 0.3, **settings}))
    assert torch.equal(*found)


def test_gradient_checkpointing_draws_the_same_again() -> None:
    """What is computed a second time in the backward pass is dropped as it was in the first."""

    def block(values: torch.Tensor) -> torch.Tensor:
        heads = values.view(2, 2, 5, 4)
        return functional.dropout(
            functional.scaled_dot_product_attention(heads, heads, heads, dropout_p=0.4), 0.4
        ).flatten()

    found = []
    for again in (False, True):
        values = torch.linspace(-1, 1, 80, dtype=torch.float64).requires_grad_()
        torch.manual_seed(9)
        with quick_dropout(CPU):
            result: Any = checkpoint(block, values, use_reentrant=False) if again else block(values)
            result.sum().backward()
        found.append(values.grad)
    torch.testing.assert_close(found[0], found[1])


def test_another_device_keeps_its_own() -> None:
    """On a GPU torch's kernels stay."""
    torch.manual_seed(2)
    expected = functional.dropout(torch.ones(100), 0.5)
    torch.manual_seed(2)
    with quick_dropout(torch.device("cuda")):
        assert torch.equal(functional.dropout(torch.ones(100), 0.5), expected)


@pytest.mark.parametrize("shape", [(5, 7), (2, 5, 7), (1, 7)])
def test_a_mask_of_fewer_dimensions_is_left_to_torch(shape: tuple[int, ...]) -> None:
    """A mask that torch spreads over rows and heads gives torch's own result, and no error."""
    query, key, value = parts(torch.float32)
    mask = torch.zeros(shape)

    def drawn(quick: bool) -> torch.Tensor:
        torch.manual_seed(5)
        with quick_dropout(CPU) if quick else nullcontext():
            found: torch.Tensor = functional.scaled_dot_product_attention(query, key, value, mask, 0.3)
        return found

    assert torch.equal(drawn(quick=True), drawn(quick=False))


def test_the_environment_leaves_torchs_own_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the switch at 0 the draws are torch's; without it they are not."""

    def drawn(quick: bool) -> torch.Tensor:
        torch.manual_seed(5)
        with quick_dropout(CPU) if quick else nullcontext():
            return functional.dropout(torch.ones(1000), 0.3)

    assert not torch.equal(drawn(quick=True), drawn(quick=False))
    monkeypatch.setenv(dropout.SWITCH, "0")
    assert torch.equal(drawn(quick=True), drawn(quick=False))
