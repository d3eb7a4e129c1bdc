"""Every family: 200 texts of 1 to 512 tokens, against torch."""

from pathlib import Path

import numpy as np
import pytest

from export.exporters.choose import export_graph
from export.passes import apply_passes
from export.proof.runtime import open_session, run_batches
from export.proof.torch_logits import torch_logits
from tests import tiny
from tests.export.passes.graphs import FAMILIES
from tests.export.runs import contract, decide, texts
from trainer.opening.checkpoint import open_network

# transformers' DeBERTa and torch's own compiler use torch.jit, which torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.*is deprecated:DeprecationWarning")


# The proofs of the passes run on every family in every test run.
QUICK = {"bert"}


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in FAMILIES]
)
def test_parity(family: str, tmp_path: Path) -> None:
    """Probabilities stay within 1e-4 of torch's in batches of 1, 7 and 32 rows of mixed lengths, with every pass."""
    changes = {"initializer_range": 0.1, "spread": 1.0, **FAMILIES[family]}
    made = tiny.checkpoint(tmp_path / "checkpoint", contract(max_tokens=512), family, **changes)
    decide(made)
    graph, _ = apply_passes(export_graph(made.path, tmp_path), 512)
    session = open_session(graph.SerializeToString())
    encoder = made.encoder()
    encoded = encoder.encode(texts(200, 560))
    assert (encoded.lengths.min(), encoded.lengths.max()) == (3, 512)
    by_length = np.array_split(np.arange(200), 50)
    batches = [encoder.pad(encoded, rows) for rows in by_length]
    logits = torch_logits(open_network(made.path), batches, lambda _rows: None)
    expected = made.contract.labels.decode(np.concatenate(logits))
    assert len(np.unique(expected.decisions)) == 2
    order = np.random.default_rng(0).permutation(200)
    for size in (1, 7, 32):
        batches = [encoder.pad(encoded, order[start : start + size]) for start in range(0, 200, size)]
        found = np.empty((200, 2), dtype=np.float32)
        found[order] = np.concatenate(run_batches(session, batches))
        probabilities = made.contract.labels.decode(found).probabilities
        assert np.abs(probabilities - expected.probabilities).max() < 1e-4, f"batches of {size}"
