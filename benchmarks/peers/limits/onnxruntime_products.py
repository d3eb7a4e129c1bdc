"""Bare products by ONNX Runtime: MatMul in fp32, and MatMulInteger, which dynamic int8 runs on."""

from typing import Any

from benchmarks.peers.contestant import Variant
from benchmarks.peers.products import products
from benchmarks.peers.talk import Request, speak

NEEDS = ()
VARIANTS = (
    Variant(name="ONNX Runtime fp32", precision="fp32", first=1, seconds=0.5, onnx_runtime=True, quick=True),
    Variant(
        name="ONNX Runtime int8",
        precision="int8",
        first=1,
        seconds=0.5,
        onnx_runtime=True,
        settings={"int8": True},
        quick=True,
    ),
)


def load(settings: Request) -> Any:
    """A session on one product with constant weights, whose inputs and outputs stay where they are."""
    import numpy as np
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    int8 = bool(settings.get("int8"))
    given, weights, result = (
        (TensorProto.UINT8, np.int8, TensorProto.INT32) if int8 else (TensorProto.FLOAT, np.float32, TensorProto.FLOAT)
    )

    def product(rows: int, inner: int, columns: int) -> Any:
        draw = np.random.default_rng(0)
        right = numpy_helper.from_array(draw.integers(-8, 8, (inner, columns)).astype(weights), "right")
        graph = helper.make_graph(
            [helper.make_node("MatMulInteger" if int8 else "MatMul", ["left", "right"], ["result"])],
            "product",
            [helper.make_tensor_value_info("left", given, [rows, inner])],
            [helper.make_tensor_value_info("result", result, [rows, columns])],
            [right],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        left = draw.integers(0, 8, (rows, inner)).astype(np.uint8 if int8 else np.float32)
        binding = session.io_binding()
        binding.bind_cpu_input("left", left)
        binding.bind_output("result")
        return lambda: session.run_with_iobinding(binding)

    return products(product)


if __name__ == "__main__":
    speak(load, ("onnxruntime",))
