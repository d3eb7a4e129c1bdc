"""The padding-free form that ONNX Runtime has for CUDA: rows' tokens end to end, attention within each row.

Converted and checked structurally. Only CUDA has these operators, so no gate of an export can run it: it is written
beside the files that passed theirs, and the manifest says so. On a GPU scoring takes it in place of the fp16 file, and
the golden rows prove it there before any other row is scored.
"""

import collections

import onnx

from export.fp16.convert import FUSED, ort_tools
from trainer.contract.errors import GateError, InputError

NOTE = "padding-free fp16, which CUDA alone can run: the golden rows prove it at scoring"
_PACKED = {"RemovePadding": 1, "RestorePadding": 1}


def pack(model: onnx.ModelProto) -> onnx.ModelProto:
    """The packed form of a graph with fused attention, every layer of which works on every token.

    Raises InputError where attention is not fused, GateError where the result is not the same graph with padding taken
    away before the first attention and put back after the last layer norm.
    """
    kinds = {node.op_type for node in model.graph.node}
    if "Attention" not in kinds or "Softmax" in kinds:
        raise InputError(
            "this family has no padding-free form: ONNX Runtime does not fuse its attention",
            expected="a family like BERT, DistilBERT, RoBERTa or ELECTRA",
            do="leave --packing out",
        )
    source = onnx.ModelProto()
    # The tool edits the graph that it is given.
    source.CopyFrom(model)
    with ort_tools():
        from onnxruntime.transformers.convert_to_packing_mode import PackingMode  # noqa: PLC0415
        from onnxruntime.transformers.onnx_model import OnnxModel  # noqa: PLC0415

        packing = PackingMode(OnnxModel(source))
        # Types of fused operators are known to ONNX Runtime alone.
        packing.convert(use_symbolic_shape_infer=False)
        packing.model.topological_sort()
        result: onnx.ModelProto = packing.model.model
    _check(model, result)
    return result


def _check(before: onnx.ModelProto, after: onnx.ModelProto) -> None:
    """Raise GateError where the conversion lost or left anything."""
    had, has = (collections.Counter(node.op_type for node in model.graph.node) for model in (before, after))
    # Counted by kind, since the tool gives new names.
    expected = had - collections.Counter({"Attention": had["Attention"]})
    expected += collections.Counter({"PackedAttention": had["Attention"], **_PACKED})
    # What only attention's mask needed goes with it.
    missing = {
        kind: count for kind, count in expected.items() if has[kind] < count and kind not in {"Cast", "ReduceSum"}
    }
    added = {kind: count for kind, count in has.items() if count > expected[kind]}
    makers = {name: node for node in after.graph.node for name in node.output}
    dangling = {
        name
        for node in after.graph.node
        for name in node.input
        if name and name not in makers and name not in _given(after.graph)
    }
    if missing or added or dangling or not _reads_restored(after, makers):
        raise GateError(
            "the padding-free graph is not the graph that it was made of",
            found=f"missing {missing}, added {added}, unmade {sorted(dangling)[:5]}",
            expected=f"{had['Attention']} PackedAttention between RemovePadding and RestorePadding",
            do="leave --packing out",
        )
    onnx.checker.check_model(after, full_check=True)


def _given(graph: onnx.GraphProto) -> set[str]:
    return {entry.name for entry in graph.input} | {tensor.name for tensor in graph.initializer}


def _reads_restored(model: onnx.ModelProto, makers: dict[str, onnx.NodeProto]) -> bool:
    """Whether the logits are made of what `RestorePadding` gives, and that of packed attention in the same domain."""
    todo, seen = [entry.name for entry in model.graph.output], set()
    while todo:
        node = makers.get(todo.pop())
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if node.op_type == "PackedAttention":
            return False
        if node.op_type == "RestorePadding":
            continue
        todo.extend(node.input)
    return any(
        node.op_type == "RestorePadding" and node.domain == FUSED for node in model.graph.node if id(node) in seen
    )
