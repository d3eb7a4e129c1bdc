"""Attention with one query needs neither its keys nor its values: their products move to the query's side.

After `first_token` the last layer asks one question a row. Its scores q (x W_k + b_k)^T are (q W_k^T) x^T and a number
that is the same for every key, which the softmax ignores; its result p (x W_v + b_v) is (p x) W_v + b_v, since p sums
to one. So two products with every token become two with one. Exact but for the order of sums. The same identity
"absorbs" the projections in multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.passes.editing import Graph, attribute
from export.passes.heads import HEADS_FIRST, KEYS, bias_place, split_off
from export.passes.probe import Probes

# What may lie between scores and softmax without making a number that all keys share matter.
_SHIFTS = frozenset({"Add", "Mul", "Div"})


@dataclass(frozen=True, kw_only=True)
class _Projection:
    """Keys or values as they come from hidden states: source [B, T, D] times weight [H, D, d] plus bias [H, 1, d]."""

    source: str
    weight: NDArray[np.float32]
    bias: NDArray[np.float32] | None


def one_query(graph: Graph, probes: Probes) -> int:
    """Returns how many projections of keys and values went."""
    makers, uses = graph.makers(), graph.uses()
    found = 0
    for node in [node for node in graph.nodes if node.op_type == "MatMul" and _asks_once(probes, node)]:
        keys = _projection(graph, probes, makers, node.input[1], KEYS)
        if keys is not None and (keys.bias is None or _reaches_softmax(graph, uses, node)):
            graph.replace(node.output[0], _scores(graph, node.input[0], keys))
            found += 1
            continue
        values = _projection(graph, probes, makers, node.input[1], HEADS_FIRST)
        asked = makers.get(node.input[0])
        if values is not None and asked is not None and _is_softmax(probes, asked):
            graph.replace(node.output[0], _context(graph, node.input[0], values))
            found += 1
    return found


def _asks_once(probes: Probes, node: onnx.NodeProto) -> bool:
    return probes.rank(node.output[0]) == probes.rank(node.input[0]) == 4 and set(probes.axis(node.input[0], 2)) == {1}


def _projection(
    graph: Graph, probes: Probes, makers: dict[str, onnx.NodeProto], name: str, wanted: tuple[int, ...]
) -> _Projection | None:
    """How a tensor is made of hidden states: a product, a bias, heads split off, axes in the wanted order, a scale."""
    found = split_off(graph, probes, makers.get, name, wanted)
    if found is None:
        return None
    split, scale = found
    heads = probes.shapes[split.output[0]][0][2]
    node, bias = _without_bias(graph, makers, split.input[0])
    if node is None or node.op_type != "MatMul" or probes.rank(node.input[0]) != 3:
        return None
    weight = graph.constant(node.input[1])
    if weight is None or weight.ndim != 2 or probes.axis(node.input[0], 1) != probes.tokens:
        return None
    # A scale between product and softmax goes into the weights: one operator less for each row.
    by_head = weight.reshape(len(weight), heads, -1).transpose(1, 0, 2)
    return _Projection(
        source=node.input[0],
        weight=np.asarray(by_head * scale, dtype=weight.dtype),
        bias=None if bias is None else np.asarray(bias.reshape(heads, 1, -1) * scale, dtype=weight.dtype),
    )


def _without_bias(
    graph: Graph, makers: dict[str, onnx.NodeProto], name: str
) -> tuple[onnx.NodeProto | None, NDArray[Any] | None]:
    node = makers.get(name)
    if node is None or node.op_type != "Add":
        return node, None
    place = bias_place(graph, node)
    return (None, None) if place is None else (makers.get(node.input[1 - place]), graph.constant(node.input[place]))


def _reaches_softmax(graph: Graph, uses: dict[str, list[tuple[onnx.NodeProto, int]]], node: onnx.NodeProto) -> bool:
    """Whether scores go into a softmax over keys and nowhere else, through additions and scales alone."""
    while len(users := uses[node.output[0]]) == 1 and node.output[0] not in graph.outputs:
        node, place = users[0]
        if node.op_type == "Softmax":
            return attribute(node, "axis", -1) in (-1, 3)
        # What all keys share stays shared under additions (a mask), and under a factor that is the same for all keys.
        factor = node.input[1 - place] if node.op_type in _SHIFTS else ""
        if node.op_type not in _SHIFTS or (node.op_type != "Add" and not graph.is_constant(factor)):
            return False
    return False


def _is_softmax(probes: Probes, node: onnx.NodeProto) -> bool:
    return node.op_type == "Softmax" and attribute(node, "axis", -1) % probes.rank(node.output[0]) == 3


def _scores(graph: Graph, query: str, keys: _Projection) -> str:
    """[B, H, 1, T] of a query [B, H, 1, d]: heads lead while they meet the weights, so that rows share one product."""
    asked = _heads_first(graph, query, len(keys.weight))
    weight = graph.add_constant("keys", keys.weight.transpose(0, 2, 1))
    asked = graph.add("Transpose", [graph.add("MatMul", [asked, weight], "query")], "query", perm=[1, 0, 2])
    states = graph.add("Transpose", [keys.source], "states", perm=[0, 2, 1])
    scores = graph.add("MatMul", [asked, states], "scores")
    return graph.add("Unsqueeze", [scores, graph.add_constant("axis", np.array([2]))], "scores")


def _context(graph: Graph, shares: str, values: _Projection) -> str:
    """[B, H, 1, d] of shares [B, H, 1, T]."""
    one = graph.add_constant("axis", np.array([2]))
    mixed = graph.add("MatMul", [graph.add("Squeeze", [shares, one], "shares"), values.source], "mixed")
    mixed = graph.add("Transpose", [mixed], "mixed", perm=[1, 0, 2])
    mixed = graph.add("MatMul", [mixed, graph.add_constant("values", values.weight)], "context")
    if values.bias is not None:
        mixed = graph.add("Add", [mixed, graph.add_constant("values_bias", values.bias)], "context")
    return graph.add("Unsqueeze", [graph.add("Transpose", [mixed], "context", perm=[1, 0, 2]), one], "context")


def _heads_first(graph: Graph, name: str, heads: int) -> str:
    """[B, H, 1, d] to [H, B, d]."""
    turned = graph.add("Transpose", [name], "query", perm=[1, 0, 2, 3])
    return graph.add("Reshape", [turned, graph.add_constant("shape", np.array([heads, 0, -1]))], "query")
