"""Attention as one operator: proven where it serves, refused where queries differ or its parts serve others."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.passes import apply_passes
from export.passes.editing import Graph
from export.passes.flash_attention import flash_attention
from export.passes.probe import probe
from tests.export.passes.graphs import ALL, FAMILIES, cases, exported, largest_difference, load
from tests.export.passes.test_one_query import with_biases

SERVED = ["bert", "distilbert", "roberta", "xlm-roberta", "electra", "albert"]
BEFORE = ["drop_idle", "fold_shapes"]


def kinds(model: onnx.ModelProto) -> Counter[str]:
    """How many nodes of each operator there are."""
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize(("family", "exporter"), cases(SERVED))
@pytest.mark.parametrize("more", [[], ["first_token", "one_query"]], ids=["all queries", "one in the last layer"])
def test_exact_and_applied(family: str, exporter: str, more: list[str]) -> None:
    """Logits stay within 1e-5, padded or not, with biases; a layer whose every token asks has no softmax any more."""
    before = with_biases(family, exporter)
    model, applied = apply_passes(load(before), 512, [*BEFORE, *more, "flash_attention"])
    assert applied[-1] == "flash_attention"
    assert largest_difference(before, model) < 1e-5
    served = 1 if more else 2
    assert (kinds(model)["MultiHeadAttention"], kinds(model)["Softmax"]) == (served, 2 - served)


def test_the_page_names_the_families_that_are_served() -> None:
    """The row of the page's table, and this list."""
    page = (Path(__file__).parents[3] / "export" / "README.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith("| `flash_attention` |")]
    assert row.split("|")[-2].lower().replace("xlm-r", "xlm-roberta").strip() == ", ".join(SERVED)


def test_the_kernel_takes_no_mask() -> None:
    """With a mask or a bias of scores ONNX Runtime would take the kernel that keeps all scores in memory."""
    model, _ = apply_passes(load(exported("bert")), 512, [*BEFORE, "flash_attention"])
    for node in model.graph.node:
        if node.op_type == "MultiHeadAttention":
            assert len(node.input) == 3
            assert {entry.name for entry in node.attribute} == {"num_heads", "scale"}
    assert [entry.version for entry in model.opset_import if entry.domain == "com.microsoft"] == [1]


def test_one_query_is_left_alone() -> None:
    """A layer that computes one token has so few scores that nothing is to win, also where `one_query` is left out."""
    model, _ = apply_passes(load(exported("bert")), 512, [*BEFORE, "first_token", "flash_attention"])
    assert (kinds(model)["MultiHeadAttention"], kinds(model)["Softmax"]) == (1, 1)
    assert largest_difference(exported("bert"), model) < 1e-5


def test_shared_weights_stay_shared() -> None:
    """ALBERT's layers share their weights, and still do when these are wider; so do layers the column of the mask."""
    model, _ = apply_passes(load(exported("albert")), 512, [*BEFORE, "flash_attention"])
    wide = [tensor.name for tensor in model.graph.initializer if tensor.name.startswith("classifact/wide")]
    taken = [name for node in model.graph.node for name in node.input if name in wide]
    assert len(wide) == 2
    assert len(taken) == 4
    assert kinds(model)["Max"] == 1


@pytest.mark.parametrize("family", ["deberta", "deberta-v2", "mpnet", "modernbert", *sorted(set(ALL) - set(FAMILIES))])
def test_other_attention_is_left_alone(family: str) -> None:
    """Keys that are rotated or met by positions, and scores to which distances are added, stay as they are."""
    _, applied = apply_passes(load(exported(family)), 512, ["inline_branches", *BEFORE, "flash_attention"])
    assert "flash_attention" not in applied


@pytest.mark.parametrize("value", [-math.inf, -0.25])
def test_any_mask(value: float) -> None:
    """A mask of minus infinity gives no NaN, and one that only dampens is added as it was."""
    model, _ = apply_passes(load(exported("bert")), 512, BEFORE)
    _put_in_mask(model, value)
    before = model.SerializeToString()
    after, applied = apply_passes(model, 512, ["flash_attention"])
    assert applied
    assert largest_difference(before, after) < 1e-5


def _put_in_mask(model: onnx.ModelProto, value: float) -> None:
    """Let padding be added this, and not "never"."""
    never = [node for node in model.graph.node if node.op_type == "Constant" and _number(node) < -1e30]
    tensors = [node.attribute[0].t for node in never]
    tensors += [tensor for tensor in model.graph.initializer if _value(tensor) < -1e30]
    assert tensors
    for tensor in tensors:
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(value, dtype=np.float32), name))


