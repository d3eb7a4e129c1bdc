"""Tools that are asked once: right, nearly right, short of a label, or without a way to learn."""

from typing import Any

from benchmarks.peers.contestant import Variant
from benchmarks.peers.learn import Classify, Labels, Texts, learn
from benchmarks.peers.talk import Request

NEEDS = ()
VARIANTS = (
    Variant(name="right"),
    Variant(name="near", settings={"wrong": 100}),
    Variant(name="far", settings={"wrong": 5}),
    Variant(name="short", settings={"left_out": 1}),
    Variant(name="cannot", settings={"cannot": True}),
)


def load(settings: Request) -> Any:
    """Text "7" has label 7 modulo 2; every so-manieth is wrong."""

    def fit(_texts: Texts, _labels: Labels) -> Classify:
        if settings.get("cannot"):
            raise ValueError("knows one label a row")

        def classify(asked: Texts) -> Labels:
            wrong = settings.get("wrong", 10**9)
            labels = [(int(text) + (place % wrong == wrong - 1)) % 2 for place, text in enumerate(asked)]
            return labels[: len(labels) - settings.get("left_out", 0)]

        return classify

    return fit


if __name__ == "__main__":
    learn(load, ("pytest",))
