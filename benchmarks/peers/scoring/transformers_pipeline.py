"""transformers' text-classification pipeline: as the documentation's first lines have it, and with what it advises."""

from typing import Any

from benchmarks.peers.contestant import ON_GPU, Variant
from benchmarks.peers.device import device
from benchmarks.peers.talk import Request, label

NEEDS = ()
VARIANTS = (
    Variant(name="transformers pipeline, defaults", precision="fp32", quick=True),
    Variant(
        name="transformers pipeline, sorted, batches of 32",
        precision="fp32",
        settings={"batch": 32, "sorted": True},
        light=False,
    ),
    Variant(
        name="transformers pipeline bf16, sorted, batches of 32",
        precision="bf16",
        settings={"batch": 32, "sorted": True, "type": "bfloat16"},
        light=False,
    ),
    Variant(name="transformers pipeline, defaults" + ON_GPU, precision="fp32", gpu=True),
    Variant(
        name="transformers pipeline fp16, sorted, batches of 256" + ON_GPU,
        precision="fp16",
        gpu=True,
        settings={"batch": 256, "sorted": True, "type": "float16"},
    ),
)


def load(settings: Request) -> Any:
    """The pipeline on the checkpoint, texts cut where the others cut them."""
    import torch
    from transformers import pipeline

    dtype = getattr(torch, settings.get("type", "float32"))
    classify = pipeline("text-classification", model=settings["checkpoint"], device=device(settings), dtype=dtype)
    numbers: dict[str, int] = dict(classify.model.config.label2id or {})
    given = {"truncation": True, "max_length": settings["max_tokens"], "batch_size": settings.get("batch", 1)}

    def run(texts: list[str]) -> list[int]:
        order = list(range(len(texts)))
        if settings.get("sorted"):
            # By characters: what a user has before anything is tokenized.
            order.sort(key=lambda row: -len(texts[row]))
        found = classify([texts[row] for row in order], **given)
        labels = dict(zip(order, (numbers[each["label"]] for each in found), strict=True))
        return [labels[row] for row in range(len(texts))]

    return run


if __name__ == "__main__":
    label(load, ("torch", "transformers"))
