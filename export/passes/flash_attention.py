"""Attention as one operator, whose scores stay in the processor's cache.

Written out, attention makes every score, [B, H, T, T], in memory: once as a product, once with the mask, once as
shares. ONNX Runtime's `MultiHeadAttention` has a kernel that makes them block by block (FlashAttention,
arXiv:2205.14135), for rows without a mask alone. So the mask enters through the keys: each head of the queries gets one
more column, of ones, and each head of the keys one that is zero for a token that counts and "never" for padding. The
keys' bias goes at the same time: to a query it is the same for every key, and the softmax ignores it. Exact but for the
order of sums.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.passes.editing import Graph, attribute
from export.passes.first_token import ELEMENTWISE
from export.passes.heads import HEADS_FIRST, KEYS, SCALES, bias_place, factor, split_off
from export.passes.probe import Probes

DOMAIN = "com.microsoft"
# Tokens of a row from which on it pays: shorter rows have so few scores that they are in the cache anyhow.
FROM_TOKENS = 128
# Its exponential is zero, and it stays finite whatever is added to it or scales it.
_NEVER = -1e30


@dataclass(frozen=True, kw_only=True)
class _Heads:
    """Queries, keys or values as they come from hidden states: product, bias, heads split off, and a scale."""

    split: onnx.NodeProto
    number: int
    """Of heads."""
    scale: float
    product: onnx.NodeProto | None = None
    bias: onnx.NodeProto | None = None


@dataclass(frozen=True, kw_only=True)
class _Attention:
    """What one operator does at last: softmax(scale * (inner * q k + mask)) v, with the heads side by side again."""

    queries: _Heads
    keys: _Heads
    values: _Heads
    mask: str
    """[B, 1, 1, T]"""
    inner: float
    scale: float
    result: str


@dataclass
class _Plan:
    """What is known of the graph. Masks, columns and weights were made for one layer and serve the next."""

    graph: Graph
    probes: Probes
    makers: dict[str, onnx.NodeProto]
    uses: dict[str, list[tuple[onnx.NodeProto, int]]]
    masks: dict[str, str | None] = field(default_factory=dict)
    columns: dict[tuple[str, int, int, float], str] = field(default_factory=dict)
    weights: dict[tuple[str, int], str] = field(default_factory=dict)

    def maker(self, name: str, *kinds: str) -> onnx.NodeProto | None:
        """The node that makes a tensor which one node takes, of such a kind if any is named."""
        node = self.makers.get(name)
        once = len(self.uses[name]) == 1 and name not in self.graph.outputs
        return node if node is not None and once and node.op_type in (kinds or {node.op_type}) else None

    def taker(self, name: str, kind: str) -> onnx.NodeProto | None:
        """The one node that takes a tensor, where it is of that kind."""
        users = self.uses[name]
        once = len(users) == 1 and name not in self.graph.outputs
        return users[0][0] if once and users[0][0].op_type == kind else None


def flash_attention(graph: Graph, probes: Probes) -> int:
    """Returns how many layers' attention became one operator."""
    plan = _Plan(graph, probes, graph.makers(), graph.uses())
    found = [_attention(plan, node) for node in graph.nodes if node.op_type == "Softmax"]
    attentions = [each for each in found if each is not None]
    for each in attentions:
        _replace(plan, each)
    if attentions and all(entry.domain != DOMAIN for entry in graph.model.opset_import):
        graph.model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return len(attentions)


