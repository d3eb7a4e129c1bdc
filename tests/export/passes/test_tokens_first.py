"""Tokens before rows: proven on every family, and left alone where whole tensors would have to be turned back."""

import collections
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.passes import apply_passes
from export.passes.editing import Graph
from export.passes.probe import probe
from export.passes.tokens_first import tokens_first
from tests.export.passes.graphs import FAMILIES, cases, exported, largest_difference, load

# transformers' DeBERTa and torch's own compiler use torch.jit, which torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.*is deprecated:DeprecationWarning")


@pytest.mark.parametrize(("family", "exporter"), cases(FAMILIES))
def test_exact_and_applied(family: str, exporter: str) -> None:
    """After every pass logits are within 1e-5 of the exported graph's, padded or not, for each family."""
    model, applied = apply_passes(load(exported(family, exporter)), 512)
    assert applied[-1] == "tokens_first"
    assert largest_difference(exported(family, exporter), model) < 1e-5


@pytest.mark.parametrize("changes", [{}, {"classifier_pooling": "mean"}])
def test_heads_that_read_every_token(changes: dict[str, str]) -> None:
    """It needs no `first_token` before it, and a head that averages is served or left alone, the same either way."""
    family = "modernbert" if changes else "bert"
    graph = exported(family, **changes)
    model, _ = apply_passes(load(graph), 512, ["drop_idle", "fold_shapes", "tokens_first"])
    assert largest_difference(graph, model) < 1e-5


def test_products_take_the_transposes(tmp_path: Path) -> None:
    """ONNX Runtime folds what the pass leaves: one transpose a whole layer instead of four."""
    left = []
    for names in (["drop_idle", "fold_shapes"], ["drop_idle", "fold_shapes", "tokens_first"]):
        model, _ = apply_passes(load(exported("bert")), 512, names)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        kinds = collections.Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
        left.append(kinds["Transpose"])
    # Of ids, types and positions, [B, T] or [1, T, D]: three small ones; then one for each of two layers.
    assert left == [8, 5]


def graph_of(*nodes: onnx.NodeProto) -> Graph:
    """Ids embedded to [B, T, 4], heads split and transposed, and what the test adds."""
    table = numpy_helper.from_array(np.random.default_rng(0).random((10, 4)).astype(np.float32), "table")
    shape = numpy_helper.from_array(np.array([0, 0, 2, 2]), "shape")
    made = [
        helper.make_node("Gather", ["table", "input_ids"], ["states"]),
        helper.make_node("Reshape", ["states", "shape"], ["split"]),
        helper.make_node("Transpose", ["split"], ["heads"], perm=[0, 2, 1, 3]),
        *nodes,
    ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    graph = helper.make_graph(made, "turned", [ids], [out], [table, shape])
    return Graph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))


def turned(graph: Graph) -> int:
    """What the pass returns."""
    return tokens_first(graph, probe(graph, 16))


def test_served_and_refused() -> None:
    """Heads alone are served; a reader of whole states that cares for the order, or an output, keeps all as it is."""
    assert turned(graph_of(helper.make_node("Neg", ["heads"], ["logits"]))) == 2
    sums = helper.make_node("CumSum", ["states", "axis"], ["sums"])
    axis = helper.make_node("Constant", [], ["axis"], value_int=1)
    both = helper.make_node("Concat", ["flat", "sums"], ["logits"], axis=1)
    flat = helper.make_node("Reshape", ["heads", "whole"], ["flat"])
    whole = helper.make_node("Constant", [], ["whole"], value_ints=[0, -1, 4])
    assert turned(graph_of(axis, sums, whole, flat, both)) == 0
    assert turned(graph_of(helper.make_node("Neg", ["states"], ["logits"]))) == 0


@pytest.mark.parametrize("axes", [[], [0], [1]])
def test_what_is_broadcast_against_states(axes: list[int]) -> None:
    """Vectors of positions, [T, D] or [1, T, D], and of rows, [B, 1, D], still meet the right axes."""
    first = helper.make_node("Constant", [], ["first"], value_int=0)
    line = helper.make_node("Gather", ["input_ids", "first"], ["line"], axis=1 if axes == [1] else 0)
    found = helper.make_node("Gather", ["table", "line"], ["found"])
    named = helper.make_node("Constant", [], ["axes"], value_ints=axes or [0])
    wide = helper.make_node("Unsqueeze", ["found", "axes"], ["wide"])
    added = helper.make_node("Add", ["wide" if axes else "found", "states"], ["sum"])
    again = helper.make_node("Reshape", ["sum", "shape"], ["parts"])
    out = helper.make_node("Transpose", ["parts"], ["logits"], perm=[0, 2, 1, 3])
    graph = graph_of(first, line, found, *([named, wide] if axes else []), added, again, out)
    ids = np.random.default_rng(0).integers(0, 10, (3, 5))
    results = []
    for _ in range(2):
        session = ort.InferenceSession(graph.model.SerializeToString(), providers=["CPUExecutionProvider"])
        results.append(session.run(None, {"input_ids": ids})[0])
        assert turned(graph) == 4 or len(results) == 2
        graph = Graph(graph.finish())
    np.testing.assert_array_equal(*results)
