"""An int8 file scores without AVX-512 as where it was exported: the other kernels of ONNX Runtime, run here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from benchmarks.without_avx512 import masked_copy
from export.bundle import instruction_set

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not instruction_set().startswith("AVX512"), reason="there is no AVX-512 to mask here"),
]
# Two neighbours of a sum add to more than 16 bits hold where weights have 8, and to less where they have 7.
_PRODUCT = """
import sys
import numpy as np, onnxruntime as ort
session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
given = np.full((2, 64), 255, dtype=np.uint8)
print(session.run(None, {"a": given})[0].max())
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a program that sees no AVX-512."""
    folder = tmp_path_factory.mktemp("masked")
    try:
        masked_copy(folder)
    except LookupError as error:
        pytest.skip(str(error))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def _product(path: Path, weight: int) -> int:
    """Write the product of bytes with 64 equal weights a column; gives its exact value for bytes of 255."""
    weights = onnx.numpy_helper.from_array(np.full((64, 8), weight, dtype=np.int8), "b")
    node = onnx.helper.make_node("MatMulInteger", ["a", "b"], ["c"])
    given = onnx.helper.make_tensor_value_info("a", onnx.TensorProto.UINT8, [2, 64])
    found = onnx.helper.make_tensor_value_info("c", onnx.TensorProto.INT32, [2, 8])
    graph = onnx.helper.make_graph([node], "product", [given], [found], [weights])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return 64 * 255 * weight


@pytest.mark.parametrize(("weight", "exact"), [(64, True), (127, False)])
def test_products_of_seven_bits_are_exact_there(
    elsewhere: dict[str, str], tmp_path: Path, weight: int, *, exact: bool
) -> None:
    """The mask reaches the kernels: 8 bits saturate in them, which 7 do not."""
    expected = _product(tmp_path / "product.onnx", weight)
    command = [sys.executable, "-c", _PRODUCT, str(tmp_path / "product.onnx")]
    found = subprocess.run(command, env=elsewhere, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert (int(found.stdout) == expected) is exact
    here = ort.InferenceSession(str(tmp_path / "product.onnx"), providers=["CPUExecutionProvider"])
    assert here.run(None, {"a": np.full((2, 64), 255, dtype=np.uint8)})[0].max() == expected


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_golden_rows_score_alike_there(elsewhere: dict[str, str], bundle: Path, precision: str) -> None:
    """The canary passes, with half of its bound to spare: roundings alone differ."""
    command = [sys.executable, "-m", "serve", "check", str(bundle), "--precision", precision, "--device", "cpu"]
    found = subprocess.run(command, env=elsewhere, capture_output=True, text=True, check=False, cwd=ROOT)
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout.splitlines()[-1])
    assert told["passed"]
    assert told["logit_difference"] <= told["bounds"]["logits"] / 2
