"""The mask enters attention through its keys: the product of queries and keys then holds it.

Attention adds a mask to every score, [B, H, T, T], which for long rows costs as much as the softmax after it. Here each
head of the queries gets one more column, of ones, and each head of the keys one of zeros and "never". The keys' bias
goes at the same time: to a query it is the same for every key, and the softmax ignores it. Exact but for the order of
sums.
"""

from dataclasses import dataclass, field

import numpy as np
import onnx

from export.passes.editing import Graph, attribute
from export.passes.first_token import ELEMENTWISE
from export.passes.probe import Probes

# Rows of fewer tokens have so few scores that the wider product costs what the addition did.
SHORT = 128
# Its exponential is zero, and it stays finite whatever is added to it or scales it.
_NEVER = -1e30
_SCALES = frozenset({"Mul", "Div"})
# What scores are made by, from the product on.
_SCORES = frozenset({"Add", "MatMul"}) | _SCALES


@dataclass(frozen=True, kw_only=True)
class _Heads:
    """Queries or keys as they come from hidden states: a product, a bias, heads split off, a scale on the way."""

    product: onnx.NodeProto
    bias: onnx.NodeProto | None
    split: onnx.NodeProto
    scale: float


@dataclass(frozen=True, kw_only=True)
class _Attention:
    """masked: scores after the addition that goes, scores: before it. mask: [B, 1, 1, T], to be added to `scale` times
    the product of queries and keys.
    """

    queries: _Heads
    keys: _Heads
    masked: str
    scores: str
    mask: str
    scale: float


@dataclass
class _Plan:
    """once: tensors that one node takes. The rest was made for one layer and serves the next."""

    graph: Graph
    probes: Probes
    makers: dict[str, onnx.NodeProto]
    once: frozenset[str]
    masks: dict[str, str | None] = field(default_factory=dict)
    columns: dict[tuple[str, int, int, float], str] = field(default_factory=dict)
    weights: dict[tuple[str, int], str] = field(default_factory=dict)

    def maker(self, name: str, kinds: frozenset[str]) -> onnx.NodeProto | None:
        """The node that makes a tensor which one node takes, where it is of such a kind."""
        node = self.makers.get(name)
        return node if node is not None and name in self.once and node.op_type in kinds else None

    def factor(self, node: onnx.NodeProto) -> float | None:
        """What a node multiplies its first input by, where that is one constant."""
        value = self.graph.constant(node.input[1])
        if node.op_type not in _SCALES or value is None or value.size != 1 or not value.item():
            return None
        return float(value.item()) if node.op_type == "Mul" else 1 / float(value.item())


def mask_in_keys(graph: Graph, probes: Probes) -> int:
    """Returns how many additions of a mask went; 0 where no row is long."""
    if max(tokens for _, tokens in probes.sizes) <= SHORT:
        return 0
    once = frozenset(name for name, users in graph.uses().items() if len(users) == 1 and name not in graph.outputs)
    plan = _Plan(graph, probes, graph.makers(), once)
    attentions = [_attention(plan, node) for node in graph.nodes if node.op_type == "Softmax"]
    found = [each for each in attentions if each is not None]
    for each in found:
        _move(plan, each)
    return len(found)


def _attention(plan: _Plan, softmax: onnx.NodeProto) -> _Attention | None:
    """The attention under a softmax over keys, where every query has the same mask and nothing else needs its parts."""
    name, scale = softmax.input[0], 1.0
    if plan.probes.rank(name) != 4 or attribute(softmax, "axis", -1) % 4 != 3:
        return None
    masked = scores = mask = ""
    while (node := plan.maker(name, _SCORES)) is not None:
        if node.op_type == "MatMul":
            queries, keys = _heads(plan, node.input[0]), _heads(plan, node.input[1])
            if not mask or queries is None or keys is None:
                return None
            scale *= queries.scale * keys.scale
            return _Attention(queries=queries, keys=keys, masked=masked, scores=scores, mask=mask, scale=scale)
        if node.op_type == "Add":
            masks = [None if mask else _for_one_query(plan, each) for each in node.input]
            found = next((place for place, each in enumerate(masks) if each), None)
            if found is not None:
                masked, scores, mask = node.output[0], node.input[1 - found], masks[found] or ""
            # Where something else is added, like distances, the scores are what was multiplied.
            added = found if found is not None else int(plan.maker(node.input[0], _SCORES) is not None)
            name = node.input[1 - added]
            continue
        factor = plan.factor(node)
        if factor is None:
            return None
        # What scales the mask too changes nothing between the two.
        scale *= factor if mask else 1
        name = node.input[0]
    return None


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
    given = node.input[:1] if node.op_type == "Expand" else node.input
    taken = [each if _is_number(plan.graph, each) else _for_one_query(plan, each) for each in given]
    if any(each is None for each in taken):
        return None
    if node.op_type == "Expand":
        return taken[0]
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [each for each in taken if each is not None]
    copy.output[0] = copy.name = plan.graph.fresh("mask")
    plan.graph.insert([copy])
    return str(copy.output[0])


