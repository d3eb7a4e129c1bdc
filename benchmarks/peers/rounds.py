"""Contestants load once and then take turns, round after round, so that what else the machine does meets them all.

One that cannot be installed, does not load, dies or is too slow to answer falls: it is listed with the reason that
running it gave, and the others go on.
"""

import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.peers.contestant import Contestant
from benchmarks.peers.environments import python_of
from benchmarks.peers.machine import memory_left
from benchmarks.peers.program import Fell, Program

FOLDER = Path(__file__).resolve().parents[1] / "results"
# What must stay free after a contestant has loaded.
_MEMORY_KEPT = 2 * 2**30


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long everything takes."""

    rounds: int
    seconds: float
    """Of one contestant's round, roughly: its rows are chosen for that."""
    most: int
    """Rows there are; no round has more."""
    first: int = 64
    """Rows of the first, uncounted round; 0: there is none, and a round has all rows."""
    patience: float = 300
    """Seconds after which a contestant that does not answer has fallen."""


@dataclass(kw_only=True)
class Outcome:
    """What became of one contestant."""

    contestant: Contestant
    fell: str = ""
    """Why it gives no figures; empty where it does."""
    loaded: dict[str, Any] = field(default_factory=dict)
    """Its answer to "load"."""
    rows: int = 0
    """Of each round."""
    whole: dict[str, Any] = field(default_factory=dict)
    """The reference's answer on all rows, which is in no round; others have none."""
    rounds: list[dict[str, Any]] = field(default_factory=list)
    """Its answers, in order."""


def compete(
    contestants: Sequence[Contestant], settings: Mapping[str, Any], schedule: Schedule, folder: Path = FOLDER
) -> list[Outcome]:
    """Everyone's answers, in the order given.

    settings: what each `load` is given, beside its own. folder: for environments and logs.
    """
    outcomes = [Outcome(contestant=each) for each in contestants]
    with ExitStack() as stack:
        programs: dict[int, Program] = {}
        for place, outcome in enumerate(outcomes):
            _say(f"{place + 1}/{len(outcomes)} {outcome.contestant.variant.name}")
            try:
                program = stack.enter_context(_start(outcome.contestant, folder))
                _prepare(program, outcome, settings, schedule)
                programs[place] = program
            except Fell as fell:
                _fall(outcome, fell)
        for number in range(schedule.rounds):
            # Each round begins with another, so that none always follows the same one.
            order = deque(programs)
            order.rotate(-number)
            for place in order:
                outcome = outcomes[place]
                try:
                    answer = programs[place].ask({"do": "round", "rows": outcome.rows}, schedule.patience)
                except Fell as fell:
                    _fall(outcome, fell)
                    del programs[place]
                else:
                    outcome.rounds.append(answer)
                    _say(f"round {number + 1} {outcome.contestant.variant.name}: {answer['seconds']:.1f} s")
    return outcomes


def _start(contestant: Contestant, folder: Path) -> Program:
    python = python_of(contestant.needs, folder / "environments")
    name = "".join(letter if letter.isalnum() else "_" for letter in contestant.variant.name)
    return Program(python, contestant.module, folder / "logs" / f"{name}.log")


def _prepare(program: Program, outcome: Outcome, settings: Mapping[str, Any], schedule: Schedule) -> None:
    """Load, and find the rows of a round. Raises Fell, with the program ended."""
    try:
        variant = outcome.contestant.variant
        given = {**settings, "device": "cuda" if variant.gpu else "cpu", **variant.settings}
        outcome.loaded = program.ask({"do": "load", "settings": given}, schedule.patience)
        _require_memory()
        first = schedule.most if variant.whole else schedule.first if variant.first is None else variant.first
        seconds = schedule.seconds if variant.seconds is None else variant.seconds
        outcome.rows = calibrated(program, replace(schedule, first=first, seconds=seconds))
        if variant.reference:
            outcome.whole = program.ask({"do": "round", "rows": schedule.most}, schedule.patience)
    except Fell:
        program.close()
        raise


def _fall(outcome: Outcome, fell: Fell) -> None:
    outcome.fell = str(fell)
    _say(f"  {fell}")


def calibrated(program: Program, schedule: Schedule) -> int:
    """Rows that take about a round's seconds. The rounds that find them warm the program up."""
    if not schedule.first:
        return schedule.most
    rows = min(schedule.first, schedule.most)
    # The first round pays once for what later ones find done: memory that is taken, kernels that are compiled.
    program.ask({"do": "round", "rows": rows}, schedule.patience)
    # All rows were asked for.
    if rows == schedule.first == schedule.most:
        return rows
    for _ in range(4):
        seconds = program.ask({"do": "round", "rows": rows}, schedule.patience)["seconds"]
        wanted = int(rows * schedule.seconds / max(seconds, 1e-3))
        if seconds >= schedule.seconds / 2 or rows == schedule.most:
            return max(1, min(wanted, schedule.most))
        # What a start costs hides how fast the rest is: so rows grow in steps.
        rows = min(8 * rows, wanted, schedule.most)
    return rows


def _require_memory() -> None:
    left = memory_left()
    if left is not None and left < _MEMORY_KEPT:
        raise Fell(f"not run: {left / 2**30:.1f} GB of memory were left after it had loaded")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
