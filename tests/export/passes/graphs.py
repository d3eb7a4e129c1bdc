"""Tiny exported graphs of every family, and random inputs, for the proofs of the passes."""

import functools
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from transformers import CONFIG_MAPPING

from export.exporters.choose import EXPORTERS, choose_exporter, export_graph
from export.passes import apply_passes
from export.proof.runtime import open_session, run_batches
from export.proof.torch_logits import torch_logits
from tests import tiny
from tests.export.runs import contract, texts
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import ClassifactError
from trainer.opening.checkpoint import open_network

# What makes each family's tiny model the real thing: disentangled attention, local and global attention, and so on.
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {},
    "distilbert": {"n_layers": 2, "n_heads": 4, "dim": 32, "hidden_dim": 64},
    "roberta": {"max_position_embeddings": 514, "pad_token_id": 1},
    "xlm-roberta": {"max_position_embeddings": 514, "pad_token_id": 1},
    "deberta": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": -1},
    "deberta-v2": {
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 16,
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
    "electra": {"embedding_size": 16},
    "albert": {"embedding_size": 16, "num_hidden_layers": 2},
    "mpnet": {"max_position_embeddings": 514, "pad_token_id": 1},
    "modernbert": {"local_attention": 16, "global_attn_every_n_layers": 2, "num_hidden_layers": 3},
}

# Families that transformers 5 alone has.
FAMILIES_5: dict[str, dict[str, Any]] = {
    "eurobert": {"num_key_value_heads": 2},
    "gte": {},
    "nomic_bert": {},
    "jina_embeddings_v3": {},
    "ultrabert": {},
}
# Those of both that this lane has.
ALL = {**FAMILIES, **{name: changes for name, changes in FAMILIES_5.items() if name in CONFIG_MAPPING}}


def usable() -> tuple[str, ...]:
    """The exporters that this environment can import."""
    found = []
    for name in EXPORTERS:
        try:
            found.append(choose_exporter(name))
        except ClassifactError:
            continue
    return tuple(found)


USABLE = usable()
# The quickest of them: transformers' own takes five seconds for a tiny model.
QUICKEST = USABLE[0] if USABLE[0] != "transformers" else "torch"


def cases(families: Iterable[str], quick: str = "bert") -> list[Any]:
    """Each family with each exporter, as parameters (family, exporter).

    In quick tests are the quickest exporter's graphs of every family, and every exporter's of the family `quick`.
    """
    return [
        pytest.param(
            family,
            exporter,
            id=f"{family}-{exporter}",
            marks=[] if exporter == QUICKEST or family == quick else pytest.mark.slow,
        )
        for family in families
        for exporter in USABLE
    ]


@functools.cache
def exported(family: str, exporter: str = QUICKEST, **changes: Any) -> bytes:
    """The graph of a tiny random model, serialized."""
    with tempfile.TemporaryDirectory() as folder:
        made = tiny.checkpoint(
            Path(folder) / "checkpoint",
            contract(max_tokens=512),
            family,
            **{"initializer_range": 0.3, "spread": 1.0, **ALL[family], **changes},
        )
        return export_graph(made.path, Path(folder), exporter).SerializeToString()


def largest_difference(before: bytes, after: onnx.ModelProto) -> float:
    """The largest difference of logits, relative to their spread, on random inputs of many sizes, padded or not."""
    onnx.checker.check_model(after, full_check=True)
    expected, found = logits(before), logits.__wrapped__(after.SerializeToString())
    assert np.isfinite(found).all()
    return float(np.abs(expected - found).max()) / max(1.0, float(expected.std()))


# One exported graph is what many passes are held against.
@functools.cache
def logits(graph: bytes) -> Any:
    """What a graph gives for random rows of many sizes, padded or not, [N, C]."""
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    generator, found = np.random.default_rng(0), []
    for rows, tokens in [(1, 1), (1, 2), (2, 17), (7, 33), (32, 9), (3, 128), (1, 512)]:
        for padded in (False, True):
            lengths = generator.integers(1, tokens + 1, rows) if padded else np.full(rows, tokens)
            lengths[0] = tokens
            mask = (np.arange(tokens) < lengths[:, None]).astype(np.int64)
            given = {
                "input_ids": np.where(mask == 1, generator.integers(5, 100, mask.shape), 0),
                "attention_mask": mask,
                "token_type_ids": np.zeros_like(mask),
            }
            found.append(session.run(None, {entry.name: given[entry.name] for entry in session.get_inputs()})[0])
    return np.concatenate(found)


def from_torch(made: Checkpoint, exporter: str, scratch: Path) -> tuple[float, float, tuple[str, ...]]:
    """How far an exporter's graph of a checkpoint, as exported and after every pass, is from torch's logits on padded
    batches of many sizes; and the passes that changed it.
    """
    encoder = made.encoder()
    encoded = encoder.encode(texts(60, 560))
    batches = [encoder.pad(encoded, rows) for rows in np.array_split(np.random.default_rng(0).permutation(60), 9)]
    expected = np.concatenate(torch_logits(open_network(made.path), batches, lambda _rows: None))
    graph = export_graph(made.path, scratch, exporter)
    if [output.name for output in graph.graph.output] != ["logits"]:
        raise ValueError("the graph has other outputs than logits")
    found, applied = [], ()
    for rewrite in (False, True):
        if rewrite:
            graph, applied = apply_passes(graph, 512)
        logits = np.concatenate(run_batches(open_session(graph.SerializeToString()), batches))
        found.append(float(np.abs(logits - expected).max()))
    return found[0], found[1], applied


def load(graph: bytes) -> onnx.ModelProto:
    """A graph to edit."""
    return onnx.load_from_string(graph)
