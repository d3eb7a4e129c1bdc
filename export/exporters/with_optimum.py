"""A network to ONNX by optimum: the default where it is installed. The only file that touches optimum."""

import tempfile
from pathlib import Path
from typing import Any

import onnx
from optimum.exporters.onnx import onnx_export_from_model


def graph_of(model: Any, scratch: Path) -> onnx.ModelProto:
    """The graph of a classifier; optimum leaves its files in `scratch`."""
    with tempfile.TemporaryDirectory(dir=scratch) as empty:
        # optimum looks in the model's own folder for tokenizers and processors to save, and would open what is there.
        model.config._name_or_path = empty
        # No validation: optimum's only warns, and parity on real rows is a gate of our own.
        onnx_export_from_model(
            model=model,
            output=scratch,
            task="text-classification",
            device="cpu",
            no_post_process=True,
            do_validation=False,
        )
    # optimum gives files, never a graph.
    return onnx.load(scratch / "model.onnx")
