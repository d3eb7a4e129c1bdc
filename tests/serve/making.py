"""Tiny bundles for the tests of scoring: random weights, exported with torch's own exporter, golden rows by torch.

Apart from `bundles.py`, since the scorer's tests also run where there is no torch, on bundles that were made before.
"""

import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import AutoModelForSequenceClassification

from export.bundle import GOLDEN, GRAPH_FILES
from export.proof.golden import GoldenRows
from export.proof.parity import Truth
from export.proof.runtime import open_session
from export.trained_run import Sample
from tests import tiny
from tests.serve.bundles import BATCH_TOKENS, reseal, texts
from trainer.contract.checkpoint import Checkpoint, Contract
from trainer.contract.encoding import TextEncoder
from trainer.contract.labelled import LabelledRows


def torch_logits(folder: Path, encoder: TextEncoder, rows: list[str], pairs: list[str] | None = None) -> np.ndarray:
    """What torch says, row by row, float32 [N, C]."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    encoded = encoder.encode(rows, pairs)
    out = []
    with torch.no_grad():
        for row in range(len(rows)):
            arrays = encoder.pad(encoded, np.array([row])).named()
            out.append(model(**{name: torch.from_numpy(value) for name, value in arrays.items()}).logits.numpy()[0])
    return np.array(out)


def make(folder: Path, given: Contract, *, precisions: tuple[str, ...] = ("fp32", "int8"), **changes: Any) -> Path:
    """A bundle in `folder`; returns it. changes go to the manifest."""
    folder.mkdir()
    checkpoint = tiny.checkpoint(folder.parent / f"{folder.name}-checkpoint", given)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(checkpoint.path / name, folder / name)
    (folder / "onnx").mkdir()
    _export(checkpoint.path, folder / GRAPH_FILES["fp32"])
    if "int8" in precisions:
        quantize_dynamic(folder / GRAPH_FILES["fp32"], folder / GRAPH_FILES["int8"], weight_type=QuantType.QInt8)
    golden = _golden(checkpoint, given)
    scores = {name: golden.score(open_session(folder / GRAPH_FILES[name]), name) for name in precisions}
    golden.write(folder / GOLDEN, {name: each.logits for name, each in scores.items()})
    reseal(folder, given, precisions, golden={name: each.bounds for name, each in scores.items()}, **changes)
    return folder


def _golden(checkpoint: Checkpoint, given: Contract) -> GoldenRows:
    """Rows by the code of export, of 200 that torch has scored."""
    encoder = checkpoint.encoder()
    found = texts(200, seed=1)
    pairs = texts(200, seed=2) if given.input.pair is not None else None
    logits = torch_logits(checkpoint.path, encoder, found, pairs)
    scores = given.labels.decode(logits)
    rows = LabelledRows(
        ids=np.arange(200), texts=found, pairs=pairs, labels=scores.decisions.astype(np.int64), places=found
    )
    truth = Truth(logits=logits, scores=scores, labels=rows.labels, space=given.labels, metric="accuracy")
    return replace(GoldenRows.of(Sample.of(rows, encoder), truth.logits, truth.space), tokens=BATCH_TOKENS)


def _export(checkpoint: Path, path: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, attn_implementation="eager").eval()
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {name: {0: "batch", 1: "tokens"} for name in names}
    sample = torch.ones((2, 7), dtype=torch.int64)
    with warnings.catch_warnings():
        # torch's TorchScript exporter announces its end and traces shape checks: nothing that scoring is about.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Logits(model),
            (sample, sample, sample),
            str(path),
            input_names=names,
            output_names=["logits"],
            dynamic_axes={**axes, "logits": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )


class _Logits(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(input_ids=ids, attention_mask=mask, token_type_ids=types).logits
        return logits
