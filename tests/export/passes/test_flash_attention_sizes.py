"""Attention as one operator for heads, rows and masks of every size and kind, in fp32 and in int8."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from export.int8.quantize import Int8, quantize
from export.passes import apply_passes
from export.passes.editing import Graph
from export.passes.heads import bias_place
from export.passes.probe import probe
from export.passes.shapes import reshape_to
from tests.export.passes.graphs import exported, largest_difference, load
from tests.export.passes.test_flash_attention import BEFORE

LONGEST = 2048


def around(graph: Graph) -> tuple[onnx.NodeProto, int, onnx.NodeProto, onnx.NodeProto]:
    """Of the last layer: the addition of the mask, the mask's place in it, and where keys and values become heads."""
    softmax = [node for node in graph.nodes if node.op_type == "Softmax"][-1]
    addition = graph.makers()[softmax.input[0]]
    # What products make are the scores.
    made = [_back(graph, name, "MatMul") for name in addition.input]
    (scores,), place = [product.input[1] for product in made if product is not None], made.index(None)
    (mixed, _), *_ = graph.uses()[softmax.output[0]]
    keys, values = (_back(graph, name, "Reshape") for name in (scores, mixed.input[1]))
    assert keys is not None
    assert values is not None
    return addition, place, keys, values


def _back(graph: Graph, name: str, kind: str) -> onnx.NodeProto | None:
    makers = graph.makers()
    while (node := makers.get(name)) is not None and node.op_type != kind:
        name = node.input[0] if node.input else ""
    return node


def rows(model: onnx.ModelProto) -> NDArray[np.float32]:
    """Logits of the shortest and the longest rows, of padding before the text, and of nothing but padding."""
    masks = [np.ones(size, dtype=np.int64) for size in ((1, 1), (1, LONGEST), (3, 512), (2, 9))]
    masks[2][1:, :500] = 0
    masks[3][:] = 0
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    generator, found = np.random.default_rng(0), []
    for mask in masks:
        known = {"input_ids": generator.integers(5, 100, mask.shape), "attention_mask": mask}
        known["token_type_ids"] = np.zeros_like(mask)
        found.append(session.run(None, {given.name: known[given.name] for given in session.get_inputs()})[0])
    return np.concatenate(found)


@pytest.mark.parametrize(("width", "heads"), [(16, 2), (48, 2), (80, 1), (96, 1)])
def test_heads_and_rows_of_any_size(width: int, heads: int, tmp_path: Path) -> None:
    """fp32 stays within 1e-5 of what it was and int8 within 1e-4, with one head too."""
    sizes = {"hidden_size": width * heads, "num_attention_heads": heads, "num_hidden_layers": 1}
    before, _ = apply_passes(load(exported("bert", max_position_embeddings=LONGEST, **sizes)), LONGEST, BEFORE)
    after, applied = apply_passes(load(before.SerializeToString()), LONGEST, ["flash_attention"])
    assert applied
    expected = rows(before)
    assert np.abs(rows(after) - expected).max() < 1e-5 * max(1.0, float(expected.std()))
    for how in (Int8(per_channel=True), Int8()):
        one, other = (rows(quantize(model, how, tmp_path)) for model in (before, after))
        assert np.abs(one - other).max() < 1e-4 * max(1.0, float(expected.std()))


