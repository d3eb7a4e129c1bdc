"""A bundle opens in other people's tools, offline, and says the same there."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from transformers import AutoTokenizer, pipeline

from export.bundle import Bundle
from export.pipeline import ExportJob, export
from export.proof.runtime import open_session, run_batches
from tests.export.runs import contract, make_run

# Lane 5 has no optimum; what it exports is held against torch, and its graphs against optimum's, elsewhere.
ORTModelForSequenceClassification = pytest.importorskip("optimum.onnxruntime").ORTModelForSequenceClassification

# optimum's own use of transformers and torch; no code of ours.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

SCRIPT = Path(__file__).with_name("open_bundle.mjs")
# npm install --ignore-scripts --no-save @huggingface/transformers
MODULES = Path(os.environ.get("CLASSIFACT_NODE_MODULES", Path(__file__).parents[2] / "node_modules"))
PACKAGE = MODULES / "@huggingface" / "transformers"


@pytest.fixture(scope="module", params=["single", "multi"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of three labels, of each kind."""
    folder = tmp_path_factory.mktemp(request.param)
    run = make_run(folder / "run", contract(request.param, ("ham", "spam", "other")))
    job = ExportJob(run=run, out=folder / "bundle", min_agreement=0.5, max_drop=1, timing=False, quiet=True)
    export(job)
    return Bundle.open(folder / "bundle")


def ours(made: Bundle, precision: str, *, whole: bool = False) -> tuple[list[str], Any]:
    """Texts and their probabilities, scored one at a time: int8 scores depend on which rows share a batch.

    whole: only texts that are not cut.
    """
    encoder = made.encoder()
    texts = [row.text for row in made.golden() if not whole or encoder.encode([row.text]).cut[0] == 0][::4]
    encoded = encoder.encode(texts)
    batches = [encoder.pad(encoded, np.array([row])) for row in range(len(texts))]
    logits = np.concatenate(run_batches(open_session(made.graph_path(precision)), batches))
    return texts, made.contract.labels.decode(logits).probabilities


def assert_same(made: Bundle, theirs: list[dict[str, float]], probabilities: Any) -> None:
    """Every label's probability, and so every decision, is the same there."""
    found = np.array([[row[name] for name in made.contract.labels.names] for row in theirs])
    assert np.abs(found - probabilities).max() < 1e-4


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_optimum_and_transformers(made: Bundle, precision: str) -> None:
    """optimum loads the folder, and a transformers pipeline applies softmax or sigmoid as config.json says."""
    name = made.graph_path(precision).name
    model = ORTModelForSequenceClassification.from_pretrained(made.path, subfolder="onnx", file_name=name)
    classify = pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(made.path))
    texts, probabilities = ours(made, precision)
    theirs = [
        {entry["label"]: entry["score"] for entry in classify(text, top_k=None, truncation=True)} for text in texts
    ]
    assert_same(made, theirs, probabilities)


def test_optimum_without_a_file_name(made: Bundle) -> None:
    """`from_pretrained(bundle, subfolder="onnx")` alone finds a graph, as optimum's documentation says."""
    model = ORTModelForSequenceClassification.from_pretrained(made.path, subfolder="onnx")
    assert model.config.id2label == {0: "ham", 1: "spam", 2: "other"}


@pytest.mark.skipif(shutil.which("node") is None or not PACKAGE.is_dir(), reason="node or transformers.js is absent")
@pytest.mark.parametrize(("precision", "dtype"), [("fp32", "fp32"), ("int8", "q8")])
def test_transformers_js(made: Bundle, precision: str, dtype: str) -> None:
    """transformers.js loads the folder offline and gives the same labels and probabilities.

    Of texts that fit: those that it cuts lose their last special token there.
    """
    texts, probabilities = ours(made, precision, whole=True)
    assert len(texts) >= 8
    found = subprocess.run(
        ["node", str(SCRIPT), str(PACKAGE), str(made.path), dtype],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert_same(made, json.loads(found.stdout), probabilities)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_full_checker(made: Bundle, precision: str) -> None:
    """onnx's own checker passes with full checking."""
    onnx.checker.check_model(str(made.graph_path(precision)), full_check=True)
