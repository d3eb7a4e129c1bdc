"""Where a file's time goes: the time of its kernels by kind of operator, by ONNX Runtime's own profile, in one thread.

    python benchmarks/kernels.py BUNDLE [--precision int8] [--rows 10] [--tokens 51] [--runs 40]

Rows are random tokens, of 95 to 100 % of so many. Of each node the first fifth of the runs' times is taken, so that
what other programs do beside matters little. With `--with-fusions` nothing that the bundle switches off is off.
"""

import argparse
import json
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from export.bundle import Bundle


def main() -> None:
    """Print a line for each kind of operator, the costliest first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--rows", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=51)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--with-fusions", action="store_true")
    given = parser.parse_args()
    bundle = Bundle.open(given.bundle)
    off = () if given.with_fusions else bundle.graph(given.precision).disabled_optimizers
    with tempfile.TemporaryDirectory() as folder:
        spent, nodes = _profile(
            bundle.graph_path(given.precision), off, _batch(given.rows, given.tokens), given.runs, folder
        )
    total = sum(spent.values())
    print(f"{given.rows} rows of {given.tokens} tokens: {total / 1000:.2f} ms")
    for kind, microseconds in spent.most_common():
        print(f"{kind:<26}{nodes[kind]:4d}{microseconds / 1000:8.2f} ms{microseconds / total:8.1%}")


def _profile(
    file: Path, off: tuple[str, ...], feed: dict[str, NDArray[np.int64]], runs: int, folder: str
) -> tuple[Counter[str], Counter[str]]:
    """Microseconds of a run by kind of operator, and how many nodes of that kind there are."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_profiling = True
    options.profile_file_prefix = str(Path(folder) / "profile")
    session = ort.InferenceSession(str(file), options, disabled_optimizers=list(off))
    for _ in range(runs):
        session.run(None, {each.name: feed[each.name] for each in session.get_inputs()})
    events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    times: dict[tuple[str, str], list[int]] = defaultdict(list)
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            times[event["args"]["op_name"], event["name"]].append(event["dur"])
    spent, nodes = Counter[str](), Counter[str]()
    for (kind, _), durations in times.items():
        spent[kind] += round(float(np.quantile(durations, 0.2)))
        nodes[kind] += 1
    return spent, nodes


def _batch(rows: int, tokens: int) -> dict[str, NDArray[np.int64]]:
    random = np.random.default_rng(0)
    lengths = random.integers(int(tokens * 0.95), tokens + 1, rows)
    lengths[0] = tokens
    mask = (np.arange(tokens) < lengths[:, None]).astype(np.int64)
    ids = random.integers(1000, 20000, mask.shape) * mask
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


if __name__ == "__main__":
    main()
