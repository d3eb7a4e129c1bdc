"""A network to ONNX by torch's own tracing exporter: needs neither optimum nor transformers 5."""

import inspect
import io
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

# optimum's: ONNX Runtime 1.20 and transformers.js read it.
OPSET = 18
_AXES = {0: "batch_size", 1: "sequence_length"}


class _Logits(nn.Module):
    """A classifier as a function of tensors in a fixed order, as tracing wants it."""

    def __init__(self, model: Any, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *arrays: torch.Tensor) -> torch.Tensor:
        """Logits [B, C] of arrays [B, T]."""
        logits: torch.Tensor = self.model(**dict(zip(self.names, arrays, strict=True))).logits
        return logits


def example_inputs(model: Any) -> dict[str, torch.Tensor]:
    """Two rows of different lengths under the names that the model's `forward` takes, [2, 16] each.

    Sizes are neither 1 nor a weight's, and one row is padded, so that nothing in them looks like a constant.
    """
    # A small id, which every vocabulary has.
    ids = torch.full((2, 16), 5)
    mask = torch.ones_like(ids)
    mask[1, 11:] = 0
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    taken = inspect.signature(model.forward).parameters
    # With a table of one type (RoBERTa) or none (DeBERTa) they say nothing, and such families' tokenizers omit them.
    types = int(getattr(model.config, "type_vocab_size", 0) or 0)
    return {name: value for name, value in given.items() if name in taken and (name != "token_type_ids" or types > 1)}


def graph_of(model: Any, scratch: Path) -> onnx.ModelProto:  # noqa: ARG001 -- all in memory
    """The traced graph of a classifier, with dynamic batch and length."""
    # A trace of the fused attention keeps the example's lengths; the eager one reads them off its inputs.
    model.set_attn_implementation("eager")
    inputs = example_inputs(model)
    file: Any = io.BytesIO()  # Its annotation knows of paths alone; its documentation of both.
    with torch.no_grad():
        torch.onnx.export(
            _Logits(model, list(inputs)),
            tuple(inputs.values()),
            file,
            input_names=list(inputs),
            output_names=["logits"],
            dynamic_axes={**dict.fromkeys(inputs, _AXES), "logits": {0: "batch_size"}},
            opset_version=OPSET,
            dynamo=False,
        )
    return onnx.load_from_string(file.getvalue())
