"""sentence-transformers' CrossEncoder with its ONNX backend, and its own int8; pairs as in `cross_encoder.py`."""

import platform
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers.contestant import Variant
from benchmarks.peers.machine import masked
from benchmarks.peers.scoring.cross_encoder import labels_of
from benchmarks.peers.talk import Request, label
from trainer.contract.system.machine import cpu_flags

NEEDS = ("sentence-transformers[onnx]==5.6.1",)
VARIANTS = (
    Variant(name="sentence-transformers CrossEncoder, ONNX", onnx_runtime=True, precision="fp32", light=False),
    Variant(
        name="sentence-transformers CrossEncoder, ONNX int8",
        onnx_runtime=True,
        precision="int8",
        settings={"int8": True},
    ),
)


def load(settings: Request) -> Any:
    """A cross encoder in batches of 32, its default; int8 by the library's own function."""
    from sentence_transformers import CrossEncoder, export_dynamic_quantized_onnx_model

    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "model"
        shutil.copytree(settings["checkpoint"], own)
        given: dict[str, Any] = {"max_length": settings["max_tokens"], "device": "cpu", "local_files_only": True}
        given["backend"] = "onnx"
        model = CrossEncoder(str(own), **given)
        if settings.get("int8"):
            model.save_pretrained(str(own))
            export_dynamic_quantized_onnx_model(model, _instructions(), str(own))
            (file,) = own.glob("onnx/model_q*.onnx")
            model = CrossEncoder(str(own), **given, model_kwargs={"file_name": f"onnx/{file.name}"})
    return labels_of(model, 32)


def _instructions() -> str:
    """This processor's, as the library's `quantization_config` names them."""
    if platform.machine() in ("aarch64", "arm64"):
        return "arm64"
    flags = () if masked() else cpu_flags()
    if "avx512_vnni" in flags:
        return "avx512_vnni"
    return "avx512" if "avx512f" in flags else "avx2"


if __name__ == "__main__":
    label(load, ("sentence-transformers", "transformers", "onnxruntime"))
