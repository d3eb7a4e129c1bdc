"""Bundle.open: a folder by hand, and everything that can be wrong with one."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.bundle import (
    MANIFEST,
    Bundle,
    ExportManifest,
    GoldenBounds,
    GoldenRow,
    GraphFile,
    Parity,
    golden_logits,
    hash_files,
    write_manifest,
)
from tests.contract.families import family
from trainer.contract.checkpoint import Contract
from trainer.contract.encoding import EncodingPolicy
from trainer.contract.errors import ArtifactError, ClassifactError, InputError
from trainer.contract.inputs import InputSpec
from trainer.contract.labels import LabelSpace

CONTRACT = Contract(
    labels=LabelSpace(names=("ham", "spam"), thresholds=(0.7, 0.3), temperature=1.5),
    input=InputSpec(text=("title", "body"), join=" | ", on_null="empty"),
    encoding=EncodingPolicy(max_tokens=16, truncation="head_tail", head_tokens=4),
)
PARITY = Parity(
    rows=64,
    label_agreement=1.0,
    max_difference=1e-6,
    p99_difference=1e-7,
    metric="f1",
    torch_value=0.9,
    value=0.9,
    drop=0.0,
    drop_low=0.0,
    drop_high=0.0,
)
GOLDEN = GoldenBounds(logits=0.1, probabilities=0.05, from_torch=0.2, agreement=0.9)
GRAPH = GraphFile(
    file="onnx/model.onnx", opset=18, bytes=5, parity=PARITY, instruction_set="AVX2", golden=GOLDEN, passes=("one",)
)
FILES = {
    "onnx/model.onnx": b"graph",
    "tokenizer.json": family("wordpiece").json.encode(),
    "config.json": json.dumps({"id2label": {"0": "ham", "1": "spam"}}).encode(),
    "golden.jsonl": json.dumps(
        {"text": "the cat", "pair": None, "ids": [2, 3], "logits": [0.5, -1], "files": {"fp32": [0.4, -1]}}
    ).encode(),
    "README.md": b"# card\n",
}
Change = Callable[[Path, dict[str, Any]], None]


def manifest_of(folder: Path) -> ExportManifest:
    """The manifest of the files that are there."""
    return ExportManifest(
        name="sms",
        model_type="bert",
        contract=CONTRACT,
        graphs={"fp32": GRAPH},
        files=hash_files(folder),
        batch_tokens=1024,
        versions={"onnx": "1.23"},
        training={"rows": 4000},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound bundle without a real graph."""
    path = tmp_path / "bundle"
    (path / "onnx").mkdir(parents=True)
    for name, content in FILES.items():
        (path / name).write_bytes(content)
    write_manifest(path, manifest_of(path))
    return path


