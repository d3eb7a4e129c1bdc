"""Shape arithmetic becomes constants: proven on every family, and refused where a size depends on the input."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.passes import apply_passes
from export.passes.editing import Graph
from export.passes.probe import probe
from export.passes.shapes import fold_shapes
from tests.export.passes.graphs import FAMILIES, cases, exported, largest_difference, load

# transformers' DeBERTa and torch's own compiler use torch.jit, which torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.*is deprecated:DeprecationWarning")


@pytest.mark.parametrize(("family", "exporter"), cases(FAMILIES))
def test_exact_and_applied(family: str, exporter: str) -> None:
    """Logits stay within 1e-5, and a traced graph has fewer nodes."""
    before = load(exported(family, exporter))
    model, applied = apply_passes(load(exported(family, exporter)), 512, ["fold_shapes"])
    assert applied == ("fold_shapes",)
    # transformers' exporter folds by itself what does not depend on the input.
    assert exporter == "transformers" or len(model.graph.node) < 0.8 * len(before.graph.node)
    assert largest_difference(exported(family, exporter), model) < 1e-5


def limited(limit: int) -> onnx.ModelProto:
    """Gives max(tokens, limit): a constant for short inputs only."""
    nodes = [
        helper.make_node("Shape", ["input_ids"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["tokens"]),
        helper.make_node("Max", ["tokens", "limit"], ["size"]),
        helper.make_node("Identity", ["size"], ["logits"]),
    ]
    constants = [numpy_helper.from_array(np.array(value), name) for name, value in (("one", 1), ("limit", limit))]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])
    out = helper.make_tensor_value_info("logits", TensorProto.INT64, [])
    graph = helper.make_graph(nodes, "limited", [ids], [out], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_size_that_a_limit_decides() -> None:
    """A size that is constant for short rows and not for the longest stays computed; one that never changes folds."""
    graph = Graph(limited(100))
    fold_shapes(graph, probe(graph, 512))
    assert "Max" in [node.op_type for node in graph.finish().graph.node]
    graph = Graph(limited(600))
    fold_shapes(graph, probe(graph, 512))
    assert [node.op_type for node in graph.finish().graph.node] == ["Identity"]
