"""A graph run on a few small inputs: the real shape of every tensor, and the values that only shapes decide.

Shape inference gives up where a length passes through arithmetic; numbers from several runs do not.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from export.passes.editing import Graph
from export.passes.graph_file import is_large, save_graph

# Rows and tokens of each run: none equal to another, lengths down to one, so that no two meanings look alike.
SMALL = ((2, 1), (1, 2), (3, 7), (5, 3), (2, 13))


@dataclass(frozen=True, kw_only=True)
class Probes:
    """What runs of the graph showed."""

    sizes: tuple[tuple[int, int], ...]
    """Rows and tokens of each run."""
    shapes: dict[str, list[tuple[int, ...]]]
    """The shapes of each tensor, in the small runs."""
    types: dict[str, np.dtype[Any]]
    """The type of each tensor that is given or computed."""
    values: dict[str, list[NDArray[Any]]]
    """The values of each tensor that depends on shapes alone, in every run, the longest among them."""
    pairs: bool
    """Whether rows may be pairs of texts, the second of another token type."""

    def rank(self, name: str) -> int:
        """The number of a tensor's axes; -1 where it is unknown."""
        return len(self.shapes[name][0]) if name in self.shapes else -1

    def axis(self, name: str, place: int) -> tuple[int, ...]:
        """A tensor's size along an axis in each small run."""
        return tuple(shape[place] for shape in self.shapes[name])

    @property
    def rows(self) -> tuple[int, ...]:
        """What an axis of rows measures in the small runs."""
        return tuple(rows for rows, _ in SMALL)

    @property
    def tokens(self) -> tuple[int, ...]:
        """What an axis of tokens measures in the small runs."""
        return tuple(tokens for _, tokens in SMALL)


def probe(graph: Graph, longest: int, *, pairs: bool = True) -> Probes:
    """Run the graph. longest: the most tokens that a row may have. pairs: whether rows may be pairs of texts.

    The last run is that long: a size that a limit decides shows itself there.
    """
    decided = _decided_by_shapes(graph)
    small = Runner(graph, [name for node in graph.nodes for name in node.output if name])
    runs = [small.run(*size) for size in SMALL]
    shapes = {name: [run[name].shape for run in runs] for name in runs[0]}
    types = {name: value.dtype for name, value in runs[0].items()}
    for name in graph.inputs:
        shapes[name], types[name] = list(SMALL), np.dtype(np.int64)
    for tensor in graph.model.graph.initializer:
        shapes[tensor.name] = [tuple(tensor.dims)] * len(SMALL)
    values = {name: [run[name] for run in runs] for name in decided}
    if decided:
        long = Runner(graph, decided).run(1, longest)
        values = {name: [*found, long[name]] for name, found in values.items()}
    return Probes(sizes=(*SMALL, (1, longest)), shapes=shapes, types=types, values=values, pairs=pairs)


class Runner:
    """A session that gives any tensors of a graph, unoptimized, so that every one exists."""

    def __init__(self, graph: Graph, names: list[str]) -> None:
        model = graph.model
        outputs = list(model.graph.output)
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        try:
            self._session = model_session(model, options)
        finally:
            del model.graph.output[:]
            model.graph.output.extend(outputs)
        self._names = names

    def run(self, rows: int, tokens: int, mask: NDArray[np.int64] | None = None) -> dict[str, NDArray[Any]]:
        """Values of the tensors on some rows. mask: [rows, tokens]; without, the last token of each row but the first
        is padding.
        """
        generator = np.random.default_rng(0)
        # Small ids are in every vocabulary, and no row starts with what some families read as padding.
        ids = generator.integers(2, 5, (rows, tokens))
        if mask is None:
            mask = np.ones((rows, tokens), dtype=np.int64)
            mask[1:, 1:][:, -1:] = 0
        known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        given = {entry.name: known[entry.name] for entry in self._session.get_inputs()}
        return dict(zip(self._names, self._session.run(self._names, given), strict=True))


def model_session(model: onnx.ModelProto, options: ort.SessionOptions) -> ort.InferenceSession:
    """A CPU session on a graph in memory, through a file where it is too large for one message."""
    if not is_large(model):
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        save_graph(model, path)
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _decided_by_shapes(graph: Graph) -> list[str]:
    """Tensors computed from nothing but constants and the shapes of tensors."""
    decided: list[str] = []
    known: set[str] = set()
    for node in graph.nodes:
        taken = [name for name in node.input if name and not graph.is_constant(name)]
        if node.op_type == "Shape" or (taken and all(name in known for name in taken)):
            known.update(node.output)
            decided.extend(node.output)
    return decided
