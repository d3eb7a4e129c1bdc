"""Two scoring threads that share ONNX Runtime's memory arena, and two that have a heap each (glibc's), in turns.

    python benchmarks/arena.py BUNDLE ROWS.jsonl [--count 400] [--rounds 20] [--precision int8]

ROWS: JSON lines with a `text` each, as it is joined. A round scores the first `--count` of them once a side, after a
round that warms up. Printed are rows/s, and the rate at which two threads stream through 128 MB each: it is higher
where the processors have no cache in common, which a virtual machine does not tell and which may change while it runs.
The last line is the heaps' rate over the arena's, over rounds.
"""

import argparse
import json
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from export.bundle import Bundle
from serve.scorer import Scorer
from serve.scoring.settings import options_of

_STREAMED_MB = 64


def main() -> None:
    """Print a line a round, then the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--precision", default="int8")
    given = parser.parse_args()
    with given.rows.open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line, _ in zip(file, range(given.count), strict=False)]
    options = options_of(precision=given.precision, device="cpu", workers=2)
    bundle = Bundle.open(given.bundle)
    sides = {
        arena: Scorer(bundle, replace(options, session=replace(options.session, arena=arena)))
        for arena in (True, False)
    }
    buffers = [np.ones((2, _STREAMED_MB << 18), dtype=np.float32) for _ in range(2)]
    ratios = []
    for number in range(given.rounds + 1):
        order = sorted(sides, reverse=bool(number % 2))
        rates = {arena: rate(sides[arena], texts) for arena in order}
        if number:
            ratios.append(rates[False] / rates[True])
            told = f"arena {rates[True]:.0f} rows/s, heaps {rates[False]:.0f}: {ratios[-1]:.2f}"
            print(f"{told}; both stream {streamed(buffers):.0f} GB/s", flush=True)
    for scorer in sides.values():
        scorer.close()
    print(f"heaps over arena: {statistics.median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}]")


def rate(scorer: Scorer, texts: list[str]) -> float:
    """Rows a second of one pass over the texts."""
    start = time.perf_counter()
    scorer.logits(texts)
    return len(texts) / (time.perf_counter() - start)


def streamed(buffers: list[np.ndarray]) -> float:
    """GB/s that two threads read and write together, each from one half of its buffer to the other."""
    start = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda pair: [np.add(pair[0], 1, out=pair[1]) for _ in range(4)], buffers))
    return sum(each.nbytes for each in buffers) * 4 / (time.perf_counter() - start) / 1e9


if __name__ == "__main__":
    main()