def test_a_scale_above_the_mask() -> None:
    """What scales scores and mask together is not what scales the scores alone: told by a mask that only dampens."""
    model, _ = apply_passes(load(exported("bert")), 512, BEFORE)
    _put_in_mask(model, -0.25)
    graph = Graph(model)
    for softmax in [node for node in graph.nodes if node.op_type == "Softmax"]:
        two = graph.add_constant("two", np.array(2, dtype=np.float32))
        softmax.input[0] = graph.add("Mul", [softmax.input[0], two], "doubled")
    before = graph.finish().SerializeToString()
    after, applied = apply_passes(load(before), 512, ["flash_attention"])
    assert applied
    assert largest_difference(before, after) < 1e-5


@pytest.mark.parametrize(("least", "served"), [(0, True), (3, False)])
def test_masks_that_compare_places(least: int, served: bool) -> None:
    """Exporters of lane 5 ask of each query's place whether it is at least 0, which is always so; whoever asks for more
    has a mask that differs from query to query, although lengths alone decide it.
    """
    model, _ = apply_passes(load(exported("bert")), 512, BEFORE)
    graph = Graph(model)
    found = probe(graph, 512)
    number = {value: graph.add_constant("number", np.array(value)) for value in (0, 1, least)}
    length = graph.add("Gather", [graph.add("Shape", ["input_ids"], "shape"), number[1]], "length", axis=0)
    places = graph.add("Range", [number[0], length, number[1]], "places")
    places = graph.add("Reshape", [places, graph.add_constant("shape", np.array([1, 1, -1, 1]))], "places")
    true = graph.add("Cast", [graph.add("GreaterOrEqual", [places, number[least]], "true")], "true", to=1)
    for softmax in [node for node in graph.nodes if node.op_type == "Softmax"]:
        addition = graph.makers()[softmax.input[0]]
        place = next(place for place, name in enumerate(addition.input) if found.axis(name, 1) == (1,) * 5)
        addition.input[place] = graph.add("Mul", [addition.input[place], true], "mask")
    before = graph.finish().SerializeToString()
    after, applied = apply_passes(load(before), 512, ["flash_attention"])
    assert bool(applied) == served
    assert largest_difference(before, after) < 1e-5


@pytest.mark.parametrize("damage", ["queries", "scores", "keys", "shares", "softmax", "turned", "values", "scaled"])
def test_refused(damage: str) -> None:
    """Masks that differ from query to query, parts that something else reads, and axes in another order are left
    alone.
    """
    model, _ = apply_passes(load(exported("bert")), 512, BEFORE)
    graph = Graph(model)
    found = probe(graph, 512)
    for softmax in [node for node in graph.nodes if node.op_type == "Softmax"]:
        addition = graph.makers()[softmax.input[0]]
        mask = next(name for name in addition.input if found.axis(name, 1) == (1,) * 5)
        scores = next(name for name in addition.input if name != mask)
        (product, _), *_ = graph.uses()[softmax.output[0]]
        if damage == "queries":
            # What a query may see depends on the query: here, by a diagonal that only runs show.
            turned = graph.add("Transpose", [mask], "turned", perm=[0, 1, 3, 2])
            graph.replace(mask, turned)
            graph.makers()[turned].input[0] = mask
            break
        if damage == "scores":
            _show(graph, scores)
        elif damage == "keys":
            made = graph.makers()[scores]
            while made.op_type != "MatMul":
                # Lane 5's exporters scale the product.
                made = graph.makers()[made.input[0]]
            _show(graph, made.input[1])
        elif damage == "shares":
            _show(graph, softmax.output[0])
        elif damage == "softmax":
            softmax.attribute[0].i = 2
        elif damage == "turned":
            (after, _), *_ = graph.uses()[product.output[0]]
            after.attribute[0].CopyFrom(onnx.helper.make_attribute("perm", [0, 2, 3, 1]))
        elif damage == "values":
            _show(graph, product.input[1])
        else:
            two = graph.add_constant("two", np.array(2, dtype=np.float32))
            product.input[1] = graph.add("Mul", [product.input[1], two], "values")
    graph = Graph(graph.finish())
    assert flash_attention(graph, probe(graph, 512)) == 0


def _show(graph: Graph, name: str) -> None:
    """Let the graph give a tensor to its caller."""
    graph.model.graph.output.append(onnx.ValueInfoProto(name=name))


def _number(node: onnx.NodeProto) -> float:
    return _value(node.attribute[0].t) if node.attribute and node.attribute[0].name == "value" else 0.0


def _value(tensor: onnx.TensorProto) -> float:
    value = onnx.numpy_helper.to_array(tensor)
    return float(value.item()) if value.size == 1 and value.dtype == np.float32 else 0.0
