"""The table of words in 8 bits, on the graph of a tiny model."""

import math
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.exporters.choose import export_graph
from export.int8.quantize import Int8, products, quantize
from export.int8.words import lookups, narrow
from export.proof.runtime import open_session
from export.trained_run import TrainedRun
from tests.export.passes.graphs import FAMILIES, QUICKEST, USABLE, exported, largest_difference, load

# transformers' DeBERTa uses torch.jit, which torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.*is deprecated:DeprecationWarning")

FEED = {
    "input_ids": np.array([[2, 7, 9, 3], [2, 8, 3, 0]]),
    "attention_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]]),
    "token_type_ids": np.zeros((2, 4), dtype=np.int64),
}


@pytest.fixture(scope="module")
def graph(run: Path, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """The exported graph."""
    return export_graph(TrainedRun.open(run).checkpoint.path, tmp_path_factory.mktemp("scratch"))


def table(model: onnx.ModelProto) -> np.ndarray:
    """What the words' look-up reads, as numbers: the table itself or 8 bits times scales."""
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    read = [node.input[0] for node in model.graph.node if node.op_type == "Gather" and node.input[1] == "input_ids"]
    return np.asarray(math.prod(held[name].astype(np.float32) for name in read))


def run_logits(model: onnx.ModelProto) -> np.ndarray:
    """Logits of two short rows."""
    session = open_session(model.SerializeToString())
    return np.asarray(session.run(["logits"], {each.name: FEED[each.name] for each in session.get_inputs()})[0])


def test_each_word_has_a_scale_of_its_own(graph: onnx.ModelProto, tmp_path: Path) -> None:
    """A word's numbers are within half a step of its own largest over 127; the file holds them in 8 bits."""
    words = table(graph)
    made = quantize(graph, Int8(keep=tuple(products(graph))), tmp_path)
    assert not any(node.op_type == "MatMulInteger" for node in made.graph.node)
    assert {tensor.data_type for tensor in made.graph.initializer if tensor.dims[:1] == [len(words)]} == {
        onnx.TensorProto.INT8,
        onnx.TensorProto.FLOAT,
    }
    step = np.abs(words).max(axis=1, keepdims=True) / 127
    assert np.all(np.abs(table(made) - words) <= 0.5001 * step)
    difference = np.abs(run_logits(made) - run_logits(graph)).max()
    assert 0 < difference < 0.05


def test_a_table_kept_in_float_is_the_same(graph: onnx.ModelProto, tmp_path: Path) -> None:
    """What the repair keeps in float stays as it was."""
    (name,) = lookups(graph)
    made = quantize(graph, Int8(keep=(name, *products(graph))), tmp_path)
    np.testing.assert_array_equal(table(made), table(graph))
    np.testing.assert_array_equal(run_logits(made), run_logits(graph))


def test_a_table_that_others_read_stays(graph: onnx.ModelProto) -> None:
    """A table that a second node reads is left alone: it would be in the file twice."""
    shared = onnx.ModelProto()
    shared.CopyFrom(graph)
    words = next(node for node in shared.graph.node if node.name in lookups(graph))
    shared.graph.node.append(onnx.helper.make_node("Shape", [words.input[0]], ["sizes"], name="reader"))
    assert lookups(shared) == []
    np.testing.assert_array_equal(table(narrow(shared)), table(graph))


def test_words_of_zeros_stay_zero(graph: onnx.ModelProto) -> None:
    """A word whose vector is zero gives zeros, not NaN."""
    zeros = onnx.ModelProto()
    zeros.CopyFrom(graph)
    words = next(node for node in zeros.graph.node if node.name in lookups(graph))
    tensor = next(tensor for tensor in zeros.graph.initializer if tensor.name == words.input[0])
    values = np.array(onnx.numpy_helper.to_array(tensor))
    values[7] = 0
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    assert np.isfinite(run_logits(narrow(zeros))).all()


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[] if name == "bert" else pytest.mark.slow) for name in FAMILIES]
)
def test_every_family_has_one_look_up(family: str) -> None:
    """Each family's words are found, whoever exported them, and 8 bits move logits by a small share of their spread."""
    for exporter in USABLE if family == "bert" else (QUICKEST,):
        before = exported(family, exporter)
        assert len(lookups(load(before))) == 1
        assert 0 < largest_difference(before, narrow(load(before))) < 0.2
