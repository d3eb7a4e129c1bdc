"""What changes nothing goes: identities, dropout, casts to the type that is there, transposes that undo each other."""

import numpy as np
import onnx

from export.passes.editing import Graph, attribute
from export.passes.probe import Probes


def drop_idle(graph: Graph, probes: Probes) -> int:
    """Returns how many nodes went."""
    before = len(graph.nodes)
    for node in list(graph.nodes):
        if node.output[0] not in graph.outputs and _is_idle(graph, probes, node):
            graph.replace(node.output[0], node.input[0])
    makers = graph.makers()
    for node in graph.nodes:
        source = makers.get(node.input[0]) if node.op_type == "Transpose" else None
        if source is not None and source.op_type == "Transpose":
            _join(node, source)
    # A joined transpose that moves nothing is idle too; a next run of this pass would find nothing more.
    for node in list(graph.nodes):
        if node.op_type == "Transpose" and _moves_nothing(node) and node.output[0] not in graph.outputs:
            graph.replace(node.output[0], node.input[0])
    graph.finish()
    return before - len(graph.nodes)


def _is_idle(graph: Graph, probes: Probes, node: onnx.NodeProto) -> bool:
    if node.op_type == "Identity":
        return True
    if node.op_type == "Dropout":
        training = graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else np.array(False)
        return training is not None and not bool(training) and not (len(node.output) > 1 and node.output[1])
    if node.op_type != "Cast":
        return False
    given = probes.types.get(node.input[0])
    return given is not None and onnx.helper.np_dtype_to_tensor_dtype(given) == attribute(node, "to", 0)


def _join(node: onnx.NodeProto, source: onnx.NodeProto) -> None:
    """Let a transpose of a transpose do the work of both."""
    inner = attribute(source, "perm", None)
    outer = attribute(node, "perm", None)
    if inner is None or outer is None:
        return
    node.input[0] = source.input[0]
    del node.attribute[:]
    node.attribute.append(onnx.helper.make_attribute("perm", [inner[place] for place in outer]))


def _moves_nothing(node: onnx.NodeProto) -> bool:
    order = attribute(node, "perm", None)
    return order is not None and list(order) == sorted(order)
