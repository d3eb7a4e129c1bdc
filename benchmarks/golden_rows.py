"""How far a file's golden rows move elsewhere: what `serve check` must let pass, and what it must not.

    python benchmarks/golden_rows.py BUNDLE [--precision int8]

Prints the largest and the root mean squared difference of a logit from the file's own golden logits, and how many of
the rows are decided otherwise, for

* this machine, in the batches of `serve check`
* one row at a time, and batches of four times as many tokens
* another machine whose int8 products add in 32 bits: onnx's reference evaluator, which rounds floats in another order
* a machine whose int8 products add pairs in 16 bits, saturated (AVX2 and AVX-512 without VNNI: `vpmaddubsw`): the same
  evaluator with such sums. No setting masks ONNX Runtime's kernels, so this is computed, not run

and, for the scale, what the canary's tests do to a bundle: logits halved and tripled, noise of 0.5.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from export.bundle import Bundle, golden_logits, instruction_set
from export.passes.flash_attention import DOMAIN
from serve.scorer import Scorer
from trainer.contract.encoding import Batch

Logits = NDArray[np.float32]


class MatMulInteger(OpRun):
    """The operator with exact sums, or with pairs of products saturated at 16 bits."""

    op_domain = ""
    saturates = False

    def _run(
        self, a: NDArray[np.uint8], b: NDArray[np.int8], a_zero: object = None, b_zero: object = None
    ) -> tuple[NDArray[np.int32]]:
        if np.any(np.asarray(0 if b_zero is None else b_zero)) or b.dtype != np.int8:
            raise ValueError("expected symmetric int8 weights, as `python -m export` makes them")
        rows = a.reshape(-1, a.shape[-1])
        total = _saturated(rows, b) if self.saturates else np.rint(rows.astype(np.float64) @ b.astype(np.float64))
        zero = np.int64(0 if a_zero is None else np.asarray(a_zero).item())
        total = total.astype(np.int64) - zero * b.sum(axis=0, dtype=np.int64)
        return (total.astype(np.int32).reshape(*a.shape[:-1], b.shape[1]),)


def _saturated(a: NDArray[np.uint8], b: NDArray[np.int8]) -> NDArray[np.int64]:
    """a @ b where each two neighbouring products are added in 16 bits."""
    first, second = a[:, 0::2].astype(np.float32), a[:, 1::2].astype(np.float32)
    total = np.empty((len(a), b.shape[1]), dtype=np.int64)
    for column in range(b.shape[1]):
        weights = b[:, column].astype(np.float32)
        pairs = first * weights[0::2] + second * weights[1::2]
        total[:, column] = np.clip(pairs, -32768, 32767).sum(axis=1, dtype=np.float64)
    return total


class _Saturating(MatMulInteger):
    saturates = True


_Saturating.__name__ = "MatMulInteger"


class MultiHeadAttention(OpRun):
    """The operator that `flash_attention` brings, with every score written out."""

    op_domain = DOMAIN

    def _run(self, queries: Logits, keys: Logits, values: Logits, num_heads: int, scale: float) -> tuple[Logits]:
        parts = [each.reshape(*each.shape[:2], num_heads, -1).swapaxes(1, 2) for each in (queries, keys, values)]
        scores = parts[0] @ parts[1].swapaxes(2, 3) * np.float32(scale)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (shares / shares.sum(axis=-1, keepdims=True)) @ parts[2]
        return (mixed.swapaxes(1, 2).reshape(*values.shape),)


def main() -> None:
    """Score the golden rows in each way and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--precision", default="int8", choices=["fp32", "int8"])
    given = parser.parse_args()
    bundle = Bundle.open(given.bundle)
    rows, tokens = bundle.golden(), bundle.manifest.batch_tokens
    own, torch = golden_logits(rows, given.precision), golden_logits(rows)
    texts = [row.text for row in rows]
    pairs = None if bundle.contract.input.pair is None else [row.pair or "" for row in rows]
    print(
        f"{len(rows)} golden rows, {given.precision}, {instruction_set()}; exported on "
        f"{bundle.graph(given.precision).instruction_set}; bounds {bundle.graph(given.precision).golden}"
    )
    found: dict[str, Logits] = {}
    with Scorer.open(given.bundle, precision=given.precision, device="cpu") as scorer:
        for name, budget in (("the same batches", tokens), ("one row at a time", 1), ("4 x the tokens", 4 * tokens)):
            found[name] = scorer.logits(texts, pairs, budget)
        plan = scorer.plan(texts, pairs)
    graph = onnx.load(bundle.graph_path(given.precision))
    batches = [scorer.encoder.pad(plan.encoded, batch) for batch in plan.batches]
    for name, kernel in (("sums in 32 bits", MatMulInteger), ("pairs in 16 bits", _Saturating)):
        evaluated = np.empty_like(own)
        evaluated[np.concatenate(plan.batches)] = np.concatenate(evaluated_logits(graph, kernel, batches))
        found[name] = evaluated[plan.source]
    noise = np.random.default_rng(0).normal(0, 0.5, own.shape).astype(np.float32)
    found |= {"torch": torch, "halved": own * np.float32(0.5), "tripled": own * 3, "noise of 0.5": own + noise}
    labels = bundle.contract.labels
    decisions, truth = labels.decode(own), labels.decode(torch)
    for name, logits in found.items():
        difference = np.abs(logits - own)
        scores = labels.decode(logits)
        changed = round((1 - decisions.agreement(scores)) * len(rows))
        print(
            f"{name:<20} largest {difference.max():.6f}  rms {np.sqrt(np.square(difference).mean()):.6f}  decided "
            f"otherwise {changed}  as torch {truth.agreement(scores):.3f}",
            flush=True,
        )


def evaluated_logits(graph: onnx.ModelProto, kernel: type[OpRun], batches: list[Batch]) -> list[Logits]:
    """What onnx's reference evaluator gives for each batch, with a kernel for integer products."""
    evaluator = ReferenceEvaluator(graph, new_ops=[kernel, MultiHeadAttention])
    feeds = [{name: batch.named()[name] for name in evaluator.input_names} for batch in batches]
    results: list[Any] = [evaluator.run(None, feed) for feed in feeds]
    return [result[0] for result in results]


if __name__ == "__main__":
    main()
