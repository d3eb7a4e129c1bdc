"""fp16: every family converts, what overflows stays in fp32, and a file that overflows fails its gate."""

import collections
import functools
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from export.cli import export_command
from export.fp16 import convert as half
from export.fp16.plain import plain_form
from export.passes import apply_passes
from export.proof.runtime import open_session, run_batches
from export.trained_run import Sample, TrainedRun
from tests.export.passes.graphs import FAMILIES, cases, exported, largest_difference, load
from tests.export.runs import make_run
from trainer.contract.encoding import Batch

# transformers' DeBERTa and torch's own compiler use torch.jit, which torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.*is deprecated:DeprecationWarning")
FUSED = {"bert", "distilbert", "roberta", "xlm-roberta", "electra", "albert"}


def batches() -> list[Batch]:
    """Random rows, some of them padded."""
    generator = np.random.default_rng(0)
    made = []
    for rows, tokens in ((3, 9), (2, 64)):
        mask = np.ones((rows, tokens), dtype=np.int64)
        mask[1:, tokens // 2 :] = 0
        ids = generator.integers(5, 100, mask.shape) * mask
        made.append(Batch(ids=ids, mask=mask, types=np.zeros_like(ids)))
    return made


def logits(graph: bytes) -> np.ndarray:
    """What a graph gives for those rows."""
    return np.concatenate(run_batches(open_session(graph), batches()))


@functools.cache
def converted(graph: bytes) -> half.Half:
    """A graph in fp16; tests change none."""
    unfused, _ = apply_passes(load(graph), 512, pairs=False)
    return half.to_half(load(graph), unfused, 512, batches())


# Beside BERT by every exporter; the others take seconds each.
QUICK = {"mpnet", "modernbert"}
CASES = [
    pytest.param(*case.values, id=case.id, marks=case.marks if case.values[0] in {"bert", *QUICK} else pytest.mark.slow)
    for case in cases(FAMILIES)
]


@pytest.mark.parametrize(("family", "exporter"), CASES)
def test_close_in_half_the_bytes(family: str, exporter: str) -> None:
    """Logits stay close, weights are halves, callers get fp32, and BERT's relatives have attention as one operator,
    whatever exporter wrote the graph.
    """
    graph = exported(family, exporter)
    made = converted(graph)
    onnx.checker.check_model(made.graph, full_check=True)
    expected, found = logits(graph), logits(made.graph.SerializeToString())
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 0.1 * max(1.0, float(expected.std()))
    assert made.fused is (family in FUSED)
    assert made.kept == ()
    kinds = collections.Counter(tensor.data_type for tensor in made.graph.graph.initializer if tensor.dims)
    assert kinds[onnx.TensorProto.FLOAT] == 0
    assert kinds[onnx.TensorProto.FLOAT16] > 10


@pytest.mark.parametrize(("family", "exporter"), CASES)
def test_the_form_that_fusions_know_is_the_same_function(family: str, exporter: str) -> None:
    """The caller's mask is written anew where it is added, and nothing changes: not ModernBERT's local mask, which is
    made of it, nor DeBERTa's, which is no addition.
    """
    before = exported(family, exporter)
    after = plain_form(load(before), 512)
    assert largest_difference(before, after) < 1e-5
    written = [node.name for node in after.graph.node if node.op_type == "Expand" and "classifact/mask" in node.name]
    assert len(written) == (0 if family.startswith("deberta") else 1)


def grown(name: str) -> bytes:
    """BERT with the weight of a part grown beyond what half precision holds."""
    model = load(exported("bert"))
    parts = {node.input[1] for node in model.graph.node if node.op_type == "MatMul" and name in node.name}
    for tensor in model.graph.initializer:
        if tensor.name in parts or name in tensor.name:
            tensor.raw_data = (numpy_helper.to_array(tensor) * np.float32(1e6)).tobytes()
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("word_embeddings", "LayerNormalization"),
        pytest.param("token_type_embeddings", "LayerNormalization", marks=pytest.mark.slow),
        ("layer.0/output/dense", "SkipLayerNormalization"),
        ("layer.1/attention/self/query", "Attention"),
    ],
)
def test_what_overflows_stays_in_fp32(name: str, kind: str) -> None:
    """Sums that half precision cannot hold are made in fp32 and normalized there, inside fused operators too, and the
    rest stays in fp16.
    """
    graph = grown(name)
    made = converted(graph)
    assert made.fused
    nodes = {node.name: node for node in made.graph.graph.node}
    assert kind in {nodes[kept].op_type for kept in made.kept}
    assert len(made.kept) < 10
    found, expected = logits(made.graph.SerializeToString()), logits(graph)
    assert np.isfinite(found).all()
    assert np.abs(found - expected).max() < 0.1 * max(1.0, float(expected.std()))
    kinds = collections.Counter(tensor.data_type for tensor in made.graph.graph.initializer)
    assert kinds[onnx.TensorProto.FLOAT16] > kinds[onnx.TensorProto.FLOAT] > 0


