"""The last layer for the first token only: proven on every family, left alone where the head reads every token."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.passes import apply_passes
from export.passes.editing import Graph
from export.passes.first_token import first_token
from export.passes.probe import probe
from tests.export.passes.graphs import cases, exported, largest_difference, load

# transformers' DeBERTa and torch's own compiler use torch.jit, which torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.*is deprecated:DeprecationWarning")


BEFORE = ["inline_branches", "drop_idle", "fold_shapes", "first_token"]


@pytest.mark.parametrize(("family", "exporter"), cases(["bert", "deberta-v2", "albert", "mpnet", "modernbert"]))
def test_exact_and_applied(family: str, exporter: str) -> None:
    """Logits stay within 1e-5 of the exported graph's, padded or not, and the pass found the last layer."""
    model, applied = apply_passes(load(exported(family, exporter)), 512, BEFORE)
    assert "first_token" in applied
    assert largest_difference(exported(family, exporter), model) < 1e-5


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta-v2", "electra"])
def test_last_queries_have_one_token(family: str) -> None:
    """In the last layer the attention's products have one query, and the feed-forward part sees one token."""
    model, _ = apply_passes(load(exported(family)), 512, BEFORE)
    graph = Graph(model)
    found = probe(graph, 512)
    products = [node for node in graph.nodes if node.op_type == "MatMul" and found.rank(node.output[0]) >= 3]
    feed_forward = [
        node for node in products if 64 in (*found.shapes[node.output[0]][2], *found.shapes[node.input[0]][2])
    ]
    # The probe's third run has 7 tokens: the first layer works on all of them, the last on one.
    assert [found.shapes[node.output[0]][2][-2] for node in feed_forward] == [7, 7, 1, 1]


def test_mean_pooling_is_left_alone() -> None:
    """A head that averages all tokens is not touched."""
    graph = exported("modernbert", classifier_pooling="mean")
    _, applied = apply_passes(load(graph), 512)
    assert "first_token" not in applied


def tiny_graph(index: int, *, also_output: bool = False) -> onnx.ModelProto:
    """Ids embedded, multiplied, and one token picked; on request the hidden states are an output too."""
    hidden = helper.make_tensor_value_info("hidden", TensorProto.FLOAT, [None, None, 4])
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["embedded"]),
        helper.make_node("MatMul", ["embedded", "weight"], ["hidden"]),
        helper.make_node("Gather", ["hidden", "index"], ["logits"], axis=1),
    ]
    numbers = np.random.default_rng(0).random((10, 4)).astype(np.float32)
    return helper.make_model(
        helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [None, 4])] + [hidden] * also_output,
            [
                numpy_helper.from_array(numbers, "table"),
                numpy_helper.from_array(numbers[:4], "weight"),
                numpy_helper.from_array(np.array(index), "index"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )


def converted(model: onnx.ModelProto) -> int:
    """What the pass returns for a graph."""
    graph = Graph(model)
    return first_token(graph, probe(graph, 16))


def test_only_the_first_token_is_taken() -> None:
    """The pass serves heads that read token 0, and no other."""
    assert converted(tiny_graph(0)) > 0
    assert converted(tiny_graph(-1)) == 0


def test_hidden_states_that_are_an_output_stay_whole() -> None:
    """What a caller gets is never cut."""
    assert converted(tiny_graph(0, also_output=True)) == 0