def edited(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The bundle after a change to its manifest."""
    path = folder / MANIFEST
    data = json.loads(path.read_bytes())
    change(data)
    path.write_text(json.dumps(data))
    return folder


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0, -1])
def test_one_flipped_bit_is_refused(folder: Path, name: str, place: int) -> None:
    """One changed bit in any file, at either end, and the bundle does not open; the error names the file."""
    content = bytearray(FILES[name])
    content[place] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ArtifactError, match="was changed") as caught:
        Bundle.open(folder)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_missing_file_is_refused(folder: Path, name: str) -> None:
    """A file that was not copied along is named; without the manifest the folder is no bundle."""
    (folder / name).unlink()
    kind, told = (InputError, "no bundle here") if name == MANIFEST else (ArtifactError, "missing")
    with pytest.raises(kind, match=told) as caught:
        Bundle.open(folder)
    assert Path(name).name in str(caught.value)


def test_a_folder_in_a_files_place_is_refused(folder: Path) -> None:
    """A folder under a file's name is no file."""
    (folder / "README.md").unlink()
    (folder / "README.md").mkdir()
    with pytest.raises(ArtifactError, match="missing"):
        Bundle.open(folder)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda data: data.update(extra=1), "extra: unknown key"),
        (lambda data: data["contract"]["labels"].update(temprature=2), "did you mean 'temperature'"),
        (lambda data: data.pop("batch_tokens"), "batch_tokens: missing"),
        (lambda data: data["contract"]["labels"].update(temperature=0), "temperature"),
        (lambda data: data["contract"]["labels"].update(kind="triple"), "expected single or multi"),
        (lambda data: data["graphs"]["fp32"]["parity"].update(rows="many"), "graphs.fp32.parity.rows"),
        (lambda data: data["graphs"]["fp32"].update(bytes=10**400), "graphs.fp32.bytes"),
        (lambda data: data["graphs"]["fp32"].update(speed=0), "graphs.fp32.speed"),
        (lambda data: data.update(graphs={}), "graphs: expected some of"),
        (lambda data: data["graphs"].update({"\x1b[2J": data["graphs"]["fp32"]}), "graphs: expected some of"),
        (lambda data: data.update(schema=1), "another schema"),
        (lambda data: data.pop("schema"), "another schema"),
        (lambda data: data["files"].update({"../secret": "0" * 64}), "leads out"),
        (lambda data: data["files"].update({"/etc/passwd": "0" * 64}), "leads out"),
        (lambda data: data["files"].update({"a\0b": "0" * 64}), "leads out"),
        (lambda data: data["files"].pop("onnx/model.onnx"), "no hash"),
        (lambda data: data["files"].pop("tokenizer.json"), "no hash"),
        (lambda data: data["files"].pop("config.json"), "no hash"),
        (lambda data: data["files"].pop("golden.jsonl"), "no hash"),
        (lambda data: data["graphs"]["fp32"].update(file="../model.onnx"), "no hash"),
        (
            lambda data: data["contract"]["labels"].update(names=["a", "b", "c"], thresholds=None),
            "disagree on the labels",
        ),
    ],
)
def test_a_changed_manifest_is_refused(folder: Path, change: Callable[[dict[str, Any]], object], match: str) -> None:
    """A manifest of another shape, schema or label count, or one that names a path outside, opens no bundle."""
    with pytest.raises(ArtifactError, match=match):
        Bundle.open(edited(folder, change))


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff", b"{" * 100_000, b'{"schema": NaN}'])
def test_a_manifest_that_is_none_is_refused(folder: Path, content: bytes) -> None:
    """Bytes that are no manifest are an error of ours."""
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(ArtifactError):
        Bundle.open(folder)


@pytest.mark.parametrize("config", [[], {}, {"id2label": ["ham", "spam"]}, {"id2label": {"0": "ham"}}, {"id2label": 2}])
def test_a_config_of_another_width_is_refused(folder: Path, config: object) -> None:
    """config.json, whatever it holds, must know as many labels as the manifest, hashes notwithstanding."""
    (folder / "config.json").write_text(json.dumps(config))
    write_manifest(folder, manifest_of(folder))
    with pytest.raises(ArtifactError, match="disagree"):
        Bundle.open(folder)


def test_a_folder_of_the_hubs_cache_opens(folder: Path, tmp_path: Path) -> None:
    """Every file, the manifest too, may be a link to a blob elsewhere, as the hub's client keeps them."""
    snapshot = tmp_path / "models--me--sms" / "snapshots" / "abc"
    blobs = snapshot.parents[1] / "blobs"
    blobs.mkdir(parents=True)
    for number, file in enumerate(path for path in folder.rglob("*") if path.is_file()):
        place = snapshot / file.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.rename(blobs / str(number))
        place.symlink_to(os.path.relpath(blobs / str(number), place.parent))
    bundle = Bundle.open(snapshot)
    assert bundle.graph_path("fp32").read_bytes() == b"graph"
    assert len(bundle.golden()) == 1


@pytest.mark.parametrize("name", ["README.md", "golden.jsonl", "tokenizer.json"])
def test_a_link_to_another_file_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    """A link to a file that has not the hash of the manifest is refused, and nothing of that file is told."""
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / name).unlink()
    (folder / name).symlink_to(tmp_path / "secret")
    with pytest.raises(ArtifactError, match="was changed") as caught:
        Bundle.open(folder)
    assert caught.value.details["found"] == "a link to another file"


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no devices here")
def test_a_link_to_a_device_is_refused(folder: Path) -> None:
    """A link to what is no file at all, which would be read for ever, is refused unread."""
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to("/dev/zero")
    with pytest.raises(ArtifactError, match="missing"):
        Bundle.open(folder)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "no golden row"),
        (b"{", "not JSON"),
        (b"\xff\n", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]\n", "does not fit its schema"),
        (
            b'{"text": "a", "pair": null, "ids": [2, 3], "logits": [1, NaN], "files": {"fp32": [1, 2]}}\n',
            "does not fit its schema",
        ),
        (b'{"text": "a", "pair": null, "ids": [2, 3], "logits": [1], "files": {"fp32": [1, 2]}}\n', "logits of torch"),
        (b'{"text": "a", "pair": null, "ids": [2, 3], "logits": [1, 2], "files": {}}\n', "logits of fp32"),
    ],
)
def test_golden_rows_that_are_none_are_refused(folder: Path, content: bytes, match: str) -> None:
    """A file of golden rows that is empty or malformed is an error of ours that names it, hashes notwithstanding."""
    (folder / "golden.jsonl").write_bytes(content)
    write_manifest(folder, manifest_of(folder))
    with pytest.raises(ArtifactError, match=match) as caught:
        Bundle.open(folder).golden()
    assert "golden.jsonl" in caught.value.details["where"]


