"""The scoring table: what each contestant labels in a second, and whether its labels are the reference's."""

import argparse
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import machine, trained
from benchmarks.peers.contestant import ON_GPU, Variant, contestants
from benchmarks.peers.limit import ROOM, limits, operations
from benchmarks.peers.rounds import Outcome, Schedule, compete
from benchmarks.peers.workloads import MOST_ROWS, MOST_ROWS_GPU, Workload, workload
from trainer.contract.errors import InputError
from trainer.contract.system.files import read_json, write_json

# The least share of rows that a contestant labels as torch does in fp32. Below it a rate is no answer.
AGREEMENT = 0.99
# What ratios are over: what a user has who installed transformers, and read no further. It runs beside every piece.
BASE = "transformers pipeline, defaults"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What to score, and how long."""
    parser.add_argument("--data", type=Path, help="folder with ag_news/ and spanish_fake_long/: runs are made of them")
    parser.add_argument("--case", action="append", choices=list(trained.CASES), help="with --data; default: all")
    parser.add_argument("--run", type=Path, help="a run, with --bundle, instead of --data")
    parser.add_argument("--bundle", type=Path, help="its export")
    parser.add_argument("--name", help="of this case in the table; default: the run's")
    parser.add_argument("--rows", type=Path, help="CSV or JSON lines; default: the run's test split")
    parser.add_argument("--quick", action="store_true", help="few contestants, short rounds")
    parser.add_argument("--gpu", action="store_true", help="what runs on a GPU, as tables of their own")
    parser.add_argument("--only", action="append", default=[], help="a part of a contestant's name; may be repeated")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=4, help="of a contestant's round")


def run(given: argparse.Namespace) -> None:
    """Measure every case and write scoring.json; what was measured before and is not asked for now stays."""
    path = given.out / "scoring.json"
    done = read_json(path) if path.exists() else {}
    for key, case, work in _workloads(given):
        place = " ".join(filter(None, (key, machine.masked()))) + ON_GPU * given.gpu
        record = measure(case, work, given)
        done[place] = machine.joined(done.get(place), record, ("name", "rows", "bound"))
        write_json(path, done)


def measure(case: trained.Case, work: Workload, given: argparse.Namespace) -> dict[str, Any]:
    """The record of a case."""
    chosen = contestants("benchmarks.peers.scoring", lambda variant: wanted(variant, given, large=case.large))
    products = contestants(ROOM, lambda variant: _sized(variant, given))
    rows, bound = min(case.rows, len(work.truth)), AGREEMENT if case.loose is None else case.loose
    seconds, began = 1 if given.quick else given.seconds, machine.stamp(gpu=given.gpu)
    schedule = Schedule(rounds=given.rounds, seconds=seconds, most=rows, first=16 if case.large else 64)
    everyone = compete([*chosen, *products], work.settings, schedule, given.out)
    outcomes, most = everyone[: len(chosen)], limits(everyone[len(chosen) :])
    # On a GPU the reference only says which labels are right.
    shown = {each.variant.name for each in chosen if each.variant.gpu == given.gpu}
    asked = operations(work.checkpoint, work.texts()[:rows])
    told = {"made": [began, machine.stamp(gpu=given.gpu)]}
    base = _base(gpu=given.gpu)
    figures = beside(base, [each for each in judged(outcomes, work.truth, bound) if each["name"] in shown])
    records = [{**with_share(each, asked, most), **told} for each in figures]
    name = case.name + ON_GPU * given.gpu
    record = {"name": name, "rows": rows, "bound": bound, "base": base}
    return {**record, "limits": most, "operations_per_row": sum(asked) / rows, "contestants": records}


def _base(*, gpu: bool) -> str:
    return BASE + ON_GPU * gpu


def beside(base: str, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each with the rates of the base in the same rounds; with none where the base has no figures."""
    rates: list[float] = next((each["rates"] for each in records if each["name"] == base and not each["fell"]), [])
    return [{**each, "base_rates": rates} for each in records]


def with_share(record: dict[str, Any], asked: Sequence[float], most: Mapping[str, Any]) -> dict[str, Any]:
    """With the share of its precision's limit that it makes use of; None where there is no limit to hold it against."""
    if "rates" not in record or record["precision"] not in most:
        return {**record, "share": None}
    each = sum(asked[: record["rows"]]) / record["rows"]
    rate = statistics.median(record["rates"]) * each
    return {**record, "share": rate / most[record["precision"]]["rate"]}


