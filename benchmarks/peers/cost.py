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
    """Measure every set and write quality.json; a set that was measured before and is not asked for now stays."""
    path = given.out / "quality.json"
    done: dict[str, Any] = read_json(path) if path.exists() else {}
    for key in given.set or SETS:
        try:
            rows = labelled_set(key, given.out / "sets" / key, given.rows, given.asked)
        except InputError as error:
            # Most sets lie beside the checkout, or nowhere.
            done[key] = {"name": SETS[key][0], "missing": str(error)}
            continue
        done[key] = measure(rows, given.rows, _schedule(given), given)
        write_json(path, done)
    write_json(path, done)


def measure(rows: LabelledSet, train: int, schedule: Schedule, given: argparse.Namespace) -> dict[str, Any]:
    """The record of a set."""
    chosen = contestants(
        ROOM,
        lambda variant: (
            (variant.quick or not given.quick) and (not given.only or any(part in variant.name for part in given.only))
        ),
    )
    record: dict[str, Any] = {"name": rows.name, "machine": machine.describe(), "load_before": machine.load_average()}
    outcomes = compete(chosen, rows.settings, schedule, given.out)
    counts = {"train_rows": min(train, _lines(Path(rows.settings["train"]))), "test_rows": len(rows.truth)}
    return {**record, "load_after": machine.load_average(), **counts, "contestants": judged(outcomes, rows)}


def judged(outcomes: Sequence[Outcome], rows: LabelledSet) -> list[dict[str, Any]]:
    """A record for each contestant: its figures, or why it has none."""
    answers = [_decisions(outcome, rows) for outcome in outcomes]
    samples = [
        None if isinstance(answer, str) else resampled(METRICS, answer, rows.truth, rows.space) for answer in answers
    ]
    best = max((each["f1_macro"] for each in samples if each), key=lambda values: float(values.mean()), default=None)
    found = []
    for outcome, answer, own in zip(outcomes, answers, samples, strict=True):
        record: dict[str, Any] = {
            "name": outcome.contestant.variant.name,
            "versions": outcome.loaded.get("versions", {}),
            "fell": answer if isinstance(answer, str) else "",
        }
        if own is not None and best is not None and not isinstance(answer, str):
            behind = best - own["f1_macro"]
            values = {name: compute(name, answer, rows.truth, rows.space) for name in METRICS}
            record |= {name: _told(Interval.of(value, own[name])) for name, value in values.items()}
            record |= {"behind": _told(Interval.of(float(behind.mean()), behind)), **_costs(outcome, len(rows.truth))}
        found.append(record)
    return found


def _costs(outcome: Outcome, asked: int) -> dict[str, float]:
    """Of the fastest round: other programs can only add to a round's seconds."""
    return {
        "train_seconds": min(each["train_seconds"] for each in outcome.rounds),
        "rows_per_second": max(asked / each["score_seconds"] for each in outcome.rounds),
        "peak_memory_mb": outcome.rounds[-1]["peak_memory_mb"],
    }


def _decisions(outcome: Outcome, rows: LabelledSet) -> Scores | str:
    """The last round's labels as decisions, without probabilities, which these metrics do not read; or why there are
    none.
    """
    if outcome.fell or not outcome.rounds:
        return outcome.fell or "no round was done"
    found = np.array(outcome.rounds[-1]["labels"])
    if found.shape != rows.truth.shape:
        return f"a wrong answer: labels of the shape {found.shape} for {rows.truth.shape}"
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
