"""ONNX Runtime as guides have it: optimum's O2, dynamic int8, batches of 32 padded to their longest; and sorted."""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers.contestant import Variant
from benchmarks.peers.talk import Request, label

NEEDS = ()
VARIANTS = (
    Variant(
        name="ONNX Runtime int8: O2, quantize_dynamic, batches of 32", onnx_runtime=True, precision="int8", quick=True
    ),
    Variant(
        name="ONNX Runtime int8: quantize_dynamic, sorted, 1,024 tokens",
        onnx_runtime=True,
        precision="int8",
        settings={"sorted": True},
    ),
)


def load(settings: Request) -> Any:
    """A session on the quantized graph: ONNX Runtime's defaults, or a thread a core as ours."""
    import numpy as np
    import onnxruntime as ort
    from onnxruntime.quantization import quantize_dynamic
    from optimum.onnxruntime import ORTModelForSequenceClassification, ORTOptimizer
    from optimum.onnxruntime.configuration import AutoOptimizationConfig
    from transformers import AutoTokenizer

    from benchmarks.peers.sorted_batches import in_sorted_batches, side_by_side

    options, path = ort.SessionOptions(), Path(settings["exported"]) / "model.onnx"
    with tempfile.TemporaryDirectory() as folder:
        if settings.get("sorted"):
            options.intra_op_num_threads = 1
        else:
            model = ORTModelForSequenceClassification.from_pretrained(settings["exported"], file_name="model.onnx")
            ORTOptimizer.from_pretrained(model).optimize(AutoOptimizationConfig.O2(), save_dir=folder, file_suffix="o2")
            path = Path(folder) / "model_o2.onnx"
        # Without a type for fused operators' outputs, quantizing an optimized graph fails.
        extra = {"DefaultTensorType": 1}
        quantize_dynamic(path, Path(folder) / "int8.onnx", per_channel=True, extra_options=extra)
        session = ort.InferenceSession(str(Path(folder) / "int8.onnx"), options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def forward(inputs: Any) -> Any:
        return session.run(["logits"], {name: inputs[name] for name in names})[0]

    if settings.get("sorted"):
        threads = side_by_side(lambda batch: forward(batch.named()), settings["processors"])
        return in_sorted_batches(settings["checkpoint"], threads, tokens=1024)
    tokenizer, most = AutoTokenizer.from_pretrained(settings["checkpoint"]), settings["max_tokens"]

    def run(texts: list[str]) -> list[int]:
        labels: list[int] = []
        for start in range(0, len(texts), 32):
            given = {"padding": True, "truncation": True, "max_length": most, "return_tensors": "np"}
            labels += np.argmax(forward(tokenizer(texts[start : start + 32], **given)), axis=1).tolist()
        return labels

    return run


if __name__ == "__main__":
    label(load, ("onnxruntime", "optimum-onnx", "transformers"))
