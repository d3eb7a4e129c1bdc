"""Bare products by torch (oneDNN, MKL): fp32, bf16, int8."""

from typing import Any

from benchmarks.peers.contestant import Variant
from benchmarks.peers.products import products
from benchmarks.peers.talk import Request, speak

NEEDS = ()
VARIANTS = (
    Variant(name="torch fp32", precision="fp32", first=1, seconds=0.5, quick=True),
    Variant(name="torch bf16", precision="bf16", first=1, seconds=0.5, settings={"type": "bfloat16"}, quick=True),
    Variant(name="torch int8", precision="int8", first=1, seconds=0.5, settings={"type": "int8"}),
)


def load(settings: Request) -> Any:
    """Products of constant weights; bf16 keeps its results in bf16, int8 adds in 32 bits."""
    import torch

    kind = getattr(torch, settings.get("type", "float32"))

    def product(rows: int, inner: int, columns: int) -> Any:
        # int8 has no random draw of its own.
        left = torch.randint(-8, 8, (rows, inner)).to(kind)
        right = torch.randint(-8, 8, (inner, columns)).to(kind)
        multiply = torch._int_mm if kind == torch.int8 else torch.matmul
        return lambda: multiply(left, right)

    return products(product)


if __name__ == "__main__":
    speak(load, ("torch",))
