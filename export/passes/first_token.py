"""The last layer for the first token only: where the head reads one token, the others need not be computed.

The head's `Gather(axis of tokens, 0)` asks for a slice of one token. The wish travels up through every operator that
works token by token, to the last attention, whose queries then have length 1 while keys and values keep theirs. Exact:
every number that is still computed is computed as before.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx

from export.passes.editing import Graph, attribute
from export.passes.probe import Probes
from export.passes.shapes import fixed_shape, reshape_to

_Use = tuple[int, int]
_Needs = list[tuple[int, int]]
_UNARY = frozenset({"Cast", "Dropout", "Erf", "Exp", "Gelu", "Identity", "IsNaN", "Log", "Neg", "Not", "Reciprocal"})
_CURVES = frozenset({"Relu", "Sigmoid", "Sqrt", "Tanh"})
_BROADCAST = frozenset(
    {"Add", "And", "Div", "Equal", "Greater", "Less", "Max", "Min", "Mul", "Or", "Pow", "Sub", "Where"}
)
ELEMENTWISE = _UNARY | _CURVES | _BROADCAST


@dataclass
class _Plan:
    """Which tensors are read by their first token alone, and which nodes can compute that alone."""

    graph: Graph
    probes: Probes
    wanted: dict[str, dict[_Use, int]] = field(default_factory=dict)
    """Tensor to its uses (a node, and which of its inputs) that want a slice of it, each with the axis of tokens."""
    converted: list[tuple[onnx.NodeProto, int]] = field(default_factory=list)
    """Nodes that compute one token in place of all, each with the axis of tokens in its result."""
    cut: list[tuple[str, dict[_Use, int]]] = field(default_factory=list)
    """Tensors that stay whole, of which those uses get a slice."""

    def want(self, node: onnx.NodeProto, place: int, axis: int) -> None:
        """Note that a node wants a slice of its input number `place`."""
        self.wanted.setdefault(node.input[place], {})[(id(node), place)] = axis


def first_token(graph: Graph, probes: Probes) -> int:
    """Returns how many nodes work on one token instead of all; 0 where the head reads more than the first."""
    plan = _Plan(graph, probes)
    for node in graph.nodes:
        if _reads_first(graph, probes, node):
            plan.want(node, 0, attribute(node, "axis", 0))
    _spread(plan)
    # Without a product among them there is nothing to win.
    if not any(node.op_type == "MatMul" for node, _ in plan.converted):
        return 0
    _rewrite(plan)
    return len(plan.converted)


def _reads_first(graph: Graph, probes: Probes, node: onnx.NodeProto) -> bool:
    # A pooler, or a head like RoBERTa's, begins with this look-up of the first token.
    if node.op_type != "Gather" or probes.rank(node.input[0]) < 2:
        return False
    index = graph.constant(node.input[1])
    return (
        index is not None
        and index.ndim == 0
        and int(index) == 0
        and probes.axis(node.input[0], attribute(node, "axis", 0)) == probes.tokens
    )


def _spread(plan: _Plan) -> None:
    """From the head upwards: a node obliges where all who take its result want the same slice of it."""
    uses = plan.graph.uses()
    for node in reversed(plan.graph.nodes):
        name = node.output[0]
        wishes = plan.wanted.pop(name, None)
        if not wishes:
            continue
        axes = set(wishes.values())
        # One reader that wants the whole tensor is enough to keep it whole.
        everyone = {(id(user), place) for user, place in uses[name]} == set(wishes)
        needs = None
        if everyone and len(axes) == 1 and len(node.output) == 1 and name not in plan.graph.outputs:
            needs = _needs(plan, node, next(iter(axes)))
        if needs is None:
            plan.cut.append((name, wishes))
            continue
        plan.converted.append((node, next(iter(axes))))
        for place, axis in needs:
            plan.want(node, place, axis)
    # What no node makes: inputs and weights.
    plan.cut.extend(plan.wanted.items())


def _rewrite(plan: _Plan) -> None:
    graph = plan.graph
    # Before anything is added: uses name nodes by identity.
    places = {id(node): node for node in graph.nodes}
    for node, axis in plan.converted:
        if node.op_type == "Reshape":
            source = _reshaped_axis(plan.probes, node, axis)
            shape = fixed_shape(plan.probes, node.input[0], node.output[0], sliced=(source, axis))
            if shape is not None:
                reshape_to(graph, node, shape)
    start, end = (graph.add_constant("first", np.array([value])) for value in (0, 1))
    for name, wishes in plan.cut:
        for axis in sorted(set(wishes.values())):
            where = graph.add_constant("axis", np.array([axis]))
            sliced = graph.add("Slice", [name, start, end, where], "first_token")
            for (node_id, place), wanted in wishes.items():
                if wanted == axis:
                    places[node_id].input[place] = sliced


def _needs(plan: _Plan, node: onnx.NodeProto, axis: int) -> _Needs | None:
    """Which inputs a node needs sliced, and where, to give its result sliced along `axis`; None where it cannot."""
    if any(name and plan.probes.rank(name) < 0 for name in [*node.input, *node.output]):
        return None
    if node.op_type in ELEMENTWISE:
        return _broadcast(plan.probes, node, axis, list(range(len(node.input))))
    rule = _RULES.get(node.op_type)
    return None if rule is None else rule(plan, node, axis)


def _broadcast(probes: Probes, node: onnx.NodeProto, axis: int, places: list[int]) -> _Needs:
    """Inputs are aligned at their last axes; one that has size 1 or no axis there serves every token as it is."""
    back = probes.rank(node.output[0]) - axis
    needs = []
    for place in places:
        own = probes.rank(node.input[place]) - back
        if own >= 0 and set(probes.axis(node.input[place], own)) != {1}:
            needs.append((place, own))
    return needs


def _matmul(plan: _Plan, node: onnx.NodeProto, axis: int) -> _Needs | None:
    rank = plan.probes.rank(node.output[0])
    # Tokens in the last axis come from the second input: keys, all of which a query needs.
    if axis == rank - 1 or min(plan.probes.rank(name) for name in node.input) < 2:
        return None
    return _broadcast(plan.probes, node, axis, [0] if axis == rank - 2 else [0, 1])


def _normalized(plan: _Plan, node: onnx.NodeProto, axis: int) -> _Needs | None:
    first = attribute(node, "axis", -1)
    rank = plan.probes.rank(node.output[0])
    # Each token is normalised by itself as long as the axis of tokens is none of those it sums over.
    return [(0, axis)] if axis < (first + rank) % rank else None


def _skipped(plan: _Plan, node: onnx.NodeProto, axis: int) -> _Needs | None:
    """ONNX Runtime's own addition and layer norm in one; further outputs are counted by the caller."""
    return [(0, axis), (1, axis)] if axis < plan.probes.rank(node.output[0]) - 1 else None


