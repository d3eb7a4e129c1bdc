"""Hidden states as [T, B, D] instead of [B, T, D]: attention then needs one transpose a layer instead of four.

ONNX Runtime folds a transpose that moves the first axis behind the others (MatmulTransposeFusion, `transBatchA`) into
the product that follows, and cannot fold the usual one, which swaps tokens and heads. With tokens first, queries, keys
and values need the former. What works token by token does not care which of the two axes leads. Only the order of
numbers in memory changes, so this is exact but for the order in which products add.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx

from export.passes.editing import Graph, attribute
from export.passes.first_token import ELEMENTWISE
from export.passes.probe import Probes


@dataclass
class _Plan:
    """What is to change, and what was added for one reader and serves the next."""

    graph: Graph
    probes: Probes
    turned: set[str] = field(default_factory=set)
    """Tensors that will have tokens first."""
    there: dict[str, str] = field(default_factory=dict)
    back: dict[str, str] = field(default_factory=dict)

    def is_rows(self, name: str) -> bool:
        """Whether a tensor is [B, T, ...] with something for each token."""
        return (
            self.probes.rank(name) >= 3
            and self.probes.axis(name, 0) == self.probes.rows
            and self.probes.axis(name, 1) == self.probes.tokens
        )

    def turn(self, name: str) -> str:
        """The tensor with its first two axes swapped, as a turned node takes it."""
        if name in self.turned:
            return name
        if name not in self.there:
            self.there[name] = self.graph.add("Transpose", [name], "tokens_first", perm=_swapped(self.probes, name))
        return self.there[name]

    def turn_back(self, name: str) -> str:
        """A turned tensor as all others take it."""
        if name not in self.back:
            self.back[name] = self.graph.add("Transpose", [name], "rows_first", perm=_swapped(self.probes, name))
        return self.back[name]


def tokens_first(graph: Graph, probes: Probes) -> int:
    """Returns how many nodes work on turned tensors; 0 where some of them would have to be turned back for others."""
    plan = _Plan(graph, probes)
    for node in graph.nodes:
        if all(plan.is_rows(name) and name not in graph.outputs for name in node.output) and _can_turn(plan, node):
            plan.turned.update(node.output)
    heads = [node for node in graph.nodes if node.op_type == "Transpose" and node.input[0] in plan.turned]
    if not heads or any(_costs(plan, node) for node in graph.nodes):
        return 0
    nodes = list(graph.nodes)
    for node in nodes:
        if node.output[0] in plan.turned:
            _turn(plan, node)
        elif any(name in plan.turned for name in node.input):
            _read(plan, node)
    return len([node for node in nodes if node.output[0] in plan.turned])


def _swapped(probes: Probes, name: str) -> list[int]:
    return [1, 0, *range(2, probes.rank(name))]


def _can_turn(plan: _Plan, node: onnx.NodeProto) -> bool:
    rank = plan.probes.rank(node.output[0])
    if any(name and plan.probes.rank(name) < 0 for name in node.input):
        return False
    if node.op_type in ELEMENTWISE:
        return all(plan.probes.rank(name) <= rank for name in node.input)
    rule = _RULES.get(node.op_type)
    return rule is not None and rule(plan, node, rank)


def _normalizes_later(_plan: _Plan, node: onnx.NodeProto, rank: int) -> bool:
    return int(attribute(node, "axis", -1)) % rank >= 2


def _works_later(plan: _Plan, node: onnx.NodeProto, rank: int) -> bool:
    """A slice or a mean along other axes than those of rows and tokens, as a constant names them."""
    place = 3 if node.op_type == "Slice" else 1
    axes = plan.graph.constant(node.input[place]) if len(node.input) > place else None
    return axes is not None and bool((axes % rank >= 2).all()) and bool(attribute(node, "keepdims", 1))


def _has_constant_weight(plan: _Plan, node: onnx.NodeProto, _rank: int) -> bool:
    return plan.graph.is_constant(node.input[1]) and plan.probes.rank(node.input[1]) <= 2


def _keeps_rows(plan: _Plan, node: onnx.NodeProto, _rank: int) -> bool:
    """A reshape that leaves the first two axes alone, and says so by zeros."""
    shape = plan.graph.constant(node.input[1])
    return (
        shape is not None
        and plan.is_rows(node.input[0])
        and list(shape[:2]) == [0, 0]
        and not attribute(node, "allowzero", 0)
    )


def _looks_up(plan: _Plan, node: onnx.NodeProto, _rank: int) -> bool:
    return (
        attribute(node, "axis", 0) == 0
        and plan.graph.is_constant(node.input[0])
        and plan.probes.rank(node.input[1]) == 2
    )


_RULES: dict[str, Callable[[_Plan, onnx.NodeProto, int], bool]] = {
    "LayerNormalization": _normalizes_later,
    "Split": lambda _plan, node, rank: attribute(node, "axis", 0) % rank >= 2,
    "Slice": _works_later,
    "ReduceMean": _works_later,
    "MatMul": _has_constant_weight,
    "Reshape": _keeps_rows,
    "Gather": _looks_up,
    "Transpose": lambda plan, node, _rank: not plan.is_rows(node.input[0]),
}


def _costs(plan: _Plan, node: onnx.NodeProto) -> bool:
    """Whether a whole tensor would be turned for this node, by a transpose that no product takes in."""
    if node.output[0] in plan.turned:
        whole = (name for name in node.input if plan.is_rows(name) and plan.probes.shapes[name][0][2:] != (1,))
        return node.op_type != "Transpose" and any(name not in plan.turned for name in whole)
    taken = [name for name in node.input if name in plan.turned]
    free = node.op_type == "Transpose" or _takes_first(plan.graph, plan.probes, node) or _is_product(plan.probes, node)
    return bool(taken) and not free


def _is_product(probes: Probes, node: onnx.NodeProto) -> bool:
    return node.op_type == "MatMul" and min(probes.rank(name) for name in node.input) >= 3


def _takes_first(graph: Graph, probes: Probes, node: onnx.NodeProto) -> bool:
    """A part of the axis of tokens: the head's `Gather`, or the `Slice` that `first_token` adds."""
    if node.op_type == "Gather":
        return bool(attribute(node, "axis", 0) == 1 and probes.rank(node.input[1]) == 0)
    axes = graph.constant(node.input[3]) if node.op_type == "Slice" and len(node.input) == 4 else None
    return axes is not None and list(axes) == [1]


