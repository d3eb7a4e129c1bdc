"""sentence-transformers' CrossEncoder on torch. It sorts by length itself.

It takes pairs alone: a single text ends in an error, so each gets an empty second one. Whether the labels are still the
model's is for the agreement to tell.
"""

from typing import Any

from benchmarks.peers.contestant import ON_GPU, Variant
from benchmarks.peers.device import device
from benchmarks.peers.talk import Request, label

NEEDS = ("sentence-transformers==5.6.1",)
VARIANTS = (
    Variant(name="sentence-transformers CrossEncoder, torch", precision="fp32", light=False),
    Variant(
        name="sentence-transformers CrossEncoder, fp16, batches of 256" + ON_GPU,
        precision="fp16",
        gpu=True,
        settings={"batch": 256},
    ),
)


def load(settings: Request) -> Any:
    """A cross encoder; on a processor in batches of 32, its default."""
    from sentence_transformers import CrossEncoder

    place, most = device(settings), settings["max_tokens"]
    model = CrossEncoder(settings["checkpoint"], max_length=most, device=place, local_files_only=True)
    if place == "cuda":
        model.half()
    return labels_of(model, settings.get("batch", 32))


def labels_of(model: Any, batch: int) -> Any:
    """A function from texts to numbers of labels. batch: rows of a batch."""

    def run(texts: list[str]) -> list[int]:
        pairs = [(text, "") for text in texts]
        found: list[int] = model.predict(pairs, batch_size=batch, show_progress_bar=False).argmax(axis=1).tolist()
        return found

    return run


if __name__ == "__main__":
    label(load, ("sentence-transformers", "transformers", "torch"))
