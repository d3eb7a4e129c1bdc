"""Gelu in the order that ONNX Runtime fuses, whichever exporter wrote it."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from export.passes import apply_passes
from export.passes.editing import Graph
from export.passes.order_gelu import order_gelu
from export.passes.probe import Probes
from tests.export.passes.graphs import USABLE, exported, load

# transformers' DeBERTa and torch's own compiler use torch.jit, which torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.*is deprecated:DeprecationWarning")
NOTHING = Probes(sizes=(), shapes={}, types={}, values={}, pairs=False)


def gelu(half: float = 0.5) -> onnx.ModelProto:
    """x * (half * (1 + erf(x / sqrt 2))), as transformers' exporter writes it."""
    constants = {"root": 2**0.5, "one": 1.0, "half": half}
    nodes = [
        helper.make_node("Div", ["x", "root"], ["divided"]),
        helper.make_node("Erf", ["divided"], ["erf"]),
        helper.make_node("Add", ["erf", "one"], ["added"]),
        helper.make_node("Mul", ["half", "added"], ["halved"]),
        helper.make_node("Mul", ["x", "halved"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 8]) for name in ("x", "y")]
    weights = [helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "gelu", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def fused(model: onnx.ModelProto, path: Path) -> list[str]:
    """The operators that ONNX Runtime makes of a graph."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(path)
    # The highest level would warn that what it writes is for this processor.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(path).graph.node]


def test_the_same_to_the_last_bit_and_fused(tmp_path: Path) -> None:
    """After the pass ONNX Runtime makes one operator of Gelu; unfused, every number is the one before."""
    given = np.random.default_rng(0).normal(0, 3, (50, 8)).astype(np.float32)
    before, after = gelu(), Graph(gelu())
    assert "Gelu" not in fused(before, tmp_path / "before.onnx")
    assert order_gelu(after, NOTHING) == 1
    assert fused(after.finish(), tmp_path / "after.onnx") == ["Gelu"]
    plain = ort.SessionOptions()
    plain.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    results = [
        ort.InferenceSession(model.SerializeToString(), plain, providers=["CPUExecutionProvider"]).run(
            None, {"x": given}
        )
        for model in (before, after.model)
    ]
    assert np.array_equal(*results)
    assert order_gelu(after, NOTHING) == 0


def test_another_factor_is_another_function() -> None:
    """A product that is no Gelu stays as it is."""
    assert order_gelu(Graph(gelu(half=0.25)), NOTHING) == 0


def test_a_product_that_others_read_stays() -> None:
    """The half of it keeps its value where it is an output, or where a second node takes it."""
    told, taken = gelu(), gelu()
    told.graph.output.append(helper.make_tensor_value_info("halved", TensorProto.FLOAT, ["n", 8]))
    taken.graph.node.append(helper.make_node("Neg", ["halved"], ["negative"]))
    taken.graph.output.append(helper.make_tensor_value_info("negative", TensorProto.FLOAT, ["n", 8]))
    assert [order_gelu(Graph(model), NOTHING) for model in (told, taken)] == [0, 0]


@pytest.mark.parametrize("exporter", USABLE)
def test_every_exporters_gelu_is_fused(exporter: str, tmp_path: Path) -> None:
    """Of BERT's two layers both are, after the passes."""
    graph, _ = apply_passes(load(exported("bert", exporter)), 512, ["drop_idle", "fold_shapes", "order_gelu"])
    kinds = fused(graph, tmp_path / "fused.onnx")
    assert "Erf" not in kinds
    assert sum(kind.endswith("Gelu") for kind in kinds) == 2
