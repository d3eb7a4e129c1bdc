"""Exact rewrites of the exported graph: the same classifier in less work, one rewrite a file, each with its proof test.

A pass takes a graph and what probing it showed, edits the graph, and returns how many places it changed.
"""

from collections.abc import Callable, Sequence

import onnx

from export.passes.branches import inline_branches
from export.passes.editing import Graph
from export.passes.first_token import first_token
from export.passes.probe import Probes, probe
from export.passes.shapes import fold_shapes

PASSES: dict[str, Callable[[Graph, Probes], int]] = {
    "inline_branches": inline_branches,
    "fold_shapes": fold_shapes,
    "first_token": first_token,
}


def apply_passes(
    model: onnx.ModelProto, longest: int, names: Sequence[str] = tuple(PASSES)
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Edit the model in place by the named passes, in order.

    longest: the most tokens of a row. Returns the model and the names of those passes that found something to change.
    """
    graph, applied = Graph(model), []
    for name in names:
        if PASSES[name](graph, probe(graph, longest)):
            applied.append(name)
        model = graph.finish()
    return model, tuple(applied)
