"""The table of words in 8 bits: most of a small encoder's int8 file would be numbers that one row in a thousand reads.

Each word's vector has a scale of its own, so that frequent words, whose vectors are short, lose no more than rare ones.
"""

import numpy as np
import onnx

from export.passes.editing import Graph, attribute

_INPUT = "input_ids"


def lookups(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that look words up: of whole rows, in a table that nothing else reads."""
    graph = Graph(model)
    return [node.name for node in _lookups(graph)]


def narrow(model: onnx.ModelProto, keep: tuple[str, ...] = ()) -> onnx.ModelProto:
    """Edit the model in place: int8 tables for the look-ups that are not kept in float."""
    graph = Graph(model)
    for node in _lookups(graph):
        table = graph.constant(node.input[0])
        if table is None or node.name in keep:
            continue
        largest = np.abs(table).max(axis=1, keepdims=True)
        # A word whose vector is zero stays zero by any scale.
        scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        rounded = np.rint(table / scale).astype(np.int8)
        found = graph.add("Gather", [graph.add_constant("words_quantized", rounded), _INPUT], "lookup")
        found = graph.add("Cast", [found], "words", to=onnx.TensorProto.FLOAT)
        scales = graph.add("Gather", [graph.add_constant("words_scale", scale), _INPUT], "lookup")
        graph.replace(node.output[0], graph.add("Mul", [found, scales], "lookup"))
    return graph.finish()


def _lookups(graph: Graph) -> list[onnx.NodeProto]:
    uses = graph.uses()
    found = []
    for node in graph.nodes:
        if node.op_type == "Gather" and node.input[1] == _INPUT and attribute(node, "axis", 0) == 0:
            table = graph.constant(node.input[0])
            alone = len(uses[node.input[0]]) == 1 and node.output[0] not in graph.outputs
            if table is not None and table.ndim == 2 and table.dtype == np.float32 and alone:
                found.append(node)
    return found
