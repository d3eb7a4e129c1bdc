"""The verdict's figures in counts of rows, and what it costs to run: for who never met the metric."""

from collections.abc import Iterator
from typing import Any

from trainer.contract.figures.exact import told_none_wrong
from trainer.contract.visible import cut, visible


def counted(figures: dict[str, Any] | None) -> Iterator[str]:
    """What was decided, a sentence each."""
    if figures is None:
        return
    yield from _several(figures) if figures["kind"] == "multi" else _single(figures)
    if bound := told_none_wrong(figures["mismatches"]["rows"], figures["rows"]):
        yield bound
    answered = (figures["decisions"] or {}).get("answered")
    if answered is not None:
        left = answered["rows"] - answered["answered"]
        yield f"It would leave {left:,} of these rows to a person; of the others {answered['wrong']:,} are wrong."


def _single(figures: dict[str, Any]) -> Iterator[str]:
    counts, rows = figures["confusion"], figures["rows"]
    right = sum(row[place] for place, row in enumerate(counts))
    yield f"Of {rows:,} {figures['split']} rows {right:,} are decided rightly."
    if len(counts) == 2:
        place = figures["labels"].index(figures["positive"])
        name, both = cut(visible(figures["positive"]), 40), counts[place][place]
        has, given = sum(counts[place]), sum(row[place] for row in counts)
        yield f"Of the {has:,} that are {name} it finds {both:,}; of the {given:,} that it calls {name}, {both:,} are."


def _several(figures: dict[str, Any]) -> Iterator[str]:
    counts, rows = figures["confusion"], figures["rows"]
    right = rows - figures["mismatches"]["rows"]
    # Of each label: [[neither, given alone], [had alone, both]].
    both = sum(table[1][1] for table in counts)
    has, given = both + sum(table[1][0] for table in counts), both + sum(table[0][1] for table in counts)
    yield f"Of {rows:,} {figures['split']} rows {right:,} have every label right."
    yield f"Of the {has:,} labels that they have it gives {both:,}; of the {given:,} that it gives, {both:,} are right."


def running(manifest: dict[str, Any] | None) -> Iterator[str]:
    """What the fastest file of a bundle takes, in a sentence; nothing where none was timed."""
    timed = {name: graph for name, graph in (manifest or {}).get("graphs", {}).items() if graph.get("rows_per_second")}
    if timed:
        name, graph = max(timed.items(), key=lambda item: item[1]["rows_per_second"])
        size, speed = f"{graph['bytes'] / 1e6:.0f} MB", f"{graph['rows_per_second']:,.0f} rows a second"
        yield f"Its fastest file, {name}, has {size} and scored {speed} where it was exported."