def _is_number(graph: Graph, name: str) -> bool:
    value = graph.constant(name)
    return value is not None and value.size == 1


def _heads(plan: _Plan, name: str) -> _Heads | None:
    scale = 1.0
    while (node := plan.maker(name, frozenset({"Transpose", *_SCALES}))) is not None:
        factor = 1.0 if node.op_type == "Transpose" else plan.factor(node)
        if factor is None:
            return None
        scale, name = scale * factor, node.input[0]
    split = plan.maker(name, frozenset({"Reshape"}))
    if split is None or plan.probes.rank(name) != 4 or plan.probes.axis(name, 1) != plan.probes.tokens:
        return None
    bias = plan.maker(split.input[0], frozenset({"Add"}))
    place = None if bias is None else _bias_place(plan.graph, bias)
    if bias is not None and place is None:
        return None
    product = plan.maker(split.input[0] if bias is None else bias.input[1 - (place or 0)], frozenset({"MatMul"}))
    if product is None or plan.probes.rank(product.input[0]) != 3:
        return None
    weight = plan.graph.constant(product.input[1])
    if weight is None or weight.ndim != 2:
        return None
    return _Heads(product=product, bias=bias, split=split, scale=scale)


def _bias_place(graph: Graph, node: onnx.NodeProto) -> int | None:
    values = [graph.constant(name) for name in node.input]
    return next((place for place, value in enumerate(values) if value is not None and value.ndim == 1), None)


def _move(plan: _Plan, each: _Attention) -> None:
    """Widen queries and keys by a column a head, and let the scores go into the softmax as they are."""
    _, _, heads, width = plan.probes.shapes[each.queries.split.output[0]][0]
    ones = np.zeros((heads, width + 1), dtype=np.float32)
    ones[:, width] = 1
    bias = ones.copy()
    if each.queries.bias is not None:
        given = plan.graph.constant(each.queries.bias.input[_bias_place(plan.graph, each.queries.bias) or 0])
        bias[:, :width] = np.asarray(given).reshape(heads, width)
    _widen(plan, each.queries, heads, plan.graph.add_constant("ones", bias.reshape(-1)))
    key = (each.mask, heads, width, each.scale)
    if key not in plan.columns:
        row = plan.graph.add("Reshape", [each.mask, plan.graph.add_constant("shape", np.array([0, -1, 1]))], "mask")
        row = plan.graph.add("Max", [row, plan.graph.add_constant("never", np.array(_NEVER, np.float32))], "mask")
        place = plan.graph.add_constant("place", (ones / np.float32(each.scale)).reshape(-1))
        plan.columns[key] = plan.graph.add("Mul", [row, place], "mask")
    _widen(plan, each.keys, heads, plan.columns[key])
    plan.graph.replace(each.masked, each.scores)


def _widen(plan: _Plan, part: _Heads, heads: int, added: str) -> None:
    """Give every head a column of zeros, and let `added` be added instead of the bias."""
    name = part.product.input[1]
    if (name, heads) not in plan.weights:
        weight = np.asarray(plan.graph.constant(name))
        wide = np.pad(weight.reshape(len(weight), heads, -1), ((0, 0), (0, 0), (0, 1)))
        plan.weights[name, heads] = plan.graph.add_constant("wide", wide.reshape(len(weight), -1))
    part.product.input[1] = plan.weights[name, heads]
    if part.bias is None:
        part.split.input[0] = plan.graph.add("Add", [part.product.output[0], added], "wide")
    else:
        part.bias.input[_bias_place(plan.graph, part.bias) or 0] = added
    part.split.input[1] = plan.graph.add_constant("shape", np.array([0, 0, heads, -1]))
