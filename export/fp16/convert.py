"""fp16 for GPUs: attention and layer norm fused, every tensor in half precision but those that overflow it.

ONNX Runtime's own converter asks shape inference for types, which gives up at fused operators. Here types and sizes
come from running the graph: a tensor's largest number over the longest and the most extreme validation rows decides
whether the nodes that make it and take it stay in fp32.
"""

import contextlib
import io
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from export.fp16.plain import plain_form
from export.passes import apply_passes
from export.passes.editing import Graph, attribute, captured
from export.passes.probe import model_session, probe
from export.proof.runtime import release_memory
from export.trained_run import Sample
from trainer.contract.encoding import Batch

# Other rows than those of the probe may be this many times more extreme.
HEADROOM = 4
LIMIT = float(np.finfo(np.float16).max) / HEADROOM
# Masks hold numbers like this for "never": no overflow, and the smallest half serves as well.
_NEVER = 1e30
_EXTREME_ROWS = 16
# The domain of ONNX Runtime's own operators.
FUSED = "com.microsoft"


@dataclass(frozen=True, kw_only=True)
class Half:
    """A graph in fp16 with fp32 logits."""

    graph: onnx.ModelProto
    fused: bool
    """Whether attention is one operator."""
    kept: tuple[str, ...]
    """Names of nodes left in fp32."""


def extreme(sample: Sample, probabilities: NDArray[np.float32]) -> list[Batch]:
    """Batches of the longest rows and of those that are decided most clearly, by torch's probabilities [N, C]."""
    # Sums grow with length, logits with clear decisions; where a network's numbers are largest nobody knows before.
    longest = np.argsort(-sample.encoded.lengths, kind="stable")[:_EXTREME_ROWS]
    clearest = np.argsort(-np.abs(probabilities - 0.5).max(axis=1), kind="stable")[:_EXTREME_ROWS]
    rows = np.unique(np.concatenate([longest, clearest]))
    return Sample.of(sample.rows.take(rows), sample.encoder).padded()


def to_half(
    exported: onnx.ModelProto,
    unfused: onnx.ModelProto,
    longest: int,
    batches: list[Batch],
    *,
    passes: tuple[str, ...] = ("first_token",),
) -> Half:
    """Fuse what ONNX Runtime can fuse for GPUs and convert.

    exported, unfused: the graph as exported, whose layers fusions know (it is used up), and after the exact passes,
    taken where they find none. longest: the most tokens of a row. batches: rows to look for overflow on. passes: for
    the fused graph.
    """
    exported = plain_form(exported, longest)
    # Looked for before fusing: what a fused operator holds inside cannot be asked for.
    over = overflowing(exported, batches)
    # `fuse` uses the graph up, so what led where is noted first.
    links = [(list(node.input), list(node.output)) for node in exported.graph.node]
    release_memory()
    fused = fuse(exported)
    if fused is None:
        return convert(unfused, longest, overflowing(unfused, batches))
    # The tools leave copies of the weights in rings of references.
    release_memory()
    graph, _ = apply_passes(fused, longest, passes)
    release_memory()
    return convert(graph, longest, over, _shown_by(links, over, graph))


def fuse(exported: onnx.ModelProto) -> onnx.ModelProto | None:
    """The graph with attention, layer norms and Gelu as single operators, in place; None where attention is of another
    kind.
    """
    with ort_tools():
        from onnxruntime.transformers.fusion_options import FusionOptions  # noqa: PLC0415
        from onnxruntime.transformers.optimizer import optimize_model  # noqa: PLC0415

        options = FusionOptions("bert")
        # It would hide the sums of embeddings, and saves next to nothing.
        options.enable_embed_layer_norm = False
        # The tool takes a bias for granted where it joins an addition to a layer norm (ModernBERT has none).
        options.enable_skip_layer_norm = all(
            len(node.input) > 2 for node in exported.graph.node if node.op_type == "LayerNormalization"
        )
        found: onnx.ModelProto = optimize_model(
            exported, model_type="bert", opt_level=0, optimization_options=options
        ).model
    if not any(entry.domain == FUSED for entry in found.opset_import):
        found.opset_import.append(onnx.helper.make_opsetid(FUSED, 1))
    return found if any(node.op_type == "Attention" for node in found.graph.node) else None


@contextlib.contextmanager
def ort_tools() -> Iterator[None]:
    """Let ONNX Runtime's tools import their neighbours by bare names, without leaving their folder on the path, and
    keep what they report of each fusion to themselves.
    """
    path, level = list(sys.path), logging.root.manager.disable
    from onnxruntime import transformers  # noqa: PLC0415

    sys.path[:] = [*path, *transformers.__path__]
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(level)
        sys.path[:] = path


def overflowing(model: onnx.ModelProto, batches: list[Batch]) -> set[str]:
    """Names of the tensors that come nearer to fp16's largest number than headroom allows, on some rows."""
    peaks = _Peaks(Graph(model))
    return {name for batch in batches for name, value in peaks.run(batch).items() if value > LIMIT}