@pytest.mark.parametrize("kind", ["nothing", "file"])
def test_a_path_without_a_bundle_is_the_users_error(tmp_path: Path, kind: str) -> None:
    """A path that is no folder says what was expected there."""
    path = tmp_path / "bundle"
    if kind == "file":
        path.touch()
    with pytest.raises(InputError, match="no bundle here"):
        Bundle.open(path)


def test_a_precision_that_is_not_there_is_the_users_error(folder: Path) -> None:
    """Asking for int8 of an fp32 bundle says what there is and how to export the rest."""
    with pytest.raises(InputError, match="no int8 file") as caught:
        Bundle.open(folder).graph_path("int8")
    assert "--precision fp32,int8" in str(caught.value)


def test_a_sound_bundle_gives_back_what_was_written(folder: Path) -> None:
    """Every field of the manifest survives the round, and the parts are found."""
    bundle = Bundle.open(folder)
    assert bundle.manifest == replace(manifest_of(folder), files=hash_files(folder))
    assert bundle.contract == CONTRACT
    assert bundle.graph_path("fp32").read_bytes() == b"graph"
    assert bundle.encoder().encode(["the cat"]).lengths.tolist() == [4]
    assert bundle.golden() == [
        GoldenRow(text="the cat", pair=None, ids=(2, 3), logits=(0.5, -1.0), files={"fp32": (0.4, -1.0)})
    ]
    assert np.array_equal(golden_logits(bundle.golden()), np.array([[0.5, -1]], dtype=np.float32))
    assert np.array_equal(golden_logits(bundle.golden(), "fp32"), np.array([[0.4, -1]], dtype=np.float32))


def test_every_file_but_the_manifest_is_hashed(folder: Path) -> None:
    """Files in sub-folders too, one called manifest.json among them."""
    (folder / "onnx" / MANIFEST).write_text("{}")
    assert sorted(hash_files(folder)) == sorted([*FILES, "onnx/manifest.json"])


def test_hostile_bytes_of_a_manifest_never_crash(folder: Path) -> None:
    """Each byte of the manifest in turn replaced: the bundle opens, or the error is one of ours."""
    path = folder / MANIFEST
    sound = path.read_bytes()
    refused = 0
    for place in range(0, len(sound), 7):
        path.write_bytes(sound[:place] + b'"' + sound[place + 1 :])
        try:
            Bundle.open(folder)
        except ClassifactError:
            refused += 1
    assert refused > len(sound) / 7 / 2
