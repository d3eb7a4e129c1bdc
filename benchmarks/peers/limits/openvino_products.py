"""Bare products by OpenVINO: fp32, bf16, and int8, which includes quantizing what comes in."""

from typing import Any

from benchmarks.peers.contestant import Variant
from benchmarks.peers.products import products
from benchmarks.peers.scoring import openvino_runtime
from benchmarks.peers.talk import Request, speak

NEEDS = openvino_runtime.NEEDS
VARIANTS = (
    Variant(name="OpenVINO fp32", precision="fp32", first=1, seconds=0.5, settings={"type": "f32"}),
    Variant(name="OpenVINO bf16", precision="bf16", first=1, seconds=0.5, settings={"type": "bf16"}),
    Variant(name="OpenVINO int8", precision="int8", first=1, seconds=0.5, settings={"type": "f32", "int8": True}),
)


def load(settings: Request) -> Any:
    """A compiled model of one product with constant weights."""
    import numpy as np
    import openvino
    from openvino import opset13 as operators

    def quantized(node: Any, levels: int) -> Any:
        ends = [np.float32(end) for end in (-8, 8, -8, 8)]
        return operators.fake_quantize(node, *ends, levels) if settings.get("int8") else node

    def product(rows: int, inner: int, columns: int) -> Any:
        draw = np.random.default_rng(0)
        left = operators.parameter([rows, inner], np.float32)
        right = operators.constant(draw.integers(-8, 8, (inner, columns)).astype(np.float32))
        result = operators.matmul(quantized(left, 256), quantized(right, 255), False, False)
        model = openvino.Model([result], [left])
        threads = {"INFERENCE_PRECISION_HINT": settings["type"], "INFERENCE_NUM_THREADS": settings["processors"]}
        request = openvino.Core().compile_model(model, "CPU", threads).create_infer_request()
        request.set_input_tensor(openvino.Tensor(draw.integers(-8, 8, (rows, inner)).astype(np.float32)))
        return request.infer

    return products(product)


if __name__ == "__main__":
    speak(load, ("openvino",))
