"""What ONNX Runtime's fusions and the size of batches cost or gain on a bundle's graphs, in turns, in one thread.

    python benchmarks/graph_choices.py RUN BUNDLE [--precision int8] [--rounds 5] [--rows 150]

BUNDLE is an export of RUN, whose validation rows are scored. Each line is a choice and how many times faster it is than
what the bundle prescribes, in processor time: the median of the rounds, and the lowest and highest of them. The line
"itself" races the bundle's choice against itself: what differs by less is noise. What passes gain is printed by
`python -m export`.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime as ort

from export.bundle import Bundle
from export.proof.runtime import open_session, run_batches
from export.proof.timing import race
from export.trained_run import Sample, TrainedRun
from trainer.contract.encoding import Batch, budget_batches

FUSIONS = (
    "SkipLayerNormFusion",
    "BiasGeluFusion",
    "GeluFusion",
    "MatMulAddFusion",
    "MatMulIntegerToFloatFusion",
    "DynamicQuantizeMatMulFusion",
    "BiasSoftmaxFusion",
    "MatMulScaleFusion",
    "MatmulTransposeFusion",
    "LayerNormFusion",
    "TransposeOptimizer",
)
BUDGETS = (128, 256, 384, 768, 1024, 2048)


def main() -> None:
    """Print a line a choice as it is timed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=150)
    given = parser.parse_args()
    bundle, source = Bundle.open(given.bundle), TrainedRun.open(given.run)
    sample = Sample.of(source.validation, source.checkpoint.encoder()).subset(given.rows)
    usual = partial(run_batches, _session(bundle, given.precision), _batches(sample, bundle.manifest.batch_tokens))
    for name, choice in _choices(bundle, given.precision, sample):
        runners: dict[str, Callable[[], object]] = {"bundle": partial(usual, threads=1), name: choice}
        found = race(runners, rows=len(sample), rounds=given.rounds)
        gains = found.processor[:, 0] / found.processor[:, 1]
        print(f"{name:<40}{np.median(gains):7.3f}  ({gains.min():.3f} to {gains.max():.3f})", flush=True)


def _choices(bundle: Bundle, precision: str, sample: Sample) -> Iterator[tuple[str, Callable[[], object]]]:
    prescribed, disabled = bundle.manifest.batch_tokens, bundle.graph(precision).disabled_optimizers
    batches = _batches(sample, prescribed)
    yield "itself", partial(run_batches, _session(bundle, precision), batches, threads=1)
    for tokens in BUDGETS:
        if tokens != prescribed:
            other = _batches(sample, tokens)
            yield f"batches of {tokens} tokens", partial(run_batches, _session(bundle, precision), other, threads=1)
    for name in FUSIONS:
        toggled = tuple(each for each in disabled if each != name) if name in disabled else (*disabled, name)
        session = open_session(bundle.graph_path(precision), toggled)
        yield f"{name} {'on' if name in disabled else 'off'}", partial(run_batches, session, batches, threads=1)


def _session(bundle: Bundle, precision: str) -> ort.InferenceSession:
    return open_session(bundle.graph_path(precision), bundle.graph(precision).disabled_optimizers)


def _batches(sample: Sample, tokens: int) -> list[Batch]:
    order = np.argsort(-sample.encoded.lengths, kind="stable")
    return [sample.encoder.pad(sample.encoded, rows) for rows in budget_batches(sample.encoded.lengths, order, tokens)]


if __name__ == "__main__":
    main()
