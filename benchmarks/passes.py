"""What each raced pass of the export gains: the graph with all passes against the graph without one, in turns.

    python benchmarks/passes.py CHECKPOINT [--tokens 50,250] [--rounds 30] [--precisions fp32,int8]

Rows are random tokens, in batches of 512 padded tokens, as scoring makes them. Each line is a precision, a length, a
pass, and how many times the time grows without it: the processor's time of one thread and the clock's, the geometric
mean over the rounds with its 95 % interval (bootstrap over rounds, whose turns are paired). "itself" is the same file
opened twice: what differs by less is noise.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from export.exporters.choose import export_graph
from export.int8.quantize import Int8, quantize
from export.passes import PASSES, PREPARING, apply_passes
from export.passes.choose import LOST
from export.passes.graph_file import save_graph
from export.proof.runtime import open_session, run_batches
from export.proof.timing import race
from trainer.contract.encoding import Batch

BATCH_TOKENS = 512
# Batches of a turn: a turn is then a fraction of a second, and other programs meet all graphs alike.
BATCHES = 3


def main() -> None:
    """Print a line for each precision, length and pass."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--tokens", default="50,250")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--precisions", default="fp32,int8")
    parser.add_argument("--longest", type=int, default=512)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        files = _files(given.checkpoint, given.longest, Path(name))
        for precision in given.precisions.split(","):
            graphs = files[precision]
            sessions = {left_out: open_session(path, LOST) for left_out, path in graphs.items()}
            sessions["itself"] = open_session(graphs["all"], LOST)
            for tokens in map(int, given.tokens.split(",")):
                batches = _batches(tokens)
                runners: dict[str, Callable[[], object]] = {
                    left_out: partial(run_batches, session, batches, threads=1)
                    for left_out, session in sessions.items()
                }
                found = race(runners, rows=sum(len(batch.ids) for batch in batches), rounds=given.rounds)
                for place, left_out in enumerate(found.names[1:], start=1):
                    of_both = [times[:, place] / times[:, 0] for times in (found.processor, found.seconds)]
                    print(f"{precision} {tokens:>4} tokens  {left_out:<28}", *map(_interval, of_both), flush=True)


def _files(checkpoint: Path, longest: int, folder: Path) -> dict[str, dict[str, Path]]:
    """Of each precision the files with all passes, without each of the raced ones, and with one beside the first."""
    save_graph(export_graph(checkpoint, folder), folder / "exported.onnx")
    raced = [name for name in PASSES if name not in PREPARING]
    left_out = {"all": [], **{f"without {name}": [name] for name in raced}}
    # What one pass brings may be brought by another too: leaving out one at a time would call both useless.
    left_out[f"{raced[0]} alone"] = raced[1:]
    left_out |= {f"{raced[0]} and {name}": [each for each in raced[1:] if each != name] for name in raced[1:]}
    files: dict[str, dict[str, Path]] = {"fp32": {}, "int8": {}}
    for name, skipped in left_out.items():
        kept = [each for each in PASSES if each not in skipped]
        graph, _ = apply_passes(onnx.load(folder / "exported.onnx"), longest, kept, pairs=False)
        quantized = quantize(graph, Int8(per_channel=True), folder)
        for precision, made in (("fp32", graph), ("int8", quantized)):
            files[precision][name] = folder / f"{precision} {name}.onnx"
            save_graph(made, files[precision][name])
    return files


def _batches(tokens: int) -> list[Batch]:
    """Rows of 90 to 100 % of so many tokens."""
    random = np.random.default_rng(0)
    shape = (max(1, BATCH_TOKENS // tokens), tokens)
    batches = []
    for _ in range(BATCHES):
        lengths = random.integers(int(tokens * 0.9), tokens + 1, shape[0])
        lengths[0] = tokens
        mask = (np.arange(tokens) < lengths[:, None]).astype(np.int64)
        ids = random.integers(1000, 20000, shape) * mask
        batches.append(Batch(ids=ids, mask=mask, types=np.zeros_like(ids)))
    return batches


def _interval(ratios: NDArray[np.float64]) -> str:
    """The geometric mean, and its 95 % interval."""
    logs = np.log(ratios)
    drawn = np.random.default_rng(0).integers(0, len(logs), (2000, len(logs)))
    low, high = np.quantile(logs[drawn].mean(axis=1), [0.025, 0.975])
    return f"{np.exp(logs.mean()):.3f} [{np.exp(low):.3f}, {np.exp(high):.3f}]"


if __name__ == "__main__":
    main()
