"""The mask inside the keys: proven where it serves, refused where queries differ or parts of attention serve others."""

import numpy as np
import onnx
import pytest

from export.passes import apply_passes
from export.passes.editing import Graph
from export.passes.mask_in_keys import SHORT, mask_in_keys
from export.passes.probe import probe
from tests.export.passes.graphs import exported, largest_difference, load
from tests.export.passes.test_one_query import SERVED, with_biases

BEFORE = ["drop_idle", "fold_shapes"]


def masked_scores(model: onnx.ModelProto) -> int:
    """Additions that make the scores of every query, [B, H, T, T]."""
    graph = Graph(model)
    found = probe(graph, 512)
    shapes = [found.shapes[node.output[0]] for node in graph.nodes if node.op_type == "Add"]
    return sum(len(shape[0]) == 4 and [each[2] for each in shape] == list(found.tokens) for shape in shapes)


@pytest.mark.parametrize("family", SERVED)
@pytest.mark.parametrize("more", [[], ["first_token", "one_query"]], ids=["all queries", "one in the last layer"])
def test_exact_and_applied(family: str, more: list[str]) -> None:
    """Logits stay within 1e-5, padded or not, and no mask is added to all scores any more."""
    before = with_biases(family)
    first, _ = apply_passes(load(before), 512, [*BEFORE, *more])
    added = masked_scores(first)
    model, applied = apply_passes(load(before), 512, [*BEFORE, *more, "mask_in_keys"])
    assert applied[-1] == "mask_in_keys"
    assert largest_difference(before, model) < 1e-5
    # Every layer adds one mask; MPNet's additions of distances stay.
    assert added - masked_scores(model) == (1 if more else 2)


def test_shared_weights_stay_shared() -> None:
    """ALBERT's layers share their weights, and still do when these are wider."""
    model, _ = apply_passes(load(exported("albert")), 512, [*BEFORE, "mask_in_keys"])
    wide = [tensor.name for tensor in model.graph.initializer if tensor.name.startswith("classifact/wide")]
    taken = [name for node in model.graph.node for name in node.input if name in wide]
    assert len(wide) == 2
    assert len(taken) == 4


@pytest.mark.parametrize("family", ["deberta", "deberta-v2", "modernbert"])
def test_other_attention_is_left_alone(family: str) -> None:
    """Keys that are rotated or met by positions stay as they are."""
    _, applied = apply_passes(load(exported(family)), 512, ["inline_branches", *BEFORE, "mask_in_keys"])
    assert "mask_in_keys" not in applied


def test_short_rows_are_left_alone() -> None:
    """Where no row is long the addition is cheaper."""
    _, applied = apply_passes(load(exported("bert")), SHORT, [*BEFORE, "mask_in_keys"])
    assert "mask_in_keys" not in applied


@pytest.mark.parametrize("value", [-np.inf, -0.25])
def test_any_mask(value: float) -> None:
    """A mask of minus infinity gives no NaN, and one that only dampens is added as it was."""
    model, _ = apply_passes(load(exported("bert")), 512, BEFORE)
    never = [node for node in model.graph.node if node.op_type == "Constant" and _number(node) < -1e30]
    assert len(never) == 1
    never[0].attribute[0].t.CopyFrom(onnx.numpy_helper.from_array(np.array(value, dtype=np.float32)))
    before = model.SerializeToString()
    after, applied = apply_passes(model, 512, ["mask_in_keys"])
    assert applied
    assert largest_difference(before, after) < 1e-5


@pytest.mark.parametrize("damage", ["queries", "scores", "keys", "softmax"])
def test_refused(damage: str) -> None:
    """Masks that differ from query to query, and scores or keys that something else reads, are left alone."""
    model, _ = apply_passes(load(exported("bert")), 512, BEFORE)
    graph = Graph(model)
    for softmax in [node for node in graph.nodes if node.op_type == "Softmax"]:
        addition = graph.makers()[softmax.input[0]]
        mask = next(name for name in addition.input if probe(graph, 512).axis(name, 1) == (1,) * 5)
        scores = next(name for name in addition.input if name != mask)
        if damage == "queries":
            # What a query may see depends on the query: here, by a diagonal that only runs show.
            turned = graph.add("Transpose", [mask], "turned", perm=[0, 1, 3, 2])
            graph.replace(mask, turned)
            graph.makers()[turned].input[0] = mask
            break
        if damage == "scores":
            _show(graph, scores)
        elif damage == "keys":
            _show(graph, graph.makers()[scores].input[1])
        else:
            softmax.attribute[0].i = 2
    graph = Graph(graph.finish())
    assert mask_in_keys(graph, probe(graph, 512)) == 0


def _show(graph: Graph, name: str) -> None:
    """Let the graph give a tensor to its caller."""
    graph.model.graph.output.append(onnx.ValueInfoProto(name=name))


def _number(node: onnx.NodeProto) -> float:
    value = onnx.numpy_helper.to_array(node.attribute[0].t)
    return float(value.item()) if value.size == 1 and value.dtype == np.float32 else 0.0
