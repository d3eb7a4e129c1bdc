"""Classifact as a library: `Scorer` on the exported bundle."""

from typing import Any

from benchmarks.peers.contestant import ON_GPU, Variant
from benchmarks.peers.device import device
from benchmarks.peers.talk import Request, label

NEEDS = ()
VARIANTS = (
    Variant(name="Classifact fp32", onnx_runtime=True, precision="fp32", settings={"precision": "fp32"}, quick=True),
    Variant(name="Classifact int8", onnx_runtime=True, precision="int8", settings={"precision": "int8"}, quick=True),
    Variant(
        name="Classifact cascade, agreement 0.995",
        onnx_runtime=True,
        settings={"precision": "int8", "agreement": 0.995},
    ),
    *(
        Variant(
            name=f"Classifact {precision}" + ON_GPU,
            onnx_runtime=True,
            precision=precision,
            gpu=True,
            settings={"precision": precision},
        )
        for precision in ("fp16", "fp32")
    ),
)


def load(settings: Request) -> Any:
    """An open scorer, and what it predicts as numbers."""
    from serve import Scorer

    asked = {name: settings[name] for name in ("precision", "agreement") if name in settings}
    scorer = Scorer.open(settings["bundle"], device=device(settings), **asked)
    numbers = {name: number for number, name in enumerate(settings["labels"])}
    return lambda texts: [numbers[name] for name in scorer.predict(texts)]


if __name__ == "__main__":
    label(load, ("onnxruntime", "tokenizers"))