def _activated(plan: _Plan, node: onnx.NodeProto, axis: int) -> _Needs | None:
    return [(0, axis)] if axis < plan.probes.rank(node.output[0]) - 1 else None


def _reduced(plan: _Plan, node: onnx.NodeProto, axis: int) -> _Needs | None:
    """A mean over other axes. Older graphs write layer norm with it."""
    axes = plan.graph.constant(node.input[1]) if len(node.input) > 1 else None
    rank = plan.probes.rank(node.input[0])
    return None if axes is None or not attribute(node, "keepdims", 1) or axis in axes % rank else [(0, axis)]


def _softmax(plan: _Plan, node: onnx.NodeProto, axis: int) -> _Needs | None:
    rank = plan.probes.rank(node.output[0])
    return None if axis == (attribute(node, "axis", -1) + rank) % rank else [(0, axis)]


def _transpose(_plan: _Plan, node: onnx.NodeProto, axis: int) -> _Needs | None:
    order = attribute(node, "perm", None)
    return None if order is None else [(0, order[axis])]


def _reshape(plan: _Plan, node: onnx.NodeProto, axis: int) -> _Needs | None:
    source = _reshaped_axis(plan.probes, node, axis)
    if source < 0 or fixed_shape(plan.probes, node.input[0], node.output[0], sliced=(source, axis)) is None:
        return None
    return [(0, source)]


def _reshaped_axis(probes: Probes, node: onnx.NodeProto, axis: int) -> int:
    """The input's axis that an axis of a reshape's result is: as large, with as much before it, in every run."""
    before, size = _before(probes, node.output[0], axis), probes.axis(node.output[0], axis)
    for place in range(probes.rank(node.input[0])):
        if probes.axis(node.input[0], place) == size and _before(probes, node.input[0], place) == before:
            return place
    return -1


def _before(probes: Probes, name: str, axis: int) -> list[int]:
    return [int(np.prod(shape[:axis])) for shape in probes.shapes[name]]


def _gather(plan: _Plan, node: onnx.NodeProto, axis: int) -> _Needs | None:
    along = attribute(node, "axis", 0) % plan.probes.rank(node.input[0])
    width = plan.probes.rank(node.input[1])
    # The axes of the indices stand in the result where the gathered axis stood.
    if axis < along:
        return [(0, axis)]
    return [(1, axis - along)] if axis < along + width else [(0, axis - width + 1)]


def _gather_elements(plan: _Plan, node: onnx.NodeProto, axis: int) -> _Needs | None:
    along = attribute(node, "axis", 0) % plan.probes.rank(node.input[0])
    return [(1, axis)] if axis == along else [(0, axis), (1, axis)]


def _slice(plan: _Plan, node: onnx.NodeProto, axis: int) -> _Needs | None:
    axes = plan.graph.constant(node.input[3]) if len(node.input) > 3 else None
    rank = plan.probes.rank(node.output[0])
    return None if axes is None or axis in axes % rank else [(0, axis)]


def _concat(plan: _Plan, node: onnx.NodeProto, axis: int) -> _Needs | None:
    rank = plan.probes.rank(node.output[0])
    return None if attribute(node, "axis", 0) % rank == axis else [(place, axis) for place in range(len(node.input))]


def _unsqueeze(plan: _Plan, node: onnx.NodeProto, axis: int) -> _Needs | None:
    axes = plan.graph.constant(node.input[1])
    if axes is None:
        return None
    added = axes % plan.probes.rank(node.output[0])
    return None if axis in added else [(0, axis - int((added < axis).sum()))]


_RULES: dict[str, Callable[[_Plan, onnx.NodeProto, int], _Needs | None]] = {
    "MatMul": _matmul,
    "LayerNormalization": _normalized,
    "SkipLayerNormalization": _skipped,
    "BiasGelu": _activated,
    "ReduceMean": _reduced,
    "Softmax": _softmax,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Slice": _slice,
    "Concat": _concat,
    "Unsqueeze": _unsqueeze,
}
