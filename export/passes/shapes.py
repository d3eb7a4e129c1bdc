"""Shape arithmetic goes: what is the same for every input becomes a constant, and every reshape reads its sizes off
the tensor that it reshapes.

Nothing then asks for the shape of a hidden state, which lets other passes change one.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.passes.editing import Graph
from export.passes.probe import Probes

# Larger tensors that only shapes decide (masks, positions) stay computed: they grow with the input.
_MOST_VALUES = 16


def fold_shapes(graph: Graph, probes: Probes) -> int:
    """Returns how many tensors were replaced."""
    return _fold_values(graph, probes) + fix_reshapes(graph, probes)


def _fold_values(graph: Graph, probes: Probes) -> int:
    uses = graph.uses()
    sizes = {"batch": [rows for rows, _ in probes.sizes], "length": [tokens for _, tokens in probes.sizes]}
    replaced = 0
    for name, values in probes.values.items():
        if name not in uses or values[0].size > _MOST_VALUES or len({value.shape for value in values}) > 1:
            continue
        new = None
        if all(np.array_equal(value, values[0]) for value in values):
            new = graph.add_constant("folded", values[0])
        elif values[0].size == 1 and values[0].dtype == np.int64:
            seen = [int(value.reshape(())) for value in values]
            axis = next((place for place, what in enumerate(sizes) if seen == sizes[what]), None)
            new = None if axis is None else _size(graph, axis, values[0])
        if new is not None:
            graph.replace(name, new)
            replaced += 1
    return replaced


def _size(graph: Graph, axis: int, like: NDArray[Any]) -> str:
    """The batch (axis 0) or the length (axis 1) of what the caller gives, with the shape of `like`."""
    shape = graph.add("Shape", ["input_ids"], "shape")
    place = graph.add_constant("axis", np.full(like.shape, axis, dtype=np.int64))
    return graph.add("Gather", [shape, place], "size", axis=0)


def fix_reshapes(graph: Graph, probes: Probes) -> int:
    """Give each reshape a constant shape where there is one for every input. Returns how many were given one."""
    fixed = 0
    for node in graph.nodes:
        if node.op_type != "Reshape" or graph.is_constant(node.input[1]):
            continue
        shape = fixed_shape(probes, node.input[0], node.output[0])
        if shape is not None:
            reshape_to(graph, node, shape)
            fixed += 1
    return fixed


def reshape_to(graph: Graph, node: onnx.NodeProto, shape: NDArray[np.int64]) -> None:
    """Give a Reshape a constant shape, in which 0 means the input's own size.

    Newer exporters write `allowzero`, with which 0 would mean no element: no batch is empty, so nothing needs it.
    """
    node.input[1] = graph.add_constant("shape", shape)
    kept = [entry for entry in node.attribute if entry.name != "allowzero"]
    del node.attribute[:]
    node.attribute.extend(kept)


def fixed_shape(
    probes: Probes, source: str, result: str, *, sliced: tuple[int, int] | None = None
) -> NDArray[np.int64] | None:
    """The constant shape that reshapes `source` to `result` for every input, None where there is none.

    A size is a number where it never changes, 0 (the input's own) where the input has it at the same place, and -1 (the
    rest) once. sliced: the axes of source and result that are cut to one.
    """
    if probes.rank(source) < 0 or probes.rank(result) < 0:
        return None
    shape: list[int] = []
    for place in range(probes.rank(result)):
        sizes = probes.axis(result, place)
        if sliced is not None and place == sliced[1]:
            shape.append(1)
        elif len(set(sizes)) == 1:
            shape.append(sizes[0])
        elif place < probes.rank(source) and probes.axis(source, place) == sizes and (not sliced or place != sliced[0]):
            shape.append(0)
        else:
            shape.append(-1)
    return np.array(shape, dtype=np.int64) if shape.count(-1) <= 1 else None
