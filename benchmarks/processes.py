"""One process with all cores against two with half of them each: seconds of the same steps, launched in turn.

    python benchmarks/processes.py [--precision bf16] [--rounds 3] [--rows 640]

The shipped SMS example, some of its rows, batches of 32. A run's first steps, in which libraries warm up, do not
count.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.peers import leash

WARM_UP = 3
SIDES = {"cpu": 1, "two_cpu_processes": 2}


def main() -> None:
    """Print a line a run, then the ratio of each side's best round."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--precision", choices=["no", "bf16"], default="bf16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=640)
    given = parser.parse_args()
    seconds: dict[str, list[float]] = {config: [] for config in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(given.rounds):
            for config in SIDES:
                out = Path(folder) / f"{config}{number}"
                seconds[config].append(run(config, out, given))
                print(f"round {number + 1}, {config}: {seconds[config][-1]:.1f} s", flush=True)
    ratio = min(seconds["cpu"]) / min(seconds["two_cpu_processes"])
    print(f"{given.precision}: two processes are {ratio:.2f} times as fast as one")


def run(config: str, out: Path, given: argparse.Namespace) -> float:
    """Seconds of a launched run's steps, after those that warm up."""
    threads = max(1, (os.cpu_count() or 1) // SIDES[config])
    leash.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", "--config_file", f"launch_configs/{config}.yaml"),
            *("--mixed_precision", given.precision, "trainer/run.py", "--config", "examples/sms_spam/recipe.yaml"),
            *("--out", str(out), "--quiet", "--set", f"data.limit={given.rows}", "--set", "stages.0.epochs=1"),
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return float(sum(line["seconds"] for line in lines if line["kind"] == "step" and line["step"] > WARM_UP))


if __name__ == "__main__":
    main()