class _Peaks:
    """Gives the largest absolute number of each float tensor, without holding on to the tensors."""

    def __init__(self, graph: Graph) -> None:
        self._names = [
            name
            for name, kind in probe(graph, 1).types.items()
            if kind == np.float32 and name not in graph.inputs and not graph.is_constant(name)
        ]
        model = onnx.ModelProto()
        model.CopyFrom(graph.model)
        wide = Graph(model)
        never, zero = (
            wide.add_constant(name, np.array(value, dtype=np.float32))
            for name, value in (("never", _NEVER), ("zero", 0))
        )
        outputs = []
        for name in self._names:
            size = wide.add("Abs", [name], "size")
            real = wide.add("Where", [wide.add("Less", [size, never], "real"), size, zero], "real")
            outputs.append(wide.add("ReduceMax", [real], "peak", keepdims=0))
        model.graph.node.extend(wide.nodes[len(model.graph.node) :])
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
        options = ort.SessionOptions()
        # Optimized, some of the tensors that are asked for would not exist.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self._session = model_session(model, options)

    def run(self, batch: Batch) -> dict[str, float]:
        """Each tensor's peak; not a number counts as infinite."""
        arrays = batch.named()
        found = self._session.run(None, {entry.name: arrays[entry.name] for entry in self._session.get_inputs()})
        peaks = np.nan_to_num(np.array(found, dtype=np.float64), nan=np.inf)
        return dict(zip(self._names, peaks.tolist(), strict=True))


def convert(model: onnx.ModelProto, longest: int, over: set[str], makers_of: frozenset[str] = frozenset()) -> Half:
    """Let every node work in fp16 but those that meet an overflowing tensor or weight, or make one of `makers_of`."""
    graph = Graph(model)
    over = over | {name for node in graph.nodes for name in node.input if _is_large(graph, name)}
    kept = [
        node
        for node in graph.nodes
        if (over & {*node.input, *node.output} or makers_of & {*node.output}) and node.op_type != "Constant"
    ]
    _Conversion(graph, probe(graph, longest).types, {id(node) for node in kept}).run()
    fused = any(node.op_type == "Attention" for node in graph.nodes)
    names = tuple(node.name for node in kept)
    return Half(graph=_ordered(graph.finish()), fused=fused, kept=names)


def _is_large(graph: Graph, name: str) -> bool:
    value = graph.constant(name)
    if value is None or value.dtype != np.float32 or not value.size:
        return False
    size = np.abs(value)
    return bool(((size > LIMIT) & (size < _NEVER)).any())


def _shown_by(links: list[tuple[list[str], list[str]]], over: set[str], fused: onnx.ModelProto) -> frozenset[str]:
    """The first tensors of the fused graph after each that overflows and that a fused operator holds inside.

    links: what each node of the graph before takes and makes, in an order that can be run.
    """
    shown = {name for node in fused.graph.node for name in node.output}
    found: set[str] = set()
    inside = {name for name in over if name not in shown}
    for taken, made in links:
        if inside.intersection(taken):
            found.update(name for name in made if name in shown)
            inside.update(name for name in made if name not in shown)
    return frozenset(found)


@dataclass
class _Conversion:
    """A conversion under way. It adds a cast for each tensor that crosses between fp16 and fp32."""

    graph: Graph
    types: dict[str, np.dtype[np.generic]]
    """The type of each computed tensor before the conversion."""
    kept: set[int]
    """Ids of the nodes that stay in fp32."""
    halves: set[str] = field(default_factory=set)
    crossed: dict[tuple[str, int], str] = field(default_factory=dict)

    def run(self) -> None:
        """Edit the graph."""
        for node in list(self.graph.nodes):
            if node.op_type == "Constant":
                continue
            wide = self._is_wide(node)
            for place, name in enumerate(node.input):
                node.input[place] = self._wide(name) if wide else self._half(name)
            # A cast to fp32 (of the mask, say) becomes one to fp16, since what takes it works in halves now.
            if not wide and node.op_type == "Cast" and attribute(node, "to", 0) == onnx.TensorProto.FLOAT:
                node.attribute[0].i = onnx.TensorProto.FLOAT16
            if not wide:
                self.halves.update(name for name in node.output if self.types.get(name) == np.float32)
        for name in self.graph.outputs:
            self._give_wide(name)

    def _is_wide(self, node: onnx.NodeProto) -> bool:
        """What makes floats of none (a constant of some shape) says their type itself; so do branches."""
        floats = any(self._is_float(name) for name in node.input) or node.op_type == "Cast"
        return id(node) in self.kept or not floats or any(True for _ in captured(node))

    def _is_float(self, name: str) -> bool:
        value = self.graph.constant(name) if self.graph.is_constant(name) else None
        return value.dtype == np.float32 if value is not None else self.types.get(name) == np.float32

    def _half(self, name: str) -> str:
        if not name or name in self.halves or not self._is_float(name):
            return name
        value = self.graph.constant(name)
        if value is None:
            return self._cross(name, onnx.TensorProto.FLOAT16)
        # 0 stands for a constant's own half; computed tensors are kept by the type of their cast.
        if (name, 0) not in self.crossed:
            most = np.finfo(np.float16).max
            self.crossed[name, 0] = self.graph.add_constant("half", value.clip(-most, most).astype(np.float16))
        return self.crossed[name, 0]

    def _wide(self, name: str) -> str:
        return self._cross(name, onnx.TensorProto.FLOAT) if name in self.halves else name

    def _cross(self, name: str, kind: int) -> str:
        if (name, kind) not in self.crossed:
            self.crossed[name, kind] = self.graph.add("Cast", [name], "cast", to=kind)
        return self.crossed[name, kind]

    def _give_wide(self, name: str) -> None:
        """Callers get fp32, as before."""
        if name not in self.halves:
            return
        made = self.graph.makers()[name]
        inner = self.graph.fresh("half")
        made.output[list(made.output).index(name)] = inner
        self.graph.replace(name, inner)
        self.graph.insert([onnx.helper.make_node("Cast", [inner], [name], name=f"{name}/fp32", to=1)])


def _ordered(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Weights by name: fusions leave them in an order that changes from process to process."""
    weights = sorted(graph.graph.initializer, key=lambda tensor: tensor.name)
    copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in weights]
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(copies)
    return graph
