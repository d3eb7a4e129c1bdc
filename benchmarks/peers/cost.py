"""Quality against cost: what each contestant makes of a thousand labelled rows, in what time, and how fast it labels.

Figures have 95 % intervals over test rows. "behind" is macro F1 below the best contestant's, by paired resamples: one
whose interval reaches zero is as good, as far as these rows tell.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import machine
from benchmarks.peers.contestant import contestants
from benchmarks.peers.rounds import Outcome, Schedule, compete
from benchmarks.peers.sets import SETS, LabelledSet, labelled_set
from trainer.contract.errors import InputError
from trainer.contract.figures.metrics import compute
from trainer.contract.figures.resample import Interval, resampled
from trainer.contract.labels import Scores
from trainer.contract.system.files import read_json, write_json

ROOM = "benchmarks.peers.quality"
METRICS = ("accuracy", "f1_macro")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which sets, and how many rows."""
    parser.add_argument("--set", action="append", choices=list(SETS), help="default: all whose files are there")
    parser.add_argument("--rows", type=int, default=1000, help="to learn from")
    parser.add_argument("--asked", type=int, default=2000, help="test rows at most")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", action="append", default=[], help="a part of a contestant's name; may be repeated")
    parser.add_argument("--quick", action="store_true", help="few contestants")


def run(given: argparse.Namespace) -> None:
    """Measure every set and write quality.json; what was measured before and is not asked for now stays."""
    path = given.out / "quality.json"
    done: dict[str, Any] = read_json(path) if path.exists() else {}
    for key in given.set or SETS:
        try:
            rows = labelled_set(key, given.out / "sets" / key, given.rows, given.asked)
        except InputError as error:
            # Most sets lie beside the checkout, or nowhere.
            done[key] = {"name": SETS[key][0], "missing": str(error)}
            continue
        record = machine.joined(done.get(key), measure(rows, given), ("name", "train_rows", "test_rows"))
        done[key] = {**record, "contestants": judged(record["contestants"], rows)}
        write_json(path, done)
    write_json(path, done)


def measure(rows: LabelledSet, given: argparse.Namespace) -> dict[str, Any]:
    """The record of a set, not judged yet."""
    chosen = contestants(
        ROOM,
        lambda variant: (
            (variant.quick or not given.quick) and (not given.only or any(part in variant.name for part in given.only))
        ),
    )
    began = machine.stamp()
    outcomes = compete(chosen, rows.settings, _schedule(given), given.out)
    counts = {
        "train_rows": min(given.rows, _lines(Path(rows.settings["train"]))),
        "test_rows": len(rows.truth),
        "multi": rows.space.kind == "multi",
    }
    told = {"made": [began, machine.stamp()]}
    answers = [{**answer(outcome, rows), **told} for outcome in outcomes]
    return {"name": rows.name, **counts, "contestants": answers}


def answer(outcome: Outcome, rows: LabelledSet) -> dict[str, Any]:
    """A contestant's labels and costs, or why it has none. Seconds are of its fastest round: what else runs can only
    add to them.
    """
    record: dict[str, Any] = {
        "name": outcome.contestant.variant.name,
        "versions": outcome.loaded.get("versions", {}),
        "fell": outcome.fell,
    }
    if outcome.fell or not outcome.rounds:
        return {**record, "fell": outcome.fell or "no round was done"}
    labels = outcome.rounds[-1]["labels"]
    if np.shape(labels) != rows.truth.shape:
        return {**record, "fell": f"a wrong answer: labels of the shape {np.shape(labels)} for {rows.truth.shape}"}
    return {
        **record,
        "labels": labels,
        "train_seconds": min(each["train_seconds"] for each in outcome.rounds),
        "train_cpu_seconds": min(each["train_cpu_seconds"] for each in outcome.rounds),
        "rows_per_second": max(len(labels) / each["score_seconds"] for each in outcome.rounds),
        # A clock of hundredths may have seen nothing of so short a time.
        "rows_per_cpu_second": max(len(labels) / max(each["score_cpu_seconds"], 0.01) for each in outcome.rounds),
        "peak_memory_mb": outcome.rounds[-1]["peak_memory_mb"],
    }


def judged(answers: Sequence[dict[str, Any]], rows: LabelledSet) -> list[dict[str, Any]]:
    """The answers, each with its figures; the best is that of all, whenever they were measured."""
    scores = {each["name"]: _decisions(each["labels"], rows) for each in answers if not each["fell"]}
    samples = {name: resampled(METRICS, each, rows.truth, rows.space) for name, each in scores.items()}
    best = max((each["f1_macro"] for each in samples.values()), key=lambda values: float(values.mean()), default=None)
    found = []
    for each in answers:
        figures: dict[str, list[float]] = {}
        if best is not None and not each["fell"]:
            own = samples[each["name"]]
            for name in METRICS:
                figures[name] = _told(
                    Interval.of(compute(name, scores[each["name"]], rows.truth, rows.space), own[name])
                )
            behind = best - own["f1_macro"]
            figures["behind"] = _told(Interval.of(float(behind.mean()), behind))
        found.append({**each, **figures})
    return found


def _decisions(labels: Sequence[Any], rows: LabelledSet) -> Scores:
    """Labels as decisions, without probabilities, which these metrics do not read."""
    found = np.array(labels)
    return Scores(
        probabilities=np.zeros((len(found), len(rows.space)), dtype=np.float32),
        decisions=found.astype(np.bool_ if rows.space.kind == "multi" else np.int64),
    )


def _told(interval: Interval) -> list[float]:
    return [interval.value, interval.low, interval.high]


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def _schedule(given: argparse.Namespace) -> Schedule:
    return Schedule(rounds=given.rounds, seconds=0, most=given.rows, first=0, patience=1500)
