"""Bundle.open: what is changed, missing or foreign is refused, by name."""

import json
import shutil
from pathlib import Path

import pytest

from export.bundle import Bundle, golden_logits, instruction_set
from trainer.contract.errors import ArtifactError, InputError


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def edit(copy: Path, change: dict[str, object]) -> None:
    """Change keys of manifest.json."""
    path = copy / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


@pytest.mark.parametrize(
    "name",
    ["onnx/model.onnx", "onnx/model_quantized.onnx", "tokenizer.json", "config.json", "golden.jsonl", "README.md"],
)
def test_flipped_byte(copy: Path, name: str) -> None:
    """One flipped byte in any file is refused, and the file is named."""
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(ArtifactError, match="was changed") as caught:
        Bundle.open(copy)
    assert name in caught.value.details["where"]


def test_missing_file(copy: Path) -> None:
    """A file that the manifest lists and the folder lacks is named."""
    (copy / "reference.json").unlink()
    with pytest.raises(ArtifactError, match="missing"):
        Bundle.open(copy)


def test_path_that_leaves(copy: Path) -> None:
    """A manifest that names a file outside the folder is refused."""
    (copy.parent / "secret").write_text("x")
    edit(copy, {"files": {"../secret": "0" * 64}})
    with pytest.raises(ArtifactError, match="leads out"):
        Bundle.open(copy)


def test_graph_without_hash(copy: Path) -> None:
    """A graph that the manifest gives no hash for is refused: it could be anything."""
    files = json.loads((copy / "manifest.json").read_text())["files"]
    del files["onnx/model.onnx"]
    edit(copy, {"files": files})
    with pytest.raises(ArtifactError, match="no hash"):
        Bundle.open(copy)


@pytest.mark.parametrize("change", [{"schema": 99}, {"surprise": 1}, {"graphs": {"fp32": {}}}])
def test_another_schema(copy: Path, change: dict[str, object]) -> None:
    """A manifest of another schema, or with keys that are not ours, is refused."""
    edit(copy, change)
    with pytest.raises(ArtifactError):
        Bundle.open(copy)


def test_no_bundle(tmp_path: Path) -> None:
    """A path without a bundle says what was expected there."""
    with pytest.raises(InputError, match="no bundle"):
        Bundle.open(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"no manifest.json"):
        Bundle.open(tmp_path)
    (tmp_path / "best.json").touch()
    with pytest.raises(InputError, match="export this run"):
        Bundle.open(tmp_path)


def test_missing_precision(bundle: Path) -> None:
    """Asking for a precision that was not exported says how to get it."""
    with pytest.raises(InputError, match="no fp16") as caught:
        Bundle.open(bundle).graph("fp16")
    assert "--precision fp32,int8,fp16" in caught.value.details["do"]


def test_golden_rows(bundle: Path) -> None:
    """Golden rows carry text and logits, one a label, of about 64 rows from the shortest to the longest."""
    opened = Bundle.open(bundle)
    rows = opened.golden()
    lengths = opened.encoder().encode([row.text for row in rows]).lengths
    assert 48 <= len(rows) <= 64
    assert golden_logits(rows).shape == golden_logits(rows, "int8").shape == (len(rows), 2)
    assert lengths.min() == 3
    assert lengths.max() == 64


def test_instruction_set_is_named() -> None:
    """This machine's instruction set is one that has a name."""
    assert instruction_set() in {"AVX512_VNNI", "AVX_VNNI", "AVX512", "AVX2", "X86_64", "NEON", "NEON_DOT", "NEON_I8MM"}
