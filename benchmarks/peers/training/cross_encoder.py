"""sentence-transformers' CrossEncoderTrainer: its way to a classifier. It takes pairs, so each text gets an empty
second one; several labels a row it does not know.
"""

from typing import Any

from benchmarks.peers.contestant import ON_GPU, Variant
from benchmarks.peers.device import device
from benchmarks.peers.learn import Classify, Labels, Texts, go_on
from benchmarks.peers.talk import Request
from benchmarks.peers.training.network import arguments

NEEDS = ("sentence-transformers==5.6.1",)
VARIANTS = (
    Variant(name="sentence-transformers CrossEncoder", precision="fp32"),
    Variant(name="sentence-transformers CrossEncoder, bf16", precision="bf16", settings={"bf16": True}),
    Variant(
        name="sentence-transformers CrossEncoder, bf16" + ON_GPU,
        precision="bf16",
        gpu=True,
        settings={"bf16": True},
    ),
)


def load(settings: Request) -> tuple[Any, Classify]:
    """A trainer for each round on one network; its optimizer starts anew with it."""
    from datasets import Dataset
    from sentence_transformers.cross_encoder import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import CrossEntropyLoss

    if settings["multi"]:
        raise ValueError("its losses know one label a row")
    count = len(settings["labels"])
    most, place = settings["max_tokens"], device(settings)
    model = CrossEncoder(settings["encoder"], num_labels=count, max_length=most, device=place)
    given = CrossEncoderTrainingArguments(**arguments(settings))

    def train(texts: Texts, labels: Labels) -> None:
        rows = Dataset.from_dict({"text": texts, "second": [""] * len(texts), "label": labels})
        CrossEncoderTrainer(model=model, args=given, train_dataset=rows, loss=CrossEntropyLoss(model)).train()

    return train, lambda texts: model.predict([(text, "") for text in texts], show_progress_bar=False).argmax(axis=1)


if __name__ == "__main__":
    go_on(load, ("sentence-transformers", "transformers", "torch"))
