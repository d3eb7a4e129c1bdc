"""Dynamic int8: weights of products and the words' table once, activations at each run, the rest in float."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from export.int8.words import lookups, narrow
from export.passes.graph_file import is_large


@dataclass(frozen=True, kw_only=True)
class Int8:
    """How a graph is quantized."""

    per_channel: bool = False
    """One scale for each output of a matrix product, instead of one for all."""
    keep: tuple[str, ...] = ()
    """Names of the nodes that stay in float."""

    def __str__(self) -> str:
        return f"per {'channel' if self.per_channel else 'tensor'}, 7 bits"


def quantizable(graph: onnx.ModelProto) -> list[str]:
    """Names of the nodes whose weights int8 is about: look-ups of words, and products."""
    return [*lookups(graph), *products(graph)]


def products(graph: onnx.ModelProto) -> list[str]:
    """Names of the matrix products with a constant weight."""
    weights = {tensor.name for tensor in graph.graph.initializer if len(tensor.dims) == 2}
    # Attention's products of two activations have no constant side, and stay as they are.
    return [node.name for node in graph.graph.node if node.op_type == "MatMul" and node.input[1] in weights]


def quantize(graph: onnx.ModelProto, how: Int8, scratch: Path) -> onnx.ModelProto:
    """A quantized copy of an unfused graph: products with a constant weight, and the words' table.

    scratch: an existing folder to work in. The head's Gemm stays in float: it costs nothing and decides everything; so
    do weights of more than two axes, which `one_query` makes and which meet one token a row.
    """
    chosen = [name for name in products(graph) if name not in how.keep]
    source = onnx.ModelProto()
    source.CopyFrom(graph)
    # An empty list would mean all of them.
    return narrow(_products_in_int8(source, how, chosen, scratch) if chosen else source, how.keep)


def _products_in_int8(source: onnx.ModelProto, how: Int8, chosen: list[str], scratch: Path) -> onnx.ModelProto:
    # Shapes inferred by another tool contradict the quantizer's own inference, and are of no use to it.
    del source.graph.value_info[:]
    # Without this mark the quantizer asks, through the root logger, for fusions that make int8 slower.
    add_pre_process_metadata(source)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        file = Path(folder) / "model.onnx"
        quantize_dynamic(
            source,
            file,
            op_types_to_quantize=["MatMul"],
            per_channel=how.per_channel,
            # Weights in 7 bits: x86 without VNNI adds pairs of products in 16, where those of 8 bits saturate.
            reduce_range=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=is_large(source),
            nodes_to_quantize=chosen,
            # A graph whose types were not inferred falls back on this one.
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        result = onnx.load(file)
    del result.metadata_props[:]
    return result
