"""A branch that every input takes is no branch: its nodes move out of the `If`, where other passes see them."""

import onnx

from export.passes.editing import Graph, attribute
from export.passes.probe import Probes


def inline_branches(graph: Graph, probes: Probes) -> int:
    """Returns how many `If` nodes went: those whose condition only shapes decide, and decide alike for every input."""
    inlined = 0
    for node in [node for node in graph.nodes if node.op_type == "If"]:
        values = probes.values.get(node.input[0])
        # Shapes alone decide it, and alike in every run up to the longest row: no input takes the other branch.
        if values is None or len({bool(value) for value in values}) > 1:
            continue
        branch: onnx.GraphProto = attribute(node, "then_branch" if values[0] else "else_branch", None)
        graph.insert(branch.node)
        graph.model.graph.initializer.extend(branch.initializer)
        for outside, inside in zip(node.output, branch.output, strict=True):
            graph.replace(outside, inside.name)
        inlined += 1
    return inlined
