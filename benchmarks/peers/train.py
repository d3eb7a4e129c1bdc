"""The training table: rows each contestant trains on in a second, and what it has learnt after how long.

Everyone trains on the same rows in the same order, some a round, with the same batch and rate, and goes on in the next
round; after each it labels the validation rows, which is not timed.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import limit, machine
from benchmarks.peers.contestant import ON_GPU, Contestant, contestants
from benchmarks.peers.learn import read_rows
from benchmarks.peers.rounds import Outcome, Schedule, compete
from benchmarks.peers.sets import SETS, LabelledSet, labelled_set
from trainer.contract.encoding import EncodingPolicy, TextEncoder
from trainer.contract.errors import InputError
from trainer.contract.figures.metrics import compute
from trainer.contract.labels import Scores
from trainer.contract.system.files import read_json, write_json
from trainer.contract.system.machine import cpu_count

ROOM = "benchmarks.peers.training"
# Of each set: rows of an optimizer step.
BATCH = {"medical": 16}
RATE = 1e-4
# What ratios are over, in each precision; it runs beside every piece.
BASES = {"fp32": "Trainer, best (by length, fused AdamW)", "bf16": "Trainer, best (by length, fused AdamW, bf16)"}
DEFAULTS = "Trainer, defaults (padded to the limit)"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which sets, and how many rows."""
    parser.add_argument("--set", action="append", choices=list(SETS), help="default: ag_news and medical")
    parser.add_argument("--rows", type=int, default=640, help="of a round; Trainer groups a quarter of them by length")
    parser.add_argument("--asked", type=int, default=400, help="validation rows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--target", type=float, default=0.8, help="macro F1 whose time is told")
    parser.add_argument("--precision", choices=["fp32", "bf16"], help="contestants of one precision alone")
    parser.add_argument("--only", action="append", default=[], help="a part of a contestant's name; may be repeated")
    parser.add_argument("--quick", action="store_true", help="few contestants")
    parser.add_argument("--gpu", action="store_true", help="what runs on a GPU, as tables of their own")


def run(given: argparse.Namespace) -> None:
    """Measure every set and write training.json; what was measured before and is not asked for now stays."""
    path = given.out / "training.json"
    done: dict[str, Any] = read_json(path) if path.exists() else {}
    for key in given.set or ("ag_news", "medical"):
        place = " ".join(filter(None, (key, machine.masked()))) + ON_GPU * given.gpu
        try:
            rows = labelled_set(key, given.out / "sets" / f"{key}_training", 20 * given.rows, given.asked)
        except InputError as error:
            done[place] = {"name": SETS[key][0], "missing": str(error)}
            continue
        done[place] = machine.joined(done.get(place), measure(key, rows, given), ("name", "rows", "batch", "target"))
        write_json(path, done)
    write_json(path, done)


def measure(key: str, rows: LabelledSet, given: argparse.Namespace) -> dict[str, Any]:
    """The record of a set."""
    settings = {**rows.settings, "validation": rows.settings["test"], "batch": BATCH.get(key, 32), "rate": RATE}
    began = machine.stamp(gpu=given.gpu)
    short = Schedule(rounds=3, seconds=0.5, most=1000, first=1)
    bare = contestants(
        limit.ROOM,
        lambda variant: (
            variant.quick
            and variant.gpu == given.gpu
            # A processor without bf16 emulates it, for minutes.
            and given.precision in (None, variant.precision)
            and machine.reaches(onnx_runtime=variant.onnx_runtime)
        ),
    )
    most = limit.limits(compete(bare, {"processors": cpu_count()}, short, given.out))
    asked = operations(settings, given.rows * (given.rounds + 1))
    outcomes = compete(_chosen(given), settings, schedule(given.rows, given.rounds), given.out)
    told = {"limits": most, "operations_per_row": asked, "made": [began, machine.stamp(gpu=given.gpu)]}
    records = [{**each, **told} for each in beside_bases([judged(each, rows, given.target) for each in outcomes])]
    record = {"name": rows.name + ON_GPU * given.gpu, "rows": given.rows, "batch": settings["batch"]}
    return {**record, "target": given.target, "contestants": records}


