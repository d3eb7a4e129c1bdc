"""CTranslate2's encoder, and the head by torch, as its documentation classifies texts; batches as ours."""

import tempfile
from typing import Any

from benchmarks.peers.contestant import Variant
from benchmarks.peers.talk import Request, label

NEEDS = ("ctranslate2==4.8.5",)
VARIANTS = (
    Variant(name="CTranslate2 fp32, sorted, 4,096 tokens", precision="fp32", settings={"type": "float32"}, light=False),
    Variant(name="CTranslate2 int8, sorted, 4,096 tokens", precision="int8", settings={"type": "int8"}),
)


def load(settings: Request) -> Any:
    """Its converter reads the checkpoint; pooled output goes through the checkpoint's own classifier."""
    import ctranslate2
    import numpy as np
    import torch
    from ctranslate2.converters import TransformersConverter
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from benchmarks.peers.sorted_batches import in_sorted_batches, side_by_side

    model = AutoModelForSequenceClassification.from_pretrained(settings["checkpoint"], local_files_only=True)
    head = model.classifier.eval()
    with tempfile.TemporaryDirectory() as folder:
        # It reads a bare encoder: under a classifier's name it would look for layers that are not there.
        model.base_model.save_pretrained(f"{folder}/encoder")
        AutoTokenizer.from_pretrained(settings["checkpoint"]).save_pretrained(f"{folder}/encoder")
        TransformersConverter(f"{folder}/encoder").convert(f"{folder}/converted")
        encoder = ctranslate2.Encoder(
            f"{folder}/converted", device="cpu", compute_type=settings["type"], intra_threads=settings["processors"]
        )

    def forward(batch: Any) -> Any:
        rows = [ids[:length].tolist() for ids, length in zip(batch.ids, batch.mask.sum(axis=1), strict=True)]
        pooled = torch.from_numpy(np.array(encoder.forward_batch(rows).pooler_output))
        with torch.inference_mode():
            return head(pooled).numpy()

    return in_sorted_batches(settings["checkpoint"], side_by_side(forward, 1), tokens=4096)


if __name__ == "__main__":
    label(load, ("ctranslate2", "transformers"))
