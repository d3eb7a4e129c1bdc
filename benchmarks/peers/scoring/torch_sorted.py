"""torch alone, batches as ours: the reference in fp32, and bf16, which is what torch is best at on these processors."""

from typing import Any

from benchmarks.peers.contestant import ON_GPU, Variant
from benchmarks.peers.device import device
from benchmarks.peers.talk import Request, label

NEEDS = ()
VARIANTS = (
    Variant(name="torch fp32, sorted, 4,096 tokens", precision="fp32", reference=True, quick=True),
    Variant(name="torch bf16, sorted, 4,096 tokens", precision="bf16", settings={"bf16": True}),
    Variant(name="torch fp16, sorted, 32,768 tokens" + ON_GPU, precision="fp16", gpu=True),
)


def load(settings: Request) -> Any:
    """transformers' own model, opened from the checkpoint."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from benchmarks.peers.sorted_batches import in_sorted_batches, side_by_side

    place = device(settings)
    model = AutoModelForSequenceClassification.from_pretrained(settings["checkpoint"], local_files_only=True)
    model = model.eval().to(place, torch.float16 if place == "cuda" else torch.float32)

    def forward(batch: Any) -> Any:
        inputs = {name: torch.from_numpy(array).to(place) for name, array in batch.named().items()}
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bool(settings.get("bf16"))):
            return model(**inputs).logits.float().cpu().numpy()

    tokens = 32768 if place == "cuda" else 4096
    return in_sorted_batches(settings["checkpoint"], side_by_side(forward, 1), tokens)


if __name__ == "__main__":
    label(load, ("torch", "transformers"))
