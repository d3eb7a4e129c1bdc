"""The last layer, behind its attention, run for the one token that the head reads.

Most heads read the first token of a row alone. Keys and values of the last layer are then needed of all tokens; its
output projection and its feed-forward products, three quarters of a BERT layer, of the first one only. Where inputs
may be cut is asked of the network: in a backward pass from the logits, a submodule of the layer whose input has a
gradient at the first token alone reads nothing else that matters. So no list of families says where it works.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

Inputs = Mapping[str, torch.Tensor]
# How far logits in fp32 may lie from those of the whole layer, as a share of the largest.
LOGITS_TOLERANCE = 1e-4


def read_first(network: nn.Module, layer: nn.Module | None, probes: Sequence[Inputs]) -> list[RemovableHandle]:
    """Hooks on `layer`, the network's last, which cut what can be cut; none where the head reads more than one token.

    probes: batches in fp32 to try it on, with and without padding, the first without. Rounding apart logits and
    gradients stay; fewer values are dropped out, so with dropout other ones are. The network is left in evaluation
    mode.
    """
    if layer is None:
        return []
    network.to(probes[0]["attention_mask"].device)
    network.eval()
    with torch.no_grad():
        expected = [network(**probe).logits for probe in probes]
    kept: list[RemovableHandle] = []
    for module in _of_first_alone(network, layer, probes[0]):
        cut = _Cut()
        handle = module.register_forward_pre_hook(cut, with_kwargs=True)
        # A submodule within one that is cut has nothing left to cut.
        if _same(network, probes, expected) and cut.used:
            kept.append(handle)
        else:
            handle.remove()
    return kept


def _of_first_alone(network: nn.Module, layer: nn.Module, probe: Inputs) -> list[nn.Module]:
    """The submodules of the layer, in the order they run, for which no token of their inputs but the first reaches the
    logits.
    """
    with torch.enable_grad(), _noted(layer) as notes:
        logits = network(**probe).logits
        values = [value for _, values in notes for value in values]
        gradients = iter(torch.autograd.grad(logits.sum(), values, allow_unused=True) if values else ())
    found = []
    for module, own in notes:
        reached = [gradient for gradient in (next(gradients) for _ in own) if gradient is not None]
        # Exactly zero: what is not read has no gradient, not a small one.
        if reached and all(bool(each[:, :1].any()) and not bool(each[:, 1:].any()) for each in reached):
            found.append(module)
    return found


@contextmanager
def _noted(layer: nn.Module) -> Iterator[list[tuple[nn.Module, list[torch.Tensor]]]]:
    """A block in which each submodule's own inputs [B, T, H] are noted as it runs."""
    notes: list[tuple[nn.Module, list[torch.Tensor]]] = []

    def note(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
        """Hand a module states of its own, which are noted for it."""
        own: list[torch.Tensor] = []

        def alias(value: Any) -> Any:
            """States [B, T, H] as a tensor of this module alone; anything else as it is."""
            if not _is_states(value):
                return value
            # Of its own: the same states go into other submodules too, whose gradients must not count here.
            own.append(value.view_as(value) if value.requires_grad else value.detach().requires_grad_())
            return own[-1]

        changed = tuple(map(alias, given)), {name: alias(value) for name, value in named.items()}
        notes.append((module, own))
        return changed

    handles = [module.register_forward_pre_hook(note, with_kwargs=True) for module in layer.modules()]
    try:
        yield notes
    finally:
        for handle in handles:
            handle.remove()


class _Cut:
    """A hook that gives a module the first token of its inputs."""

    def __init__(self) -> None:
        self.used = False
        """Whether there was more than one."""

    def __call__(self, _module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
        return tuple(map(self._first, given)), {name: self._first(value) for name, value in named.items()}

    def _first(self, value: Any) -> Any:
        if not _is_states(value) or value.shape[1] == 1:
            return value
        self.used = True
        return value[:, :1]


def _is_states(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() == 3 and value.is_floating_point()


@torch.no_grad()
def _same(network: nn.Module, probes: Sequence[Inputs], expected: Sequence[torch.Tensor]) -> bool:
    """Whether the logits are still those expected; False where the network cannot run like this."""
    try:
        found = [network(**probe).logits for probe in probes]
    except (IndexError, RuntimeError, TypeError, ValueError):
        return False
    return all(
        one.shape == other.shape and float((one - other).abs().max()) <= LOGITS_TOLERANCE * float(other.abs().max())
        for one, other in zip(found, expected, strict=True)
    )
