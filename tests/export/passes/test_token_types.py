"""Token types that are always zero: proven where rows are single texts, left alone where they may be pairs."""

import numpy as np
import onnx
import pytest

from export.passes import apply_passes
from tests.export.passes.graphs import cases, exported, largest_difference, load


@pytest.mark.parametrize(("family", "exporter"), cases(["bert", "electra", "albert"]))
def test_exact_and_gone(family: str, exporter: str) -> None:
    """Logits of single texts stay within 1e-5, and neither the input nor the look-up is left."""
    model, applied = apply_passes(load(exported(family, exporter)), 512, ["fold_token_types"], pairs=False)
    assert applied == ("fold_token_types",)
    assert [given.name for given in model.graph.input] == ["input_ids", "attention_mask"]
    assert count(model, "Gather") < count(load(exported(family, exporter)), "Gather")
    assert largest_difference(exported(family, exporter), model) < 1e-5


def count(model: onnx.ModelProto, kind: str) -> int:
    """How many nodes of a kind a graph has."""
    return [node.op_type for node in model.graph.node].count(kind)


def test_pairs_keep_their_types() -> None:
    """Where rows may be pairs, the input stays."""
    model, applied = apply_passes(load(exported("bert")), 512, ["fold_token_types"], pairs=True)
    assert applied == ()
    assert "token_type_ids" in [given.name for given in model.graph.input]


def test_a_table_that_others_read_is_not_changed() -> None:
    """The words' own table stays where something else reads it, and gets a copy for the look-up of words."""
    model = load(exported("bert"))
    table = next(node.input[0] for node in model.graph.node if node.op_type == "Gather" and "word" in node.input[0])
    model.graph.output.append(onnx.ValueInfoProto(name="first"))
    model.graph.node.append(onnx.helper.make_node("Identity", [table], ["first"]))
    words = next(tensor for tensor in model.graph.initializer if tensor.name == table)
    before = onnx.numpy_helper.to_array(words).copy()
    after, _ = apply_passes(model, 512, ["fold_token_types"], pairs=False)
    kept = next(tensor for tensor in after.graph.initializer if tensor.name == table)
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(kept), before)