def _attention(plan: _Plan, softmax: onnx.NodeProto) -> _Attention | None:
    """The attention around a softmax over keys, where every query has the same mask and nothing else needs its parts.

    Attention that adds something else to its scores, like distances, is none.
    """
    name, inner, outer, mask = softmax.input[0], 1.0, 1.0, ""
    if plan.probes.rank(name) != 4 or attribute(softmax, "axis", -1) % 4 != 3:
        return None
    while (node := plan.maker(name, "Add", *SCALES)) is not None:
        if node.op_type == "Add":
            masks = [_for_one_query(plan, each) for each in node.input]
            place = next((place for place, each in enumerate(masks) if each), None)
            if mask or place is None:
                return None
            mask, name = masks[place] or "", node.input[1 - place]
            continue
        by = factor(plan.graph, node)
        if by is None:
            return None
        inner, outer = (inner * by, outer) if mask else (inner, outer * by)
        name = node.input[0]
    product, result = plan.maker(name, "MatMul"), _side_by_side(plan, softmax.output[0])
    if product is None or result is None or not mask:
        return None
    queries, keys = _projected(plan, product.input[0], HEADS_FIRST), _projected(plan, product.input[1], KEYS)
    values = _heads(plan, result[0], HEADS_FIRST)
    if queries is None or keys is None or values is None or not _together(queries, keys, values):
        return None
    inner *= queries.scale * keys.scale
    return _Attention(
        queries=queries, keys=keys, values=values, mask=mask, inner=inner, scale=inner * outer, result=result[1]
    )


def _together(queries: _Heads, keys: _Heads, values: _Heads) -> bool:
    """Whether the operator takes them: it scales no values, and lends no head of keys or values to several queries'."""
    return values.scale == 1 and queries.number == keys.number == values.number


def _side_by_side(plan: _Plan, shares: str) -> tuple[str, str] | None:
    """The values that shares are multiplied with, and the result once its heads stand side by side again, [B, T, D]."""
    product = plan.taker(shares, "MatMul")
    if product is None or product.input[0] != shares:
        return None
    turned = plan.taker(product.output[0], "Transpose")
    if turned is None or tuple(attribute(turned, "perm", ())) != HEADS_FIRST:
        return None
    joined = plan.taker(turned.output[0], "Reshape")
    if joined is None or plan.probes.rank(joined.output[0]) != 3:
        return None
    return product.input[1], joined.output[0]


def _for_one_query(plan: _Plan, name: str) -> str | None:
    """A mask [B, 1, T, T] as [B, 1, 1, T], where it is the same for every query; None where it may not be."""
    if name not in plan.masks:
        plan.masks[name] = _computed_for_one(plan, name)
    return plan.masks[name]


def _computed_for_one(plan: _Plan, name: str) -> str | None:
    probes, node = plan.probes, plan.makers.get(name)
    if probes.rank(name) != 4 or probes.axis(name, 3) != probes.tokens or set(probes.axis(name, 1)) != {1}:
        return None
    if set(probes.axis(name, 2)) == {1}:
        return name
    if node is None or node.op_type not in {"Expand", *ELEMENTWISE}:
        return None
    if node.op_type == "Expand":
        return _for_one_query(plan, node.input[0])
    masks = [_for_one_query(plan, each) for each in node.input]
    taken = [mask or _number(plan, each) for mask, each in zip(masks, node.input, strict=True)]
    if not any(masks) or any(each is None for each in taken):
        return None
    return _again(plan, node, taken)


def _number(plan: _Plan, name: str) -> str | None:
    """One number that stands for a tensor, where all its values are that number in every run: some exporters compare
    each place with zero, and add what is always true to the mask. None where a tensor is not known to be one.
    """
    value, node = plan.graph.constant(name), plan.makers.get(name)
    if value is not None and value.size == 1:
        return name
    found = {each for run in plan.probes.values.get(name, []) for each in np.unique(run).tolist()}
    if node is not None and node.op_type == "ConstantOfShape":
        tensor = attribute(node, "value", None)
        found = {0.0 if tensor is None else numpy_helper.to_array(tensor).item()}
    if len(found) == 1:
        return plan.graph.add_constant("number", np.array(found.pop(), dtype=plan.probes.types[name]))
    if node is None or node.op_type not in ELEMENTWISE:
        return None
    taken = [_number(plan, each) for each in node.input]
    return None if any(each is None for each in taken) else _again(plan, node, taken)


