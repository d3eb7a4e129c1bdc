"""A bundle with a student, for the scorer's tests: its encoder is a graph made here, whose answers vary."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.bundle import GOLDEN, GRAPH_FILES, Bundle, GoldenBounds, hash_files, write_manifest
from export.cascade.certificate import VERSION, Cascade, Target
from export.cascade.certify import certify
from export.cascade.student import STUDENT_FILE, write_student
from export.cascade.training import Taught, train_student
from serve.scorer import Scorer
from tests.serve import bundles
from trainer.contract.checkpoint import Contract
from trainer.contract.encoding import TextEncoder

AGREEMENTS = (0.8, 0.9)


def make_bundle(bundle: Path, folder: Path, given: Contract, **changes: Any) -> Path:
    """The bundle copied to `folder`, with another fp32 graph and a student of it that takes some rows, not all."""
    shutil.copytree(bundle, folder)
    (folder / GRAPH_FILES["int8"]).unlink(missing_ok=True)
    encoder = Bundle.open(bundle).encoder()
    onnx.save(_graph(encoder.vocabulary, len(given.labels)), folder / GRAPH_FILES["fp32"])
    bounds = GoldenBounds(logits=1e-3, probabilities=1e-3, from_torch=1e-3, agreement=0.99)
    golden = bundles.texts(8, seed=5)
    _write_golden(folder, encoder, golden, np.zeros((8, len(given.labels))))
    bundles.reseal(folder, given, ("fp32",), golden={"fp32": bounds})
    with Scorer.open(folder, device="cpu") as scorer:
        _write_golden(folder, encoder, golden, scorer.logits(golden))
        rows = bundles.texts(6000, seed=77)
        logits = scorer.logits(rows)
    cascade = _student(folder, given, rows, logits)
    bundles.reseal(folder, given, ("fp32",), golden={"fp32": bounds}, cascade=cascade, **changes)
    return folder


def with_cascade(folder: Path, cascade: Cascade) -> Path:
    """The folder with another certificate in its manifest, its files hashed as they are."""
    manifest = Bundle.open(folder).manifest
    (folder / "manifest.json").unlink()
    write_manifest(folder, replace(manifest, cascade=cascade, files=hash_files(folder)))
    return folder


def _student(folder: Path, given: Contract, rows: list[str], logits: np.ndarray) -> Cascade:
    space, encoder = given.labels, TextEncoder.open(folder / "tokenizer.json", given.encoding)

    def taught(start: int, stop: int) -> Taught:
        return Taught(encoded=encoder.encode(rows[start:stop]), logits=logits[start:stop])

    student = train_student(taught(0, 2000), taught(2000, 2500), space, encoder.vocabulary)
    write_student(folder / STUDENT_FILE, student)
    threshold = taught(2500, 6000)
    said, truth = space.decode(student.logits(threshold.encoded)), space.decode(threshold.logits)
    targets = [certify(said, truth, space, agreement) for agreement in AGREEMENTS]
    found = tuple(target for target in targets if isinstance(target, Target))
    assert len(found) == 2
    assert all(0.1 < target.coverage < 0.97 for target in found), [target.coverage for target in found]
    return Cascade(
        version=VERSION,
        file=STUDENT_FILE,
        precision="fp32",
        confidence=0.95,
        student_rows=2000,
        agreement=said.agreement(truth),
        targets=found,
    )


def _write_golden(folder: Path, encoder: TextEncoder, texts: list[str], logits: np.ndarray) -> None:
    encoded, lines = encoder.encode(texts), []
    for row, text in enumerate(texts):
        ids = encoded.ids[encoded.offsets[row] : encoded.offsets[row + 1]].tolist()
        given = logits[row].astype(float).tolist()
        lines.append(json.dumps({"text": text, "pair": None, "ids": ids, "logits": given, "files": {"fp32": given}}))
    (folder / GOLDEN).write_text("\n".join([*lines, ""]))


def _graph(vocabulary: int, labels: int) -> onnx.ModelProto:
    """Logits that are the sum of a vector a token, and of the squares of two of its numbers."""
    draw = np.random.default_rng(3)
    weights = {"words": draw.normal(size=(vocabulary, labels)), "axis": np.array([1]), "scale": np.array([0.5])}
    weights["words"][0] = 0
    kinds = {"words": np.float32, "axis": np.int64, "scale": np.float32}
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["vectors"]),
        helper.make_node("ReduceSum", ["vectors", "axis"], ["sums"], keepdims=0),
        helper.make_node("Sin", ["sums"], ["bent"]),
        helper.make_node("Mul", ["sums", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bent"], ["logits"]),
    ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", labels])
    made = [numpy_helper.from_array(array.astype(kinds[name]), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "bag", [ids], [logits], made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