@pytest.mark.parametrize("kind", ["int32", "bool", "where"])
def test_masks_of_any_type(kind: str) -> None:
    """A mask may pass through small integers or truth values; one that is chosen by them, and that only dampens, is one
    layer's own.
    """
    model, _ = apply_passes(load(exported("bert")), 512, BEFORE)
    graph = Graph(model)
    to = {"int32": onnx.TensorProto.INT32}.get(kind, onnx.TensorProto.BOOL)
    typed = graph.add("Cast", ["attention_mask"], "typed", to=to)
    if kind == "where":
        addition, place, *_ = around(graph)
        typed = graph.add("Unsqueeze", [typed, graph.add_constant("axes", np.array([1, 2]))], "typed")
        added = [graph.add_constant("added", np.array(value, dtype=np.float32)) for value in (0, -0.5)]
        addition.input[place] = graph.add("Where", [typed, *added], "mask")
    else:
        given = graph.add("Cast", [typed], "given", to=onnx.TensorProto.INT64)
        graph.replace("attention_mask", given)
        graph.makers()[typed].input[0] = "attention_mask"
    before = graph.finish().SerializeToString()
    after, applied = apply_passes(load(before), 512, ["flash_attention"])
    assert applied
    assert [node for node in after.graph.node if node.op_type == "Softmax"] == []
    assert largest_difference(before, after) < 1e-5


@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("kind", ["window", "distance", "place", "keys", "values"])
def test_attention_of_another_form_is_left_as_it_is(kind: str, heads: int) -> None:
    """Windows around each query (wider than the small runs of a probe), a bias by distance or each head's own by place,
    and heads of keys or values that all queries share: the last layer stays, the first is served, and logits are what
    they were. One head shares none, and its bias by place is like a mask.
    """
    model, _ = apply_passes(load(exported("bert", num_attention_heads=heads)), 512, BEFORE)
    graph = Graph(model)
    addition, place, keys, values = around(graph)
    if kind in {"keys", "values"}:
        _share(graph, keys if kind == "keys" else values)
    else:
        addition.input[place] = graph.add("Add", [addition.input[place], _added(graph, kind, heads)], "mask")
    before = graph.finish().SerializeToString()
    after, applied = apply_passes(load(before), 512, ["flash_attention"])
    assert applied
    left = 0 if heads == 1 and kind not in {"window", "distance"} else 1
    assert len([node for node in after.graph.node if node.op_type == "Softmax"]) == left
    assert largest_difference(before, after) < 1e-5


def _share(graph: Graph, split: onnx.NodeProto) -> None:
    """Let the product that is split into heads make one head alone."""
    width = probe(graph, 16).shapes[split.output[0]][0][3]
    addition = graph.makers()[split.input[0]]
    place = bias_place(graph, addition)
    assert place is not None
    product = graph.makers()[addition.input[1 - place]]
    for node, number in ((addition, place), (product, 1)):
        value: Any = graph.constant(node.input[number])
        node.input[number] = graph.add_constant("one_head", value[..., :width])
    reshape_to(graph, split, np.array([0, 0, 1, width]))


def _added(graph: Graph, kind: str, heads: int) -> str:
    """What a layer adds to its scores, for how many tokens a key is from the query, [1, 1, T, T], or from the start."""
    number = {value: graph.add_constant("number", np.array(value)) for value in (0, 1, 20)}
    length = graph.add("Gather", [graph.add("Shape", ["input_ids"], "shape"), number[1]], "length", axis=0)
    places = graph.add("Range", [number[0], length, number[1]], "places")
    asking, asked = (
        graph.add("Reshape", [places, graph.add_constant("shape", np.array(shape))], "places")
        for shape in ((1, 1, -1, 1), (1, 1, 1, -1))
    )
    draw = np.random.default_rng(0).normal
    if kind == "place":
        slopes = graph.add_constant("slopes", draw(size=(1, heads, 1, 1)).astype(np.float32) / 100)
        return graph.add("Mul", [graph.add("Cast", [asked], "places", to=onnx.TensorProto.FLOAT), slopes], "bias")
    distance = graph.add("Abs", [graph.add("Sub", [asking, asked], "distance")], "distance")
    if kind == "distance":
        table = graph.add_constant("table", draw(size=512).astype(np.float32))
        return graph.add("Gather", [table, distance], "bias", axis=0)
    near = graph.add("LessOrEqual", [distance, number[20]], "near")
    added = [graph.add_constant("added", np.array(value, dtype=np.float32)) for value in (0, -1e4)]
    return graph.add("Where", [near, *added], "window")