def beside_bases(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each with the rates, in the same rounds, of Trainer at its best in its precision, and at its defaults."""
    rates: dict[str, list[float]] = {each["name"]: each.get("rates", []) for each in records}
    found = []
    for each in records:
        place = ON_GPU * each["name"].endswith(ON_GPU)
        best = rates.get(BASES[each["precision"]] + place, [])
        found.append({**each, "best_rates": best, "default_rates": rates.get(DEFAULTS + place, [])})
    return found


def operations(settings: Mapping[str, Any], rows: int) -> float:
    """Of the products of a training row, on average over the first `rows`: one pass forward, and twice that back."""
    folder, policy = Path(settings["encoder"]), EncodingPolicy(max_tokens=settings["max_tokens"])
    encoder = TextEncoder.open(folder / "tokenizer.json", policy)
    lengths = encoder.encode(read_rows(settings["train"])[0][:rows]).lengths
    return 3 * statistics.fmean(limit.products(folder, lengths))


def share(record: Mapping[str, Any]) -> float:
    """What a contestant makes of the limit of its precision; who leaves products out comes nearer."""
    rate: float = statistics.median(record["rates"]) * record["operations_per_row"]
    return rate / float(record["limits"][record["precision"]]["rate"])


def schedule(rows: int, rounds: int) -> Schedule:
    """Every round has the same rows for everyone, however long it takes; the first one, which warms up, trains too."""
    return Schedule(rounds=rounds, seconds=1e9, most=rows, first=rows, patience=900)


def _chosen(given: argparse.Namespace) -> list[Contestant]:
    everyone = contestants(
        ROOM,
        lambda variant: (
            given.precision in (None, variant.precision)
            and variant.gpu == given.gpu
            and (variant.quick or given.gpu or not given.quick)
        ),
    )
    named = [each for each in everyone if not given.only or any(part in each.variant.name for part in given.only)]
    bases = {BASES[each.variant.precision] + ON_GPU * given.gpu for each in named}
    return [each for each in everyone if each in named or each.variant.name in bases]


def judged(outcome: Outcome, rows: LabelledSet, target: float) -> dict[str, Any]:
    """Its figures, or why it has none. to_target: seconds and rows of training until a round ended at the target or
    above it; None where none did.
    """
    record: dict[str, Any] = {
        "name": outcome.contestant.variant.name,
        "precision": outcome.contestant.variant.precision,
        "versions": outcome.loaded.get("versions", {}),
        "fell": outcome.fell,
    }
    if outcome.fell or not outcome.rounds:
        return {**record, "fell": outcome.fell or "no round was done"}
    curve = [
        {"rows": each["trained_rows"], "seconds": each["train_seconds"], "f1_macro": _f1(each["labels"], rows)}
        for each in outcome.rounds
    ]
    return {
        **record,
        "rates": [outcome.rows / each["seconds"] for each in outcome.rounds],
        "peak_memory_mb": outcome.rounds[-1]["peak_memory_mb"],
        "curve": curve,
        "to_target": next((point for point in curve if point["f1_macro"] >= target), None),
    }


def _f1(labels: Sequence[Any], rows: LabelledSet) -> float:
    decisions = np.array(labels).astype(np.bool_ if rows.space.kind == "multi" else np.int64)
    scores = Scores(probabilities=np.zeros((len(labels), len(rows.space)), dtype=np.float32), decisions=decisions)
    return compute("f1_macro", scores, rows.truth, rows.space)


def times(record: Mapping[str, Any], base: str) -> tuple[float, float, float] | None:
    """How many times as fast as a base, by rounds that ran side by side: median, least, most; None without the base.

    base: "best" or "default".
    """
    found = [one / two for one, two in zip(record["rates"], record[f"{base}_rates"], strict=False)]
    return (statistics.median(found), min(found), max(found)) if found else None
