"""One thread a process, here and in what tests start: tiny models gain nothing from two, and sums then have one order.

A run in this process can so be compared, weight by weight, with one that was launched.
"""

import gc
import importlib.util
import os

os.environ["OMP_NUM_THREADS"] = "1"

# Where torch is: the scorer's tests also run without it. After the line above, which it reads when it is imported.
if importlib.util.find_spec("torch") is not None:
    import torch

    torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """Leave the million objects of imported libraries and of pytest itself out of garbage collection.

    An export collects eight times, and each would walk through all of them.
    """
    gc.collect()
    gc.freeze()