def _workloads(given: argparse.Namespace) -> Iterator[tuple[str, trained.Case, Workload]]:
    scratch, most = given.out / "workloads", MOST_ROWS_GPU if given.gpu else MOST_ROWS
    if given.data is None:
        if given.run is None or given.bundle is None:
            raise InputError("nothing to score", do="give --data FOLDER, or --run RUN with --bundle BUNDLE")
        name = given.name or given.run.name
        yield (
            name,
            trained.Case(name=name, recipe={}),
            workload(name, given.run, given.bundle, given.rows, scratch / name, most),
        )
        return
    for key in given.case or trained.CASES:
        run, bundle = trained.made(key, given.data, given.out / "trained")
        case = trained.CASES[key]
        yield key, case, workload(case.name, run, bundle, None, scratch / key, most)


def wanted(variant: Variant, given: argparse.Namespace, *, large: bool) -> bool:
    """Whether a variant is measured. large: whether rows take long."""
    # Labels are held against the reference's, wherever a contestant computes.
    if variant.reference:
        return True
    named = variant.name == _base(gpu=given.gpu) or not given.only or any(part in variant.name for part in given.only)
    return named and _sized(variant, given) and (variant.light or not large)


def _sized(variant: Variant, given: argparse.Namespace) -> bool:
    """Whether it computes where it is asked for, a mask reaches it, and it is quick if that is asked for; on a GPU all
    are.
    """
    reached = machine.reaches(onnx_runtime=variant.onnx_runtime)
    return reached and variant.gpu == given.gpu and (variant.quick or given.gpu or not given.quick)


def judged(outcomes: Sequence[Outcome], truth: Sequence[int | None], bound: float = AGREEMENT) -> list[dict[str, Any]]:
    """A record for each contestant: its figures, or why it has none.

    truth: each row's right label, None where it is not known. The reference is the first variant that says so; where it
    fell nobody's labels can be checked, and nobody has figures.
    """
    reference = next((each for each in outcomes if each.contestant.variant.reference), None)
    expected = None if reference is None else reference.whole.get("labels")
    return [_record(outcome, expected, truth, bound) for outcome in outcomes]


def _record(outcome: Outcome, expected: list[int] | None, truth: Sequence[int | None], bound: float) -> dict[str, Any]:
    variant = outcome.contestant.variant
    record: dict[str, Any] = {
        "name": variant.name,
        "precision": variant.precision,
        "needs": list(outcome.contestant.needs),
        "versions": outcome.loaded.get("versions", {}),
        "fell": outcome.fell,
    }
    if outcome.fell or not outcome.rounds:
        return {**record, "fell": outcome.fell or "no round was done"}
    if expected is None:
        return {**record, "fell": "the reference fell, so its labels could not be checked"}
    agreement = min(_share(each["labels"], expected, outcome.rows) for each in outcome.rounds)
    record |= {
        "rows": outcome.rows,
        "load_seconds": outcome.loaded["seconds"],
        "rates": [outcome.rows / each["seconds"] for each in outcome.rounds],
        "cpu_seconds": [each["cpu_seconds"] for each in outcome.rounds],
        "peak_memory_mb": outcome.rounds[-1]["peak_memory_mb"],
        "agreement": agreement,
        # Of fewer rows it would be compared with that of others.
        "accuracy": _accuracy(outcome.rounds[-1]["labels"], truth) if outcome.rows == len(truth) else None,
    }
    if agreement < bound:
        record["fell"] = (
            f"a wrong answer: it agrees with torch fp32 on {agreement:.3f} of the rows, {bound} is asked for"
        )
    return record


def _share(labels: list[int], expected: list[int], rows: int) -> float:
    """The share of a round's rows that are labelled as expected; rows that got no label count as wrong."""
    known = min(rows, len(expected))
    return sum(one == two for one, two in zip(labels[:known], expected, strict=False)) / known


def _accuracy(labels: list[int], truth: Sequence[int | None]) -> float | None:
    told = [(one, two) for one, two in zip(labels, truth, strict=False) if two is not None]
    return sum(one == two for one, two in told) / len(told) if told else None


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most of a contestant's rounds."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def ratios(record: Mapping[str, Any]) -> dict[str, float] | None:
    """How many times as fast as the base, of rounds that ran side by side; None where the base has none."""
    found = [one / two for one, two in zip(record["rates"], record["base_rates"], strict=False)]
    return spread(found) if found else None
