"""A graph in the form in which ONNX Runtime's fusions find their patterns, whichever exporter and lane wrote it.

Each of them writes the mask of attention in its own way: transformers 5 looks it up for every pair of tokens, which no
fusion knows. What such arithmetic gives is what counts: where it is the caller's mask, "never" at padding, it is
written anew as transformers 4 writes it.
"""

import numpy as np
import onnx

from export.passes.editing import Graph
from export.passes.idle import drop_idle
from export.passes.probe import SMALL, Runner, probe
from export.passes.shapes import fix_reshapes

_MASK = "attention_mask"
_NEVER = np.finfo(np.float32).min


def plain_form(model: onnx.ModelProto, longest: int) -> onnx.ModelProto:
    """Edit the model in place: the same function. longest: the most tokens of a row."""
    graph = Graph(model)
    drop_idle(graph, probe(graph, longest))
    fix_reshapes(graph, probe(graph, longest))
    for name in _key_masks(graph, longest):
        written = _written(graph)
        # Its other users keep it: they may ask for its shape, which is another (ModernBERT's local mask does).
        for node in graph.nodes:
            if node.op_type == "Add":
                node.input[:] = [written if given == name else given for given in node.input]
    return graph.finish()


def _key_masks(graph: Graph, longest: int) -> list[str]:
    """Tensors [B, 1, 1 or T, T] that are 0 where the caller's mask is 1 and "never" where it is 0.

    Seen in runs with random masks of several sizes up to the longest, of tensors that nothing but the mask and shapes
    decides.
    """
    names = _decided_by_mask(graph)
    if not names:
        return []
    runner, generator = Runner(graph, names), np.random.default_rng(0)
    for rows, tokens in (*SMALL, (1, longest)):
        mask = generator.integers(0, 2, (rows, tokens))
        # Some families compute with no row that is all padding.
        mask[:, 0] = 1
        expected = np.where(mask == 1, np.float32(0), _NEVER)[:, None, None, :]
        found = runner.run(rows, tokens, mask)
        names = [name for name in names if _is(found[name], expected)]
    return names


def _is(found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether a tensor is the expected one [B, 1, 1, T], or that for each of T queries."""
    rows, tokens = expected.shape[0], expected.shape[-1]
    if found.dtype != np.float32 or found.shape not in {(rows, 1, 1, tokens), (rows, 1, tokens, tokens)}:
        return False
    return bool((found == expected).all())


def _decided_by_mask(graph: Graph) -> list[str]:
    """Tensors computed from the caller's mask and nothing else but constants and shapes, and added to what is not."""
    known, masked = {_MASK}, {_MASK}
    for node in graph.nodes:
        taken = [name for name in node.input if name and not graph.is_constant(name)]
        if node.op_type == "Shape" or all(name in known for name in taken):
            known.update(node.output)
            if node.op_type != "Shape" and masked.intersection(taken):
                masked.update(node.output)
    uses = graph.uses()
    return sorted(
        name
        for name in masked - {_MASK}
        if any(user.op_type == "Add" and user.output[0] not in known for user, _ in uses.get(name, ()))
    )


def _written(graph: Graph) -> str:
    """The mask as the fusions know it; its expansion to [1, 1, 1, 1] or more expands nothing."""
    one, low = (
        graph.add_constant(hint, np.array(value, dtype=np.float32)) for hint, value in (("one", 1), ("never", _NEVER))
    )
    wide = _MASK
    for axis in (1, 2):
        wide = graph.add("Unsqueeze", [wide, graph.add_constant("axis", np.array([axis]))], "mask")
    wide = graph.add("Expand", [wide, graph.add_constant("ones", np.ones(4, dtype=np.int64))], "mask")
    padded = graph.add("Sub", [one, graph.add("Cast", [wide], "mask", to=onnx.TensorProto.FLOAT)], "padded")
    never = graph.add("Cast", [padded], "padded", to=onnx.TensorProto.BOOL)
    return graph.add("Where", [never, low, padded], "mask")