def _again(plan: _Plan, node: onnx.NodeProto, taken: list[str | None]) -> str:
    """The same operator on other tensors; returns what it makes."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [each for each in taken if each is not None]
    copy.output[0] = copy.name = plan.graph.fresh("mask")
    plan.graph.insert([copy])
    return str(copy.output[0])


def _heads(plan: _Plan, name: str, wanted: tuple[int, ...]) -> _Heads | None:
    """Heads split off hidden states of all tokens, their axes in the wanted order."""
    found = split_off(plan.graph, plan.probes, plan.maker, name, wanted)
    if found is None:
        return None
    split, scale = found
    if plan.probes.rank(split.input[0]) != 3 or plan.probes.axis(split.output[0], 1) != plan.probes.tokens:
        return None
    return _Heads(split=split, number=plan.probes.shapes[split.output[0]][0][2], scale=scale)


def _projected(plan: _Plan, name: str, wanted: tuple[int, ...]) -> _Heads | None:
    """The same where hidden states are a product with a weight, and maybe a bias, so that a head can be widened."""
    heads = _heads(plan, name, wanted)
    if heads is None:
        return None
    source = heads.split.input[0]
    bias = plan.maker(source, "Add")
    if bias is not None:
        place = bias_place(plan.graph, bias)
        if place is None:
            return None
        source = bias.input[1 - place]
    product = plan.maker(source, "MatMul")
    if product is None or plan.probes.rank(product.input[0]) != 3:
        return None
    weight = plan.graph.constant(product.input[1])
    if weight is None or weight.ndim != 2:
        return None
    return replace(heads, product=product, bias=bias)


def _replace(plan: _Plan, each: _Attention) -> None:
    """Widen queries and keys by a column a head, and let one operator take them."""
    graph = plan.graph
    _, _, heads, width = plan.probes.shapes[each.queries.split.output[0]][0]
    ones = np.zeros((heads, width + 1), dtype=np.float32)
    ones[:, width] = 1
    bias = ones.copy()
    if each.queries.bias is not None:
        given = graph.constant(each.queries.bias.input[bias_place(graph, each.queries.bias) or 0])
        bias[:, :width] = np.asarray(given).reshape(heads, width)
    key = (each.mask, heads, width, each.inner)
    if key not in plan.columns:
        row = graph.add("Reshape", [each.mask, graph.add_constant("shape", np.array([0, -1, 1]))], "mask")
        row = graph.add("Max", [row, graph.add_constant("never", np.array(_NEVER, np.float32))], "mask")
        place = graph.add_constant("place", (ones / np.float32(each.inner)).reshape(-1))
        plan.columns[key] = graph.add("Mul", [row, place], "mask")
    taken = [
        _widened(plan, each.queries, heads, graph.add_constant("ones", bias.reshape(-1))),
        _widened(plan, each.keys, heads, plan.columns[key]),
        each.values.split.input[0],
    ]
    made = graph.add("MultiHeadAttention", taken, "attention", domain=DOMAIN, num_heads=heads, scale=each.scale)
    graph.replace(each.result, made)


def _widened(plan: _Plan, part: _Heads, heads: int, added: str) -> str:
    """Queries or keys, [B, T, H (d + 1)], with a column of zeros more a head and `added` in place of the bias."""
    graph, product = plan.graph, part.product
    if product is None:
        raise ValueError("only what comes from a product can be widened")
    name = product.input[1]
    if (name, heads) not in plan.weights:
        weight = np.asarray(graph.constant(name))
        wide = np.pad(weight.reshape(len(weight), heads, -1), ((0, 0), (0, 0), (0, 1)))
        plan.weights[name, heads] = graph.add_constant("wide", wide.reshape(len(weight), -1))
    wider = graph.add("MatMul", [product.input[0], plan.weights[name, heads]], "wide")
    return graph.add("Add", [wider, added], "wide")
