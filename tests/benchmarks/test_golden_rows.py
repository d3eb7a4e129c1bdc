"""The reference evaluator of golden_rows.py computes what ONNX Runtime does."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.golden_rows import MatMulInteger, evaluated_logits
from export.int8.quantize import Int8, quantize
from export.passes import apply_passes
from export.proof.runtime import open_session, run_batches
from tests.export.passes.graphs import exported, load
from trainer.contract.encoding import Batch


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_file_for_long_rows_is_evaluated(precision: str, tmp_path: Path) -> None:
    """With attention as one operator too, padded rows have ONNX Runtime's logits; int8's but for an activation that is
    rounded to its neighbour.
    """
    graph, applied = apply_passes(load(exported("bert")), 512, ["drop_idle", "fold_shapes", "flash_attention"])
    assert "flash_attention" in applied
    graph = graph if precision == "fp32" else quantize(graph, Int8(per_channel=True), tmp_path)
    mask = (np.arange(40) < np.array([[40], [7]])).astype(np.int64)
    ids = np.random.default_rng(0).integers(5, 100, mask.shape) * mask
    batch = Batch(ids=ids, mask=mask, types=np.zeros_like(ids))
    expected = run_batches(open_session(graph.SerializeToString()), [batch])[0]
    found = evaluated_logits(graph, MatMulInteger, [batch])[0]
    assert np.abs(found - expected).max() < (1e-4 if precision == "fp32" else 0.02) * max(1.0, expected.std())