def test_layer_norms_without_bias_are_left_to_themselves() -> None:
    """The fusion tool takes their bias for granted, and would end in an IndexError of its own."""
    nodes = [
        helper.make_node("Add", ["x", "y"], ["sum"]),
        helper.make_node("LayerNormalization", ["sum", "scale"], ["normal"]),
        helper.make_node("Add", ["normal", "y"], ["out"]),
    ]
    x, y, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", "s", 8]) for name in ("x", "y", "out"))
    scale = numpy_helper.from_array(np.ones(8, dtype=np.float32), "scale")
    graph = helper.make_graph(nodes, "normed", [x, y], [out], [scale])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    assert half.fuse(model) is None
    assert [node.op_type for node in model.graph.node] == ["Add", "LayerNormalization", "Add"]


def test_mask_values_are_no_overflow() -> None:
    """The mask's "never" becomes the smallest half, and is not taken for an overflow."""
    unfused, _ = apply_passes(load(exported("mpnet")), 512)
    assert half.overflowing(unfused, batches()) == set()
    made = half.convert(unfused, 512, set())
    values = [numpy_helper.to_array(tensor) for tensor in made.graph.graph.initializer]
    halves = [value for value in values if value.dtype == np.float16 and value.size]
    assert all(np.isfinite(value).all() for value in halves)


def test_overflow_that_nobody_saw_fails_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose tensors overflow although the probe found nothing exits with 3 and leaves nothing."""
    real = half.convert

    def blind(model: onnx.ModelProto, longest: int, *_over: object) -> half.Half:
        made = real(model, longest, set())
        for tensor in made.graph.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT16 and len(tensor.dims) == 2:
                values = numpy_helper.to_array(tensor).astype(np.float32) * 1e6
                tensor.raw_data = values.clip(-65504, 65504).astype(np.float16).tobytes()
        return made

    monkeypatch.setattr(half, "convert", blind)
    folder = make_run(tmp_path / "run")
    arguments = [str(folder), "--out", str(tmp_path / "b"), "--precision", "fp32,fp16", "--quiet", "--no-timing"]
    result = CliRunner().invoke(export_command, arguments)
    assert result.exit_code == 3, result.output
    assert not (tmp_path / "b").exists()


def test_same_bytes_twice() -> None:
    """The same graph converts to the same bytes."""
    again = converted.__wrapped__(exported("bert"))
    first, second = (made.graph.SerializeToString(deterministic=True) for made in (converted(exported("bert")), again))
    assert first == second


def test_the_probe_takes_extreme_rows(run: Path) -> None:
    """The longest rows are among those that overflow is looked for on."""
    source = TrainedRun.open(run)
    sample = Sample.of(source.validation, source.checkpoint.encoder())
    probabilities = np.full((len(sample), 2), 0.5, dtype=np.float32)
    probabilities[3] = 0.99, 0.01
    found = half.extreme(sample, probabilities)
    assert max(batch.ids.shape[1] for batch in found) == sample.encoded.lengths.max()
    assert half._EXTREME_ROWS <= sum(len(batch.ids) for batch in found) <= 2 * half._EXTREME_ROWS
