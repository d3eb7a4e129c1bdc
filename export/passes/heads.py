"""Attention's heads in a graph: how queries, keys and values are split off hidden states."""

from collections.abc import Callable

import onnx

from export.passes.editing import Graph, attribute
from export.passes.probe import Probes

SCALES = frozenset({"Mul", "Div"})
# The order of axes that a product takes: heads before tokens, and keys turned on top.
HEADS_FIRST, KEYS = (0, 2, 1, 3), (0, 2, 3, 1)


def factor(graph: Graph, node: onnx.NodeProto) -> float | None:
    """What a node multiplies its first input by, where that is one constant other than zero."""
    value = graph.constant(node.input[1]) if node.op_type in SCALES else None
    if value is None or value.size != 1 or not value.item():
        return None
    return float(value.item()) if node.op_type == "Mul" else 1 / float(value.item())


def split_off(
    graph: Graph, probes: Probes, maker: Callable[[str], onnx.NodeProto | None], name: str, wanted: tuple[int, ...]
) -> tuple[onnx.NodeProto, float] | None:
    """The reshape that splits heads off [B, T, D], and the scale on the way from it to a tensor with its axes in the
    wanted order; None where the tensor is made otherwise.

    maker: the node that makes a tensor, None where it may not be looked through.
    """
    scale, order = 1.0, list(range(4))
    while (node := maker(name)) is not None and node.op_type in {"Transpose", *SCALES}:
        if node.op_type == "Transpose":
            given = attribute(node, "perm", [3, 2, 1, 0])
            order = [given[place] for place in order]
        else:
            found = factor(graph, node)
            if found is None:
                return None
            scale *= found
        name = node.input[0]
    if node is None or node.op_type != "Reshape" or tuple(order) != wanted or probes.rank(node.output[0]) != 4:
        return None
    return node, scale


def bias_place(graph: Graph, node: onnx.NodeProto) -> int | None:
    """The input of an addition that is a bias, a constant of one axis; an addition commutes, and exporters write it on
    either side.
    """
    values = [graph.constant(name) for name in node.input]
    return next((place for place, value in enumerate(values) if value is not None and value.ndim == 1), None)
