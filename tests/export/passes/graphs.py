"""Tiny exported graphs of every family, and random inputs, for the proofs of the passes."""

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from export.exporters.choose import export_graph
from tests import tiny
from tests.export.runs import contract

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


@functools.cache
def exported(family: str, **changes: Any) -> bytes:
    """The graph of a tiny random model, serialized."""
    with tempfile.TemporaryDirectory() as folder:
        made = tiny.checkpoint(
            Path(folder) / "checkpoint",
            contract(max_tokens=512),
            family,
            **{"initializer_range": 0.3, "spread": 1.0, **FAMILIES[family], **changes},
        )
        return export_graph(made.path, Path(folder)).SerializeToString()


def largest_difference(before: bytes, after: onnx.ModelProto) -> float:
    """The largest difference of logits, relative to their spread, on random inputs of many sizes, padded or not."""
    onnx.checker.check_model(after, full_check=True)
    first, second = (
        ort.InferenceSession(graph, providers=["CPUExecutionProvider"]) for graph in (before, after.SerializeToString())
    )
    generator = np.random.default_rng(0)
    worst, found = 0.0, []
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
            expected, got = (
                session.run(None, {entry.name: given[entry.name] for entry in session.get_inputs()})[0]
                for session in (first, second)
            )
            worst = max(worst, float(np.abs(expected - got).max()))
            found.append(expected)
    return worst / max(1.0, float(np.concatenate(found).std()))


def load(graph: bytes) -> onnx.ModelProto:
    """A graph to edit."""
    return onnx.load_from_string(graph)
