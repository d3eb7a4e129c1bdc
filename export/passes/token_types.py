"""Rows of one text have token type 0 throughout: its vector is added to every word's once and for all."""

from typing import Any

import onnx
from numpy.typing import NDArray

from export.passes.editing import Graph, attribute
from export.passes.probe import Probes

_INPUT = "token_type_ids"


def fold_token_types(graph: Graph, probes: Probes) -> int:
    """Returns how many look-ups of token types went, and with them the input; 0 where rows may be pairs."""
    uses = graph.uses()
    measured = [node for node, _ in uses[_INPUT] if node.op_type == "Shape"]
    users = [node for node, _ in uses[_INPUT] if node.op_type != "Shape"]
    if probes.pairs or not users or not all(_looks_up(graph, node) for node in users):
        return 0
    makers = graph.makers()
    for node in measured:
        # All inputs have one shape, and transformers' own exporter asks any of them for it.
        node.input[0] = "input_ids"
    for node in users:
        table = graph.constant(node.input[0])
        if table is None:
            return 0
        row = graph.add_constant("token_type", table[0])
        for reader, place in uses[node.output[0]]:
            words = makers.get(reader.input[1 - place]) if reader.op_type == "Add" else None
            if words is not None and len(uses[words.output[0]]) == 1 and _adds(graph, words, table[0]):
                graph.replace(reader.output[0], words.output[0])
        graph.replace(node.output[0], row)
    # Nothing asks for it any more; scoring gives a graph the inputs that it names.
    for place in reversed(range(len(graph.model.graph.input))):
        if graph.model.graph.input[place].name == _INPUT:
            del graph.model.graph.input[place]
    return len(users)


def _adds(graph: Graph, words: onnx.NodeProto, row: NDArray[Any]) -> bool:
    """Add a vector to a whole table of words, where `words` looks them up in one."""
    table = graph.constant(words.input[0]) if words.op_type == "Gather" and attribute(words, "axis", 0) == 0 else None
    if table is None or table.ndim != 2 or table.shape[1:] != row.shape:
        return False
    words.input[0] = graph.add_constant("words", table + row)
    return True


def _looks_up(graph: Graph, node: onnx.NodeProto) -> bool:
    return (
        node.op_type == "Gather"
        and node.input[1] == _INPUT
        and attribute(node, "axis", 0) == 0
        and graph.is_constant(node.input[0])
    )
