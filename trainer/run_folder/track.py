"""What a run says while it runs: metrics.jsonl, one dense line a step (redrawn on a terminal), and Accelerate's
trackers.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from trainer.contract.figures.metrics import shown as figure
from trainer.contract.system import machine
from trainer.contract.system.files import atomic_file, json_line
from trainer.contract.system.progress import Progress

METRICS_FILE = "metrics.jsonl"
# The kind of a line that says where the steps after it are taken.
LAUNCH = "launch"
# Called after each evaluation with its place and metrics; what it raises ends the run.
Watch = Callable[[dict[str, int], dict[str, float]], None]


class Track:
    """The log of a run. Only the main process writes. quiet: nothing on standard error. watch: is shown each
    evaluation, on every process.
    """

    def __init__(self, run: Path, accelerator: Accelerator, *, quiet: bool, watch: Watch | None = None) -> None:
        self._watch = watch
        self._accelerator = accelerator
        self._path = run / METRICS_FILE
        self._writes = accelerator.is_main_process
        self.progress = Progress(quiet=quiet or not self._writes)
        self._steps, self._done = 1, 0
        self._started = self._last = time.perf_counter()

    def say(self, text: str) -> None:
        """One line for a person."""
        self.progress.say(text)

    def launch(self, facts: dict[str, Any], step: int) -> None:
        """Record where the steps after `step` are taken; say so where those before it had another precision."""
        if self._writes:
            before, now = launches(self._path), facts["precision"]
            if before and before[-1]["precision"] != now:
                self.say(
                    f"the run was trained in {before[-1]['precision']} up to step {step}, and is in {now} from here on"
                )
            self._append({"kind": LAUNCH, "step": step, **facts})

    def start(self, steps: int, done: int) -> None:
        """Begin a stage of `steps` optimizer steps, of which `done` are done."""
        self._last = time.perf_counter()
        self._steps, self._done = steps, done
        self.progress.begin(done / steps)

    def step(self, place: dict[str, int], values: dict[str, float], tokens: int) -> None:
        """Record an optimizer step.

        place: stage, epoch, step, batch, batches. values: loss and the like. tokens: of its rows, without padding.
        """
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        values = {
            **values,
            "seconds": seconds,
            "tokens_per_second": tokens / seconds,
            "memory_mib": training_peak_memory(self._accelerator) / 2**20,
        }
        self._write({"kind": "step", **place, **values}, place["step"])
        line = (
            f"stage {place['stage']} step {place['step']} epoch {place['epoch']} {place['batch']}/{place['batches']} "
            f"loss {values['loss']:.4f} lr {values['learning_rate']:.2e} norm {values['gradient_norm']:.2f} "
            f"{seconds * 1000:.0f} ms {values['tokens_per_second']:.0f} tok/s {values['memory_mib']:.0f} MiB"
        )
        self._done += 1
        if self.progress.terminal:
            self.progress.show(lambda: line, self._done / self._steps)
        else:
            self.say(line)

    def evaluation(self, place: dict[str, int], metrics: dict[str, float], note: str, constant: dict[str, Any]) -> None:
        """Record an evaluation on validation. constant: what one answer for all rows is worth there."""
        self._write({"kind": "evaluation", **place, **metrics, "constant": constant}, place["step"])
        shown = " ".join(f"{name} {figure(value)}" for name, value in metrics.items())
        self.say(f"stage {place['stage']} epoch {place['epoch']} step {place['step']} validation: {shown} {note}")
        # What an evaluation takes is not a step's.
        self._last = time.perf_counter()
        if self._watch is not None:
            self._watch(place, metrics)

    def rewind(self, step: int) -> None:
        """Drop the lines after `step`, which a resumed run writes again, and launches from whose steps none is left."""
        if not self._writes or not self._path.exists():
            return
        lines = [line for line in self._path.read_bytes().splitlines(keepends=True) if _stays(line, step)]
        with atomic_file(self._path) as file:
            file.writelines(lines)

    def close(self) -> None:
        """End a stage."""
        self.progress.close()

    def _write(self, content: dict[str, Any], step: int) -> None:
        if self._writes:
            self._append(content)
        # A step and an evaluation may share their number, and both have a loss.
        group = "train" if content["kind"] == "step" else "validation"
        shown = {name: value for name, value in content.items() if isinstance(value, int | float) and name != "step"}
        self._accelerator.log({f"{group}/{name}": value for name, value in shown.items()}, step=step)

    def _append(self, content: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json_line(content) + "\n")


def training_peak_memory(accelerator: Accelerator) -> int:
    """Bytes: the most that tensors took on the device, or that this process held in memory where the device is a
    CPU.
    """
    if accelerator.device.type == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return machine.peak_memory()


def launches(path: Path) -> list[dict[str, Any]]:
    """The launches that a log of whole lines tells of, in their order."""
    if not path.exists():
        return []
    return [line for line in map(json.loads, path.read_bytes().splitlines()) if line["kind"] == LAUNCH]


def _stays(line: bytes, step: int) -> bool:
    """Whether a resume from `step` keeps a line; one cut off by a kill counts as after everything."""
    try:
        content = json.loads(line)
        return bool(content["step"] < step or (content["step"] == step and content["kind"] != LAUNCH))
    except (ValueError, KeyError, TypeError):
        return False
