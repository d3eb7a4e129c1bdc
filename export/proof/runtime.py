"""ONNX Runtime as scoring uses it: one session with one thread inside, shared by worker threads, a batch each.

Parity and speed are measured here, so they are measured with the settings that the manifest prescribes.
"""

import ctypes
import gc
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from trainer.contract.encoding import Batch
from trainer.contract.system.machine import cpu_count, threads_keep_memory

Logits = NDArray[np.float32]


def open_session(graph: Path | bytes, disabled_optimizers: Iterable[str] = ()) -> ort.InferenceSession:
    """A CPU session on a file or on a serialized graph, with the named optimizers of ONNX Runtime switched off."""
    options = ort.SessionOptions()
    # Threads score batches side by side instead: products of small batches gain little from being split.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # As in scoring: threads share no memory, and batches of all lengths leave no pattern.
    options.enable_cpu_mem_arena = not threads_keep_memory()
    options.enable_mem_pattern = False
    # Errors alone: ONNX Runtime warns about harmless clean-ups of the graphs that it is given.
    options.log_severity_level = 3
    return ort.InferenceSession(
        graph if isinstance(graph, bytes) else str(graph),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=list(disabled_optimizers),
    )


def open_plain_session(graph: Path) -> ort.InferenceSession:
    """A CPU session as anybody opens one: every core inside one run, nothing set."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def run_batches(
    session: ort.InferenceSession,
    batches: list[Batch],
    tick: Callable[[int], None] | None = None,
    *,
    threads: int | None = None,
) -> list[Logits]:
    """Logits [B, C] of each batch, in order.

    tick is called with the number of rows of each finished batch. threads: worker threads, one a core unless given.
    """
    names = [given.name for given in session.get_inputs()]

    def score(batch: Batch) -> Logits:
        """Logits of a batch, float32 [B, C]."""
        arrays = batch.named()
        result: Any = session.run(["logits"], {name: arrays[name] for name in names})[0]
        if tick:
            tick(len(batch.ids))
        return np.asarray(result, dtype=np.float32)

    with ThreadPoolExecutor(threads or workers()) as pool:
        return list(pool.map(score, batches))


def workers() -> int:
    """Worker threads: the processors this process may use."""
    return cpu_count()


def release_memory() -> None:
    """Give freed memory back: the C library keeps hundreds of megabytes of an export's weights and sessions for later.

    Does nothing where the C library is not glibc.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)
