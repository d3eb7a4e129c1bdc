"""A network to ONNX by transformers' own exporter, which it has from 5.13 on."""

from pathlib import Path
from typing import Any

import onnx
import onnx_ir
from transformers.exporters import OnnxConfig, OnnxExporter

from export.exporters.with_torch import OPSET, example_inputs


def graph_of(model: Any, scratch: Path) -> onnx.ModelProto:  # noqa: ARG001 -- all in memory
    """The graph of a classifier, with dynamic batch and length.

    Taken from memory: what it saves always has its weights in a file beside, which a graph below 2 GB does not need.
    """
    # Its form of the fused attention has a third more nodes, and scales queries and keys alike.
    model.set_attn_implementation("eager")
    exported = OnnxExporter().export(model, example_inputs(model), config=OnnxConfig(dynamic=True, opset_version=OPSET))
    graph: onnx.ModelProto = onnx_ir.to_proto(exported.program)
    # This exporter writes a shape for every tensor, and ONNX Runtime's dynamic quantization fails on them.
    del graph.graph.value_info[:]
    return graph
