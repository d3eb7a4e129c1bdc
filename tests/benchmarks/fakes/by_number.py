"""Tools that label a text by its number: in time, wrongly, too few, or until they die."""

import os
import time
from typing import Any

from benchmarks.peers.contestant import Variant
from benchmarks.peers.talk import Request, label

NEEDS = ()
VARIANTS = (
    Variant(name="liar", settings={"wrong": 20}),
    Variant(name="lazy", settings={"left_out": 1}),
    Variant(name="careless", settings={"wrong": 100}),
    Variant(name="reference", reference=True),
    Variant(name="dies", settings={"dies": True}),
    Variant(name="raises", settings={"raises": True}),
    Variant(name="GPU", gpu=True),
)


def load(settings: Request) -> Any:
    """Text "7" has label 7 modulo 3."""
    if settings.get("device") == "cuda":
        raise RuntimeError("a GPU was asked for")
    done = 0

    def run(texts: list[str]) -> list[int]:
        nonlocal done
        done += 1
        print("libraries print what they like")
        if done == 3 and settings.get("dies"):
            os._exit(9)
        if done == 3 and settings.get("raises"):
            raise RuntimeError("no more")
        if settings.get("hangs"):
            time.sleep(600)
        labels = [int(text) % 3 for text in texts]
        if settings.get("wrong"):
            labels = [each + (place % settings["wrong"] == 0) for place, each in enumerate(labels)]
        return labels[: len(labels) - settings.get("left_out", 0)]

    return run


if __name__ == "__main__":
    label(load, ("pytest",))
