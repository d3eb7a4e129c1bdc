"""The choice of int8 and its repair, on a tiny model with products that saturate."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from export.exporters.choose import export_graph
from export.int8 import choose as int8
from export.int8.choose import Int8Search
from export.int8.quantize import Int8, products, quantizable, quantize
from export.proof.measure import Measure
from export.proof.parity import ParityBounds, Truth, failures
from export.proof.torch_logits import reference_logits
from export.trained_run import Sample, TrainedRun
from trainer.contract.system.progress import Progress
from trainer.opening.checkpoint import open_network


@pytest.fixture(scope="module")
def measure(run: Path) -> Measure:
    """What the search measures with."""
    source = TrainedRun.open(run)
    sample = Sample.of(source.validation, source.checkpoint.encoder())
    logits = reference_logits(open_network(source.checkpoint.path), sample, lambda _rows: None)
    truth = Truth.of(logits, sample.rows.labels, source.checkpoint.contract.labels, "accuracy")
    return Measure(sample=sample, truth=truth, progress=Progress(quiet=True), timing=False)


@pytest.fixture(scope="module")
def graph(run: Path, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """The exported graph."""
    return export_graph(TrainedRun.open(run).checkpoint.path, tmp_path_factory.mktemp("scratch"))


def saturated(victims: list[str], limit: int) -> Any:
    """`quantize` as where the named products saturate in int8, unless they are kept in float."""

    def quantized(graph: onnx.ModelProto, how: Int8, scratch: Path) -> onnx.ModelProto:
        result = quantize(graph, how, scratch)
        makers = {node.name: node for node in graph.graph.node}
        weights = {f"{makers[name].input[1]}_quantized" for name in victims if name not in how.keep}
        for tensor in result.graph.initializer:
            if tensor.name in weights:
                tensor.raw_data = onnx.numpy_helper.to_array(tensor).clip(-limit, limit).tobytes()
        return result

    return quantized


def search(measure: Measure, graph: onnx.ModelProto, scratch: Path, least: float) -> int8.Trial:
    """The best way to quantize, with a bound on agreement."""
    bounds = ParityBounds(max_drop=0.2, min_agreement=least, max_difference=1.0)
    return Int8Search(graph=graph, measure=measure, bounds=bounds, scratch=scratch).best()


def test_sound_graph_needs_no_repair(measure: Measure, graph: onnx.ModelProto, tmp_path: Path) -> None:
    """Where per channel passes, nothing stays in float."""
    trial = search(measure, graph, tmp_path, 0.9)
    assert trial.how.per_channel
    assert trial.how.keep == ()


def test_repair_finds_the_culprits(
    measure: Measure, graph: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two products that saturate are found among all, kept in float, and the gate passes."""
    victims = [products(graph)[5], products(graph)[9]]
    monkeypatch.setattr(int8, "quantize", saturated(victims, 25))
    trial = search(measure, graph, tmp_path, 0.9)
    assert set(victims) <= set(trial.how.keep)
    assert trial.parity.label_agreement >= 0.9
    kinds = [node.op_type for node in onnx.load(trial.variant.path).graph.node]
    assert kinds.count("MatMulInteger") == len(products(graph)) - len(set(trial.how.keep) & set(products(graph)))


@pytest.mark.slow
def test_no_repair_for_a_hopeless_graph(
    measure: Measure, graph: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every product saturates, what failed is returned for the gate to refuse: half in float is no int8."""
    monkeypatch.setattr(int8, "quantize", saturated(products(graph), 10))
    trial = search(measure, graph, tmp_path, 0.99)
    assert failures(trial.parity, ParityBounds(max_drop=1.0, min_agreement=0.99, max_difference=1.0))
    assert trial.how.keep == ()


@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_keep_to_seven_bits(graph: onnx.ModelProto, tmp_path: Path, *, per_channel: bool) -> None:
    """The sum of two products with 8 bits of an activation then fits 16, as processors without VNNI need."""
    result = quantize(graph, Int8(per_channel=per_channel), tmp_path)
    weights = [
        onnx.numpy_helper.to_array(tensor).astype(np.int64)
        for tensor in result.graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and "words" not in tensor.name
    ]
    largest = max(int(np.abs(weight).max()) for weight in weights if weight.size)
    assert largest == 64
    assert 2 * largest * 255 < 2**15


def test_a_ruined_table_of_words_stays_in_float(
    measure: Measure, graph: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is the words that 8 bits ruin, the repair finds them."""
    (name,) = set(quantizable(graph)) - set(products(graph))

    def ruined(graph: onnx.ModelProto, how: Int8, scratch: Path) -> onnx.ModelProto:
        result = quantize(graph, how, scratch)
        for tensor in result.graph.initializer:
            if "words_quantized" in tensor.name:
                tensor.raw_data = np.sign(onnx.numpy_helper.to_array(tensor)).tobytes()
        return result

    monkeypatch.setattr(int8, "quantize", ruined)
    assert name in search(measure, graph, tmp_path, 0.9).how.keep
