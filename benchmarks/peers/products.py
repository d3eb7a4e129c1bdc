"""The round of a limit: a product of several shapes, and the rate of the fastest."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers.talk import Figures, Request, Round

# Rows, inner, columns: a batch of tokens through MiniLM's and BERT-base's feed-forward layers, and a large square.
SHAPES = ((1024, 384, 1536), (1024, 768, 3072), (2048, 2048, 2048))
# The same of a GPU's batches, and a square large enough for it.
GPU_SHAPES = ((32768, 384, 1536), (32768, 768, 3072), (8192, 8192, 8192))


def products(
    product: Callable[[int, int, int], Callable[[], Any]],
    shapes: Sequence[tuple[int, int, int]] = SHAPES,
    wait: Callable[[], None] = lambda: None,
) -> Round:
    """A round that runs each shape's product "rows" times.

    product: a shape to what computes it once. wait: returns when all products that were asked for are done.
    """
    runs = {shape: product(*shape) for shape in shapes}

    def round_(request: Request) -> Figures:
        rates = {}
        for shape, run in runs.items():
            wait()
            started = time.perf_counter()
            for _ in range(request["rows"]):
                run()
            wait()
            rows, inner, columns = shape
            rates[shape] = 2 * rows * inner * columns * request["rows"] / (time.perf_counter() - started)
        best = max(rates, key=lambda shape: rates[shape])
        return {"rate": rates[best], "shape": best}

    return round_
