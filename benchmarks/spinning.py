"""How OpenMP's threads wait for each other in a training step: as libgomp does by default, shortly, or asleep at once.

    python benchmarks/spinning.py CHECKPOINT [--rounds 3] [--steps 10] [--busy 0]

A step is 32 rows of 40 tokens in bf16, forward, backward and AdamW, in a process of its own for each side and round, in
turns. `--busy N` keeps N other processes computing. Printed are seconds of a step (the median) by round and side, and
each side's over the default's; a process that has not ended after two minutes counts with the steps that it took.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.peers import leash

WARM_UP = 2
# By default libgomp spins 300,000 times before it sleeps.
SIDES = {
    "default": {"GOMP_SPINCOUNT": "300000"},
    "short": {"GOMP_SPINCOUNT": "1000"},
    "asleep": {"OMP_WAIT_POLICY": "PASSIVE"},
}
OURS = {name for settings in SIDES.values() for name in settings}


def main() -> None:
    """Print a line a round, then the ratios; or take the steps of one side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--side", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        take_steps(given.checkpoint, given.steps)
        return
    others = [leash.Leashed([sys.executable, "-c", "while True: pass"]) for _ in range(given.busy)]
    found: list[dict[str, float]] = []
    try:
        for number in range(given.rounds):
            order = [*SIDES][number % len(SIDES) :] + [*SIDES][: number % len(SIDES)]
            found.append({side: measure(side, given.checkpoint, given.steps) for side in order})
            print(f"load {os.getloadavg()[0]:.1f}: {found[-1]}", flush=True)
    finally:
        for other in others:
            other.kill()
    for side in [*SIDES][1:]:
        ratios = [seconds[side] / seconds["default"] for seconds in found]
        print(f"{side} over default: {statistics.median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}]")


def measure(side: str, checkpoint: Path, steps: int) -> float:
    """Seconds of a step; after a time-out, those that the last one had taken by then."""
    environment = {name: value for name, value in os.environ.items() if name not in OURS} | SIDES[side]
    command = [sys.executable, __file__, str(checkpoint), "--steps", str(steps), "--side"]
    try:
        told = leash.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, timeout=120).stdout
    except subprocess.TimeoutExpired as error:
        told = error.stdout or b""
    seconds = [float(line) for line in told.split()][WARM_UP:]
    return round(statistics.median(seconds), 3) if seconds else 120.0 / WARM_UP


def take_steps(checkpoint: Path, steps: int) -> None:
    """Print the seconds of each step as it is done."""
    import torch  # noqa: PLC0415 -- only here: the settings are read when it is loaded.

    from trainer.opening.checkpoint import open_network  # noqa: PLC0415

    torch.manual_seed(0)
    network = open_network(checkpoint).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True)
    rows, labels = torch.randint(5, 20_000, (32, 40)), torch.randint(0, 2, (32,))
    for _ in range(WARM_UP + steps):
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(input_ids=rows, attention_mask=torch.ones_like(rows)).logits
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
