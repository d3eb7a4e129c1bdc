"""A tool that knows the label of a text once it was trained on it, slow to label; and one that is slow to train."""

import time
from typing import Any

from benchmarks.peers.contestant import Variant
from benchmarks.peers.learn import Classify, Labels, Texts, go_on
from benchmarks.peers.talk import Request

NEEDS = ()
VARIANTS = (
    Variant(name="Trainer, best (by length, fused AdamW)", precision="fp32", settings={"train_sleeps": 0.3}),
    Variant(name="slow to label", precision="fp32", settings={"label_sleeps": 0.3}),
)


def load(settings: Request) -> tuple[Any, Classify]:
    """Seconds of either are slept."""
    known: dict[str, int] = {}

    def train(texts: Texts, labels: Labels) -> None:
        time.sleep(settings.get("train_sleeps", 0))
        known.update(zip(texts, labels, strict=True))

    def classify(asked: Texts) -> Labels:
        time.sleep(settings.get("label_sleeps", 0))
        return [known.get(text, 0) for text in asked]

    return train, classify


if __name__ == "__main__":
    go_on(load, ("pytest",))
