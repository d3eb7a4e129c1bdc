"""OpenVINO on the exported graph, batches as ours: fp32, bf16, and int8 by NNCF with static ranges."""

import json
from pathlib import Path
from typing import Any

from benchmarks.peers.contestant import Variant
from benchmarks.peers.talk import Request, label

NEEDS = ("openvino==2026.4.1", "nncf==3.4.0")
VARIANTS = (
    Variant(name="OpenVINO fp32, sorted, 1,024 tokens", precision="fp32", settings={"type": "f32"}, light=False),
    Variant(name="OpenVINO bf16, sorted, 1,024 tokens", precision="bf16", settings={"type": "bf16"}),
    Variant(
        name="OpenVINO int8 (NNCF), sorted, 1,024 tokens",
        precision="int8",
        settings={"type": "f32", "int8": True},
    ),
    Variant(
        name="OpenVINO int8 (NNCF) and bf16, sorted, 1,024 tokens",
        precision="int8",
        settings={"type": "bf16", "int8": True},
    ),
)
# Rows that NNCF's ranges are taken from, which is its default.
CALIBRATION_ROWS = 300


def load(settings: Request) -> Any:
    """A compiled model with a stream a processor, and its own queue of requests over them."""
    import openvino

    from benchmarks.peers.sorted_batches import in_sorted_batches

    core = openvino.Core()
    model = core.read_model(Path(settings["exported"]) / "model.onnx")
    if settings.get("int8"):
        model = _quantized(model, settings)
    streams = settings["processors"]
    given = {"INFERENCE_PRECISION_HINT": settings["type"], "NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams}
    compiled = core.compile_model(model, "CPU", given)
    names = [each.any_name for each in compiled.inputs]
    queue = openvino.AsyncInferQueue(compiled, streams)

    def forward(batches: list[Any]) -> list[Any]:
        found: list[Any] = [None] * len(batches)
        queue.set_callback(lambda request, place: found.__setitem__(place, request.get_output_tensor().data.copy()))
        for place, batch in enumerate(batches):
            arrays = batch.named()
            queue.start_async({name: arrays[name] for name in names}, place)
        queue.wait_all()
        return found

    return in_sorted_batches(settings["checkpoint"], forward, tokens=1024)


def _quantized(model: Any, settings: Request) -> Any:
    import nncf
    import numpy as np

    from trainer.contract.checkpoint import Checkpoint

    encoder = Checkpoint.open(Path(settings["checkpoint"])).encoder()
    with Path(settings["calibration"]).open(encoding="utf-8") as file:
        encoded = encoder.encode([json.loads(line)["text"] for line in file][:CALIBRATION_ROWS])
    names = [each.any_name for each in model.inputs]
    batches = [encoder.pad(encoded, np.array([row])).named() for row in range(len(encoded))]
    data = nncf.Dataset([{name: batch[name] for name in names} for batch in batches])
    return nncf.quantize(model, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=CALIBRATION_ROWS)


if __name__ == "__main__":
    label(load, ("openvino", "nncf"))
