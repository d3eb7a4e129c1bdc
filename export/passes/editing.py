"""An ONNX graph by tensor name: who makes a tensor, who takes it, and what is constant."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper


class Graph:
    """A model under edit, in place.

    Nodes may be added anywhere: `finish` drops those that no output needs and sorts the rest.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes: list[onnx.NodeProto] = []
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._added = 0
        self.insert(model.graph.node)

    @property
    def inputs(self) -> list[str]:
        """Names of what a caller gives."""
        return [given.name for given in self.model.graph.input]

    @property
    def outputs(self) -> list[str]:
        """Names of what a caller gets."""
        return [given.name for given in self.model.graph.output]

    def makers(self) -> dict[str, onnx.NodeProto]:
        """The node that makes each tensor."""
        return {name: node for node in self.nodes for name in node.output}

    def uses(self) -> dict[str, list[tuple[onnx.NodeProto, int]]]:
        """The nodes that take each tensor, with the number of the input; -1 where a branch inside the node takes it."""
        found: dict[str, list[tuple[onnx.NodeProto, int]]] = defaultdict(list)
        for node in self.nodes:
            for place, name in enumerate(node.input):
                found[name].append((node, place))
            for name in captured(node):
                found[name].append((node, -1))
        return found

    def is_constant(self, name: str) -> bool:
        """Whether a tensor is a weight or a constant."""
        return name in self._constants

    def constant(self, name: str) -> NDArray[Any] | None:
        """The value of a constant, None where the tensor is none. An absent optional input ("") is none."""
        tensor = self._constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def add_constant(self, hint: str, value: NDArray[Any]) -> str:
        """Add a constant; returns its name."""
        name = self.fresh(hint)
        tensor = numpy_helper.from_array(np.array(value, order="C"), name)
        self.model.graph.initializer.append(tensor)
        self._constants[name] = tensor
        return name

    def add(self, kind: str, inputs: Sequence[str], hint: str, **attributes: Any) -> str:
        """Add a node with one output; returns the output's name."""
        name = self.fresh(hint)
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def insert(self, nodes: Iterable[onnx.NodeProto]) -> None:
        """Add nodes as they are."""
        for node in nodes:
            self.nodes.append(node)
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self._constants[node.output[0]] = node.attribute[0].t

    def fresh(self, hint: str) -> str:
        """A name that no tensor has. Names depend on the order of edits alone, so exports repeat byte for byte."""
        self._added += 1
        return f"classifact/{hint}_{len(self.model.graph.initializer)}_{self._added}"

    def replace(self, old: str, new: str) -> None:
        """Let every node that takes `old` take `new`. Outputs of the graph keep their names."""
        for node in self.nodes:
            _rename(node, old, new)

    def finish(self) -> onnx.ModelProto:
        """The model, without what no output needs, its nodes in an order that can be run."""
        ordered = _sorted(self.outputs, self.makers())
        # Inferred shapes may be stale after an edit, and every reader that needs them infers them again.
        del self.model.graph.value_info[:]
        nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
        del self.model.graph.node[:]
        self.model.graph.node.extend(nodes)
        taken = {name for node in nodes for name in [*node.input, *captured(node)]} | set(self.outputs)
        # Backwards, since a deletion moves what follows it.
        for place in reversed(range(len(self.model.graph.initializer))):
            if self.model.graph.initializer[place].name not in taken:
                del self.model.graph.initializer[place]
        self.nodes = []
        self.insert(self.model.graph.node)
        return self.model


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """An attribute's value, or the default that the operator has."""
    return next((helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name), default)


def _sorted(outputs: Iterable[str], makers: dict[str, onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Nodes that the outputs need, each after what it takes; depth first, without recursion."""
    ordered: list[onnx.NodeProto] = []
    done: set[int] = set()
    stack = [(makers[name], False) for name in reversed(list(outputs)) if name in makers]
    while stack:
        node, ready = stack.pop()
        if id(node) in done:
            continue
        if ready:
            done.add(id(node))
            ordered.append(node)
            continue
        stack.append((node, True))
        stack.extend((makers[name], False) for name in reversed([*node.input, *captured(node)]) if name in makers)
    return ordered


def captured(node: onnx.NodeProto) -> Iterator[str]:
    """What the branches inside a node take, from outside or from themselves."""
    for inner in _branches(node):
        for child in inner.node:
            yield from child.input
            yield from captured(child)
        yield from (output.name for output in inner.output)


def _rename(node: onnx.NodeProto, old: str, new: str) -> None:
    for place, name in enumerate(node.input):
        if name == old:
            node.input[place] = new
    for inner in _branches(node):
        for child in inner.node:
            _rename(child, old, new)
        for output in inner.output:
            if output.name == old:
                output.name = new


def _branches(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    return (entry.g for entry in node.attribute if entry.type == onnx.AttributeProto.GRAPH)
