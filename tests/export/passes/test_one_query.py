"""Attention with one query, without keys and values: proven where it serves, refused where it would be wrong."""

import numpy as np
import onnx
import pytest

from export.passes import apply_passes
from export.passes.editing import Graph
from export.passes.one_query import one_query
from export.passes.probe import probe
from tests.export.passes.graphs import cases, exported, largest_difference, load

SERVED = ["bert", "distilbert", "roberta", "xlm-roberta", "electra", "albert", "mpnet"]
BEFORE = ["drop_idle", "fold_shapes", "first_token"]


def with_biases(family: str, exporter: str) -> bytes:
    """An exported graph whose biases are random instead of the zeros that a new network has."""
    model, _ = apply_passes(load(exported(family, exporter)), 512, ["drop_idle"])
    generator = np.random.default_rng(1)
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            tensor = next((given for given in model.graph.initializer if given.name == name), None)
            if node.op_type == "Add" and tensor is not None and len(tensor.dims) == 1:
                added = generator.normal(size=tensor.dims).astype(np.float32)
                fresh = onnx.numpy_helper.from_array(added, f"{node.name}/bias")
                model.graph.initializer.append(fresh)
                node.input[place] = fresh.name
    return model.SerializeToString()


@pytest.mark.parametrize(("family", "exporter"), cases(SERVED))
def test_exact_and_applied(family: str, exporter: str) -> None:
    """Logits stay within 1e-5, biases of keys and values included, and the last layer's two products are gone."""
    before = with_biases(family, exporter)
    first, _ = apply_passes(load(before), 512, BEFORE)
    model, applied = apply_passes(load(before), 512, [*BEFORE, "one_query"])
    assert applied[-1] == "one_query"
    assert largest_difference(before, model) < 1e-5
    assert len(whole_products(model)) == len(whole_products(first)) - 2


def whole_products(model: onnx.ModelProto) -> list[str]:
    """Products of every token with a weight."""
    graph = Graph(model)
    found = probe(graph, 512)
    return [
        node.name
        for node in graph.nodes
        if node.op_type == "MatMul"
        and graph.is_constant(node.input[1])
        and found.rank(node.input[0]) == 3
        and found.axis(node.input[0], 1) == found.tokens
    ]


@pytest.mark.parametrize("family", ["deberta-v2", "modernbert"])
def test_other_attention_is_left_alone(family: str) -> None:
    """Keys that are rotated or met by positions are not absorbed."""
    _, applied = apply_passes(load(exported(family)), 512, ["inline_branches", *BEFORE, "one_query"])
    assert "one_query" not in applied


def test_every_query_is_left_alone() -> None:
    """Without `first_token` every token asks, and nothing is to win."""
    _, applied = apply_passes(load(exported("bert")), 512, ["drop_idle", "fold_shapes", "one_query"])
    assert "one_query" not in applied


@pytest.mark.parametrize("damage", ["Sigmoid", "axis"])
def test_shares_that_do_not_add_up_to_one(damage: str) -> None:
    """Where shares come from something else than a softmax over keys, biases matter and the layer stays as it is."""
    model, _ = apply_passes(load(exported("bert")), 512, BEFORE)
    last = [node for node in model.graph.node if node.op_type == "Softmax"][-1]
    del last.attribute[:]
    if damage == "axis":
        last.attribute.append(onnx.helper.make_attribute("axis", 1))
    else:
        last.op_type = damage
    graph = Graph(model)
    assert one_query(graph, probe(graph, 512)) == 0