def _turn(plan: _Plan, node: onnx.NodeProto) -> None:
    """Let a node give its result with tokens first."""
    if node.op_type == "Transpose":
        order = _order(plan.probes, node)
        _set(node, "perm", [order[1], order[0], *order[2:]])
    elif node.op_type == "Gather":
        node.input[1] = plan.turn(node.input[1])
    elif node.op_type in ELEMENTWISE:
        rank = plan.probes.rank(node.output[0])
        for place, name in enumerate(node.input):
            node.input[place] = _aligned(plan, name, rank)
    else:
        node.input[0] = plan.turn(node.input[0])


def _aligned(plan: _Plan, name: str, rank: int) -> str:
    """What is broadcast against a turned tensor: turned where it has those axes, widened where only tokens lead."""
    own = plan.probes.rank(name)
    if own == rank and {*plan.probes.axis(name, 0), *plan.probes.axis(name, 1)} != {1}:
        return plan.turn(name)
    if own == rank - 1 and set(plan.probes.axis(name, 0)) != {1}:
        return plan.graph.add("Unsqueeze", [name, plan.graph.add_constant("axis", np.array([1]))], "tokens_first")
    return name


def _read(plan: _Plan, node: onnx.NodeProto) -> None:
    """Let a node that gives its result as before take turned tensors."""
    if node.op_type == "Transpose":
        _set(node, "perm", [{0: 1, 1: 0}.get(place, place) for place in _order(plan.probes, node)])
    elif node.op_type == "Gather":
        _set(node, "axis", 0)
    elif node.op_type == "Slice":
        node.input[3] = plan.graph.add_constant("axis", np.array([0]))
        # A part is small: turning it back costs nothing, and what reads it stays as it is.
        whole, node.output[0] = node.output[0], plan.graph.fresh("part")
        plan.graph.replace(
            whole, plan.graph.add("Transpose", [node.output[0]], "part", perm=_swapped(plan.probes, whole))
        )
    else:
        for place, name in enumerate(node.input):
            if name in plan.turned:
                node.input[place] = plan.turn_back(name)


def _order(probes: Probes, node: onnx.NodeProto) -> list[int]:
    return list(attribute(node, "perm", range(probes.rank(node.input[0]))[::-1]))


def _set(node: onnx.NodeProto, name: str, value: int | list[int]) -> None:
    for place in reversed(range(len(node.attribute))):
        if node.attribute[place].name == name:
            del node.attribute[place]
    node.attribute.append(onnx.helper.make_attribute(name, value))
