"""Exact rewrites of the exported graph: the same classifier in less work, one rewrite a file, each with its proof test.

A pass takes a graph and what probing it showed, edits the graph, and returns how many places it changed.
"""

from collections.abc import Callable, Sequence

import onnx

from export.passes.branches import inline_branches
from export.passes.editing import Graph
from export.passes.first_token import first_token
from export.passes.flash_attention import flash_attention
from export.passes.idle import drop_idle
from export.passes.one_query import one_query
from export.passes.order_gelu import order_gelu
from export.passes.probe import Probes, probe
from export.passes.shapes import fold_shapes
from export.passes.token_types import fold_token_types

PASSES: dict[str, Callable[[Graph, Probes], int]] = {
    "inline_branches": inline_branches,
    "drop_idle": drop_idle,
    "fold_shapes": fold_shapes,
    "fold_token_types": fold_token_types,
    "order_gelu": order_gelu,
    "first_token": first_token,
    "one_query": one_query,
    "flash_attention": flash_attention,
}
# They only clear the way for others, or save too little to be seen: never raced, always kept.
PREPARING = frozenset({"inline_branches", "drop_idle", "fold_shapes", "fold_token_types", "order_gelu"})


def apply_passes(
    model: onnx.ModelProto, longest: int, names: Sequence[str] = tuple(PASSES), *, pairs: bool = True
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Edit the model in place by the named passes, in order.

    longest: the most tokens of a row. pairs: whether rows may be pairs of texts. Returns the model and the names of
    those passes that found something to change.
    """
    graph, applied, probes = Graph(model), list[str](), None
    for name in names:
        probes = probes or probe(graph, longest, pairs=pairs)
        if PASSES[name](graph, probes):
            applied.append(name)
            probes = None
        model = graph.finish()
    return model, tuple(applied)
