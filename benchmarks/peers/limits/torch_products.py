"""Bare products by torch: fp32, bf16 and int8 on a processor (oneDNN, MKL), fp32, bf16 and fp16 on a GPU (cuBLAS)."""

from typing import Any

from benchmarks.peers.contestant import ON_GPU, Variant
from benchmarks.peers.device import device
from benchmarks.peers.products import GPU_SHAPES, SHAPES, products
from benchmarks.peers.talk import Request, speak

NEEDS = ()
VARIANTS = (
    Variant(name="torch fp32", precision="fp32", first=1, seconds=0.5, quick=True),
    Variant(name="torch bf16", precision="bf16", first=1, seconds=0.5, settings={"type": "bfloat16"}, quick=True),
    Variant(name="torch int8", precision="int8", first=1, seconds=0.5, settings={"type": "int8"}),
    *(
        Variant(
            name=f"torch {name}" + ON_GPU,
            precision=name,
            first=16,
            seconds=0.5,
            settings={"type": kind},
            quick=True,
            gpu=True,
        )
        for name, kind in (("fp32", "float32"), ("bf16", "bfloat16"), ("fp16", "float16"))
    ),
)


def load(settings: Request) -> Any:
    """Products of constant weights; bf16 keeps its results in bf16, int8 adds in 32 bits."""
    import torch

    kind, place = getattr(torch, settings.get("type", "float32")), device(settings)

    def product(rows: int, inner: int, columns: int) -> Any:
        # int8 has no random draw of its own.
        left = torch.randint(-8, 8, (rows, inner)).to(place, kind)
        right = torch.randint(-8, 8, (inner, columns)).to(place, kind)
        multiply = torch._int_mm if kind == torch.int8 else torch.matmul
        return lambda: multiply(left, right)

    return products(product, GPU_SHAPES, torch.cuda.synchronize) if place == "cuda" else products(product, SHAPES)


if __name__ == "__main__":
    speak(load, ("torch",))
