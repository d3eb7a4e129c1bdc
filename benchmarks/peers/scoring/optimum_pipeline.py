"""optimum: its ONNX Runtime model inside transformers' pipeline, on the graph that optimum exports."""

from typing import Any

from benchmarks.peers.contestant import ON_GPU, Variant
from benchmarks.peers.device import device
from benchmarks.peers.talk import Request, label

NEEDS = ()
VARIANTS = (
    Variant(
        name="optimum pipeline, batches of 32", onnx_runtime=True, precision="fp32", settings={"batch": 32}, quick=True
    ),
    Variant(name="optimum pipeline, one row at a time", onnx_runtime=True, precision="fp32", light=False),
    Variant(
        name="optimum pipeline, batches of 256" + ON_GPU,
        onnx_runtime=True,
        precision="fp32",
        gpu=True,
        settings={"batch": 256},
    ),
)


def load(settings: Request) -> Any:
    """The pipeline of optimum's documentation."""
    from optimum.onnxruntime import ORTModelForSequenceClassification
    from transformers import AutoTokenizer, pipeline

    place = device(settings)
    model = ORTModelForSequenceClassification.from_pretrained(
        settings["exported"],
        file_name="model.onnx",
        provider="CUDAExecutionProvider" if place == "cuda" else "CPUExecutionProvider",
    )
    tokenizer = AutoTokenizer.from_pretrained(settings["checkpoint"])
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer, device=place)
    numbers = model.config.label2id
    given = {"truncation": True, "max_length": settings["max_tokens"], "batch_size": settings.get("batch", 1)}
    return lambda texts: [numbers[found["label"]] for found in classify(texts, **given)]


if __name__ == "__main__":
    label(load, ("optimum", "optimum-onnx", "onnxruntime", "transformers"))
