"""The padding-free form: converted and checked structurally; it runs on CUDA alone."""

import collections
import json
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner

from export.bundle import PACKED_FILE, Bundle
from export.cli import export_command, inspect_command
from export.fp16 import convert as half
from export.fp16 import packing
from export.fp16.plain import plain_form
from tests.export.passes.graphs import exported, load
from trainer.contract.errors import GateError, InputError


def fused(family: str) -> onnx.ModelProto:
    """A family's graph in fp16, fused where that can be, every layer whole."""
    graph = half.fuse(plain_form(load(exported(family)), 512)) or load(exported(family))
    return half.convert(graph, 512, set()).graph


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "electra"])
def test_structure(family: str) -> None:
    """Every attention is packed, padding goes before the first and comes back once, and nothing else changes."""
    before = fused(family)
    after = packing.pack(before)
    had, has = (collections.Counter(node.op_type for node in model.graph.node) for model in (before, after))
    assert has["PackedAttention"] == had["Attention"] == 2
    assert has["Attention"] == 0
    assert has["RemovePadding"] == has["RestorePadding"] == 1
    assert has["SkipLayerNormalization"] == had["SkipLayerNormalization"]


@pytest.mark.parametrize("family", ["albert", "mpnet"])
def test_families_without_one(family: str) -> None:
    """Where some attention is not fused, the form is refused: layers would mix rows with tokens."""
    with pytest.raises(InputError, match="no padding-free form"):
        packing.pack(fused(family))


def test_a_broken_conversion_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that reads tokens which were never put back into rows fails."""
    before = fused("bert")
    real = packing._reads_restored
    after = packing.pack(before)
    restore = next(node for node in after.graph.node if node.op_type == "RestorePadding")
    for node in after.graph.node:
        for place, name in enumerate(node.input):
            if name == restore.output[0]:
                node.input[place] = restore.input[0]
    makers = {name: node for node in after.graph.node for name in node.output}
    assert not real(after, makers)
    monkeypatch.setattr(packing, "_reads_restored", lambda *_given: False)
    with pytest.raises(GateError, match="padding-free"):
        packing.pack(before)


def test_in_a_bundle(run: Path, tmp_path: Path) -> None:
    """The flag writes the file, hashed, and both manifest and `inspect` say what proves it."""
    out = tmp_path / "b"
    arguments = [str(run), "--out", str(out), "--precision", "fp32,fp16", "--packing", "--no-timing", "--quiet"]
    result = CliRunner().invoke(export_command, arguments)
    assert result.exit_code == 0, result.stderr
    opened = Bundle.open(out)
    assert set(opened.manifest.graphs) == {"fp32", "fp16"}
    assert PACKED_FILE in opened.manifest.files
    assert "golden rows prove it" in json.loads((out / "manifest.json").read_text())["unproven"][PACKED_FILE]
    assert "golden rows prove it" in CliRunner().invoke(inspect_command, [str(out)]).stdout


def test_packing_alone(run: Path, tmp_path: Path) -> None:
    """Without fp16 the flag is a usage error, exit 2."""
    result = CliRunner().invoke(export_command, [str(run), "--out", str(tmp_path / "b"), "--packing"])
    assert result.exit_code == 2
    assert "fp16" in result.stderr
