"""Graphs on disk: one file, or a file and its weights beside where they are too many for one."""

from pathlib import Path

import onnx

# A protobuf file cannot hold more than 2 GiB; larger graphs keep their weights in a file beside.
INLINE_BYTES = 2**31 - 2**20


def is_large(graph: onnx.ModelProto) -> bool:
    """Whether the weights do not fit into one file with the graph."""
    return sum(len(tensor.raw_data) for tensor in graph.graph.initializer) >= INLINE_BYTES


def save_graph(graph: onnx.ModelProto, path: Path) -> None:
    """Write a graph; a large one keeps its weights in NAME_data beside it. The bytes depend on the graph alone."""
    if not is_large(graph):
        path.write_bytes(graph.SerializeToString(deterministic=True))
        return
    beside = f"{path.name}_data"
    # onnx appends to a file that is there.
    path.with_name(beside).unlink(missing_ok=True)
    # onnx moves the weights out of the graph that it is given.
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    onnx.save_model(copy, str(path), save_as_external_data=True, all_tensors_to_one_file=True, location=beside)


def move_graph(source: Path, target: Path) -> None:
    """Give a graph another name. One with its weights beside it is written anew, as it holds the name of their file."""
    if source.with_name(f"{source.name}_data").exists():
        save_graph(onnx.load(source), target)
    else:
        source.replace(target)


def opset(graph: onnx.ModelProto) -> int:
    """The version of the standard operators that a graph uses."""
    return next(int(entry.version) for entry in graph.opset_import if entry.domain in ("", "ai.onnx"))
