"""What changes nothing goes: proven on a family whose export holds such nodes, and on a graph made by hand."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from export.passes import apply_passes
from export.passes.editing import Graph
from export.passes.idle import drop_idle
from export.passes.probe import probe
from tests.export.passes.graphs import USABLE, exported, largest_difference, load


@pytest.mark.parametrize("exporter", USABLE)
def test_exact_and_gone(exporter: str) -> None:
    """Logits stay within 1e-5 and no identity is left; transformers' exporter leaves none to begin with."""
    model, applied = apply_passes(load(exported("bert", exporter)), 512, ["drop_idle"])
    assert applied == (() if exporter == "transformers" else ("drop_idle",))
    assert "Identity" not in {node.op_type for node in model.graph.node}
    assert largest_difference(exported("bert", exporter), model) < 1e-5


def kinds(*nodes: onnx.NodeProto) -> list[str]:
    """The operators that are left of a graph from ids [B, T] to logits."""
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])
    out = helper.make_empty_tensor_value_info("logits")
    model = helper.make_model(
        helper.make_graph(nodes, "idle", [ids], [out]), opset_imports=[helper.make_opsetid("", 18)], ir_version=8
    )
    graph = Graph(model)
    drop_idle(graph, probe(graph, 16))
    return [node.op_type for node in graph.nodes]


def transpose(given: str, name: str) -> onnx.NodeProto:
    """Rows and tokens swapped."""
    return helper.make_node("Transpose", [given], [name], perm=[1, 0])


def test_casts() -> None:
    """A cast to the type that is there goes; one to another type stays."""
    same = helper.make_node("Cast", ["input_ids"], ["same"], to=TensorProto.INT64)
    twice = helper.make_node("Neg", ["input_ids"], ["twice"])
    again = helper.make_node("Cast", ["twice"], ["again"], to=TensorProto.INT64)
    other = helper.make_node("Cast", ["again"], ["logits"], to=TensorProto.FLOAT)
    assert kinds(twice, again, other) == ["Neg", "Cast"]
    assert kinds(same, helper.make_node("Neg", ["same"], ["logits"])) == ["Neg"]


def test_transposes_that_cancel() -> None:
    """Two transposes that undo each other go, three become one, and one that another reader needs stays."""
    end = helper.make_node("Neg", ["b"], ["logits"])
    assert kinds(transpose("input_ids", "a"), transpose("a", "b"), end) == ["Neg"]
    three = [transpose("input_ids", "x"), transpose("x", "a"), transpose("a", "b"), end]
    assert kinds(*three) == ["Transpose", "Neg"]
    both = helper.make_node("Concat", ["a", "a", "c"], ["logits"], axis=1)
    shared = [transpose("input_ids", "a"), transpose("a", "b"), transpose("b", "c"), both]
    assert kinds(*shared) == ["Transpose", "Transpose", "Concat"]


def test_dropout_in_training_stays() -> None:
    """Dropout that trains is not idle."""
    ratio = helper.make_node("Constant", [], ["ratio"], value_float=0.5)
    values = {True: ["Cast", "Constant", "Constant", "Dropout"], False: ["Cast"]}
    for training, left in values.items():
        flag = onnx.numpy_helper.from_array(np.array(training))
        made = kinds(
            helper.make_node("Cast", ["input_ids"], ["float"], to=TensorProto.FLOAT),
            ratio,
            helper.make_node("Constant", [], ["training"], value=flag),
            helper.make_node("Dropout", ["float", "ratio", "training"], ["dropped"]),
            helper.make_node("Transpose", ["dropped"], ["logits"], perm=[0, 1]),
        )
        assert sorted(made[:-1]) == left
        assert made[-1] == "Transpose"
