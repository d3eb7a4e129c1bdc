"""Graphs too large for one file: weights beside, hashed like the rest, and never outside the folder."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from export.bundle import Bundle
from export.passes import graph_file as storage
from export.pipeline import ExportJob, export
from export.proof.runtime import open_session
from trainer.contract.errors import ArtifactError


def test_large_graph(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large graph is exported with its weights in a file beside, which the manifest counts and hashes."""
    monkeypatch.setattr(storage, "INLINE_BYTES", 50_000)
    job = ExportJob(run=run, out=tmp_path / "bundle", min_agreement=0.9, max_drop=0.1, timing=False, quiet=True)
    export(job)
    opened = Bundle.open(tmp_path / "bundle")
    weights = tmp_path / "bundle" / "onnx" / "model.onnx_data"
    assert "onnx/model.onnx_data" in opened.manifest.files
    assert opened.graph("fp32").bytes > weights.stat().st_size > 50_000
    assert opened.graph_path("fp32").stat().st_size < 50_000
    assert opened.graph("fp32").parity.label_agreement == 1
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ArtifactError, match="was changed") as caught:
        Bundle.open(tmp_path / "bundle")
    assert "model.onnx_data" in caught.value.details["where"]


def test_weights_outside_the_folder(tmp_path: Path) -> None:
    """A graph whose weights lie outside its folder is not opened, though the file is there."""
    (tmp_path / "bundle").mkdir()
    (tmp_path / "secret").write_bytes(np.ones(4, dtype=np.float32).tobytes())
    weights = numpy_helper.from_array(np.ones(4, dtype=np.float32), "weights")
    set_external_data(weights, location="../secret")
    weights.ClearField("raw_data")
    graph = helper.make_graph(
        [helper.make_node("Identity", ["weights"], ["logits"])],
        "outside",
        [],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [4])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    path = tmp_path / "bundle" / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(Exception, match=r"(?i)external data"):
        open_session(path)
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(str(path))
