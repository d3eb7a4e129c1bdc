"""Training runs with tiny random models, as training leaves them, for the tests of export."""

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.proof.torch_logits import torch_logits
from tests import tiny
from tests.words import CORPUS
from trainer.contract.checkpoint import Checkpoint, Contract
from trainer.contract.encoding import EncodingPolicy
from trainer.contract.inputs import InputSpec
from trainer.contract.labelled import LabelledRows
from trainer.contract.labels import LabelSpace
from trainer.opening.checkpoint import open_network

WORDS = " ".join(CORPUS).split()


def contract(kind: str = "single", names: tuple[str, ...] = ("ham", "spam"), max_tokens: int = 64) -> Contract:
    """A contract of one text column."""
    return Contract(
        labels=LabelSpace(names=names, kind="multi" if kind == "multi" else "single"),
        input=InputSpec(text=("text",)),
        encoding=EncodingPolicy(max_tokens=max_tokens),
    )


def texts(rows: int, longest: int = 80, seed: int = 0) -> list[str]:
    """Texts of 1 to `longest` words."""
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=1 + row * (longest - 1) // max(1, rows - 1))) for row in range(rows)]


def labelled(rows: int, space: LabelSpace, longest: int = 80) -> LabelledRows:
    """Rows with random labels of every class."""
    generator = np.random.default_rng(0)
    numbers = generator.permutation(np.arange(rows) % len(space))
    labels = numbers if space.kind == "single" else generator.random((rows, len(space))) < 0.5
    return LabelledRows(
        ids=np.arange(rows),
        texts=texts(rows, longest),
        pairs=None,
        labels=labels,
        places=[f"rows.csv:{row + 2}" for row in range(rows)],
    )


def decide(checkpoint: Checkpoint) -> None:
    """Scale and shift the head of a random classifier, so that it decides for every label about equally often."""
    model = open_network(checkpoint.path)
    words = texts(200, checkpoint.contract.encoding.max_tokens)
    encoder = checkpoint.encoder()
    encoded = encoder.encode(words)
    batches = [encoder.pad(encoded, rows) for rows in np.split(np.arange(200), 20)]
    logits = torch.from_numpy(np.concatenate(torch_logits(model, batches, lambda _rows: None)))
    # Not simply the last: XLM-R of transformers 5 has its classifier before its encoder.
    wide = len(checkpoint.contract.labels)
    (*_, head) = (each for each in model.modules() if isinstance(each, torch.nn.Linear) and each.out_features == wide)
    scale = 2 / logits.std(dim=0)
    with torch.no_grad():
        head.weight.mul_(scale[:, None])
        head.bias.copy_((head.bias - logits.quantile(0.45, dim=0)) * scale)
    model.save_pretrained(checkpoint.path, safe_serialization=True)


def with_decisions(checkpoint: Checkpoint, rows: LabelledRows) -> LabelledRows:
    """The rows labelled as the classifier decides, but for every fifth, so that it has learnt something of them."""
    encoder = checkpoint.encoder()
    encoded = encoder.encode(rows.texts)
    batches = [encoder.pad(encoded, np.array([row])) for row in range(len(rows))]
    logits = np.concatenate(torch_logits(open_network(checkpoint.path), batches, lambda _rows: None))
    kept = np.arange(len(rows)) % 5 == 0
    kept = kept if rows.labels.ndim == 1 else kept[:, None]
    labels = np.where(kept, rows.labels, checkpoint.contract.labels.decode(logits).decisions)
    return dataclasses.replace(rows, labels=labels)


def make_run(
    folder: Path, of: Contract | None = None, model_type: str = "bert", *, rows: int = 120, **changes: Any
) -> Path:
    """A run whose best checkpoint is a tiny random classifier."""
    of = of or contract()
    metric = "f1_macro" if of.labels.kind == "multi" else "f1"
    made = tiny.checkpoint(
        folder / "checkpoints" / "step-10", of, model_type, **{"initializer_range": 0.3, "spread": 1.0, **changes}
    )
    decide(made)
    dataclasses.replace(made, metric=metric).save()
    (folder / "splits").mkdir()
    told = with_decisions(made, labelled(rows, of.labels, of.encoding.max_tokens + 16))
    told.save(folder / "splits" / "validation.jsonl", of.labels)
    (folder / "splits" / "splits.json").write_text(json.dumps({"fingerprint": "abc", "rows": {"validation": rows}}))
    (folder / "best.json").write_text(json.dumps({"checkpoint": "step-10", "metric": metric, "value": 0.5}))
    (folder / "recipe.yaml").write_text("name: tiny\n")
    return folder
