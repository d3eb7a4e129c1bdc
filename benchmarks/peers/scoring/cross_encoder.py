"""sentence-transformers' CrossEncoder: torch, its ONNX backend, and its own int8. It sorts by length itself.

It takes pairs alone: a single text ends in an error, so each gets an empty second one. Whether the labels are still the
model's is for the agreement to tell.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers.contestant import Variant
from benchmarks.peers.talk import Request, label

NEEDS = ("sentence-transformers[onnx]==5.6.1",)
VARIANTS = (
    Variant(name="sentence-transformers CrossEncoder, torch", precision="fp32", light=False),
    Variant(
        name="sentence-transformers CrossEncoder, ONNX",
        onnx_runtime=True,
        precision="fp32",
        settings={"onnx": True},
        light=False,
    ),
    Variant(
        name="sentence-transformers CrossEncoder, ONNX int8",
        onnx_runtime=True,
        precision="int8",
        settings={"onnx": True, "int8": "avx512_vnni"},
    ),
)


def load(settings: Request) -> Any:
    """A cross encoder; batches of 32, its default."""
    from sentence_transformers import CrossEncoder, export_dynamic_quantized_onnx_model

    most = settings["max_tokens"]
    if not settings.get("onnx"):
        model = CrossEncoder(settings["checkpoint"], max_length=most, device="cpu", local_files_only=True)
    else:
        with tempfile.TemporaryDirectory() as folder:
            own = Path(folder) / "model"
            shutil.copytree(settings["checkpoint"], own)
            given: dict[str, Any] = {"max_length": most, "device": "cpu", "local_files_only": True, "backend": "onnx"}
            model = CrossEncoder(str(own), **given)
            if settings.get("int8"):
                model.save_pretrained(str(own))
                export_dynamic_quantized_onnx_model(model, settings["int8"], str(own))
                (file,) = own.glob("onnx/model_q*.onnx")
                model = CrossEncoder(str(own), **given, model_kwargs={"file_name": f"onnx/{file.name}"})

    def run(texts: list[str]) -> list[int]:
        found: list[int] = (
            model.predict([(text, "") for text in texts], show_progress_bar=False).argmax(axis=1).tolist()
        )
        return found

    return run


if __name__ == "__main__":
    label(load, ("sentence-transformers", "transformers", "onnxruntime"))
