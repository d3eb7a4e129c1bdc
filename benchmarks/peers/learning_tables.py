"""The tables of quality and of training as Markdown."""

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from benchmarks.peers.train import share, times


def quality_summary(quality: Mapping[str, Any]) -> str:
    """All measured sets in one table: macro F1, in bold where its distance to the set's best reaches zero; and what it
    costs, from the cheapest set to the dearest, in processor time, to which other programs add little.
    """
    sets = [found for found in quality.values() if "missing" not in found]
    by_name: dict[str, list[dict[str, Any] | None]] = {}
    for place, found in enumerate(sets):
        for each in _standing(found):
            by_name.setdefault(each["name"], [None] * len(sets))[place] = each
    ranked = sorted(by_name.items(), key=lambda pair: -fmean(each["f1_macro"][0] if each else 0 for each in pair[1]))
    lines = [
        f"| contestant | {' | '.join(found['name'] for found in sets)} | training, processor s | rows a processor s |",
        "|---|" + "--:|" * (len(sets) + 2),
    ]
    for name, several in ranked:
        cells = ["not measured" if each is None else _marked(each) for each in several]
        for figure in ("train_cpu_seconds", "rows_per_cpu_second"):
            values = [each[figure] for each in several if each]
            told = [f"{value:,.{0 if value >= 10 else 1}f}" for value in (min(values), max(values))]
            cells.append(" to ".join(dict.fromkeys(told)))
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(["### A thousand rows: macro F1 [95 %] and what it costs", "", *lines])


def _marked(each: Mapping[str, Any]) -> str:
    told = _interval(each["f1_macro"])
    return f"**{told}**" if each["behind"][1] <= 0 else told


def quality_table(found: Mapping[str, Any], machine_line: str) -> str:
    """A set's contestants, the best first. Of several labels a row, accuracy asks for all of them."""
    if "missing" in found:
        return f"### {found['name']}\n\nNot measured: {found['missing']}"
    ranked = sorted(_standing(found), key=lambda each: -each["f1_macro"][0])
    lines = [
        f"### {found['name']}: {found['train_rows']:,} rows to learn from, {found['test_rows']:,} test rows",
        "",
        machine_line,
        "",
        "| contestant | macro F1 [95 %] | behind the best [95 %] | accuracy [95 %] | training s | rows/s | MB |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for each in ranked:
        figures = [_interval(each[name]) for name in ("f1_macro", "behind", "accuracy")]
        # The first contestant's own distance to itself is no figure.
        figures[1] = "" if each is ranked[0] else figures[1]
        costs = [f"{each['train_seconds']:,.1f}", f"{each['rows_per_second']:,.0f}", f"{each['peak_memory_mb']:,.0f}"]
        lines.append(f"| {' | '.join([each['name'], *figures, *costs])} |")
    return "\n".join([*lines, *_rest(found)])


def training_table(found: Mapping[str, Any], machine_line: str) -> str:
    """Contestants by rows a second."""
    if "missing" in found:
        return f"### {found['name']}\n\nNot measured: {found['missing']}"
    standing = sorted(_standing(found), key=lambda each: -median(each["rates"]))
    lines = [
        f"### {found['name']}: {found['batch']} rows a step, {found['rows']} a round",
        "",
        machine_line,
        "",
        f"| contestant | rows/s [least, most] | times Trainer at its best | times its defaults | of the limit "
        f"| macro F1 at the end | s to F1 {found['target']} | MB |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for each in standing:
        reached, end = each["to_target"], each["curve"][-1]
        cells = [
            each["name"],
            f"{median(each['rates']):,.1f} [{min(each['rates']):,.1f}, {max(each['rates']):,.1f}]",
            _times(times(each, "best")),
            _times(times(each, "default")),
            f"{share(each):.0%}",
            f"{end['f1_macro']:.3f} after {end['rows']:,}",
            "not reached" if reached is None else f"{reached['seconds']:,.0f} ({reached['rows']:,} rows)",
            f"{each['peak_memory_mb']:,.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, *_rest(found)])


def _standing(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [each for each in found["contestants"] if not each["fell"]]


def _rest(found: Mapping[str, Any]) -> list[str]:
    """Who has no figures, and the versions of who has."""
    fallen = [f"* {each['name']}: {each['fell']}" for each in found["contestants"] if each["fell"]]
    versions = {name: version for each in found["contestants"] for name, version in each["versions"].items()}
    told = "Versions: " + ", ".join(f"{name} {versions[name]}" for name in sorted(versions)) + "."
    return [*(["", "No figures:", "", *fallen] if fallen else []), "", told]


def _interval(values: Sequence[float]) -> str:
    return f"{values[0]:.3f} [{values[1]:.3f}, {values[2]:.3f}]"


def _times(found: Sequence[float] | None) -> str:
    return "" if found is None else f"{found[0]:.2f} [{found[1]:.2f}, {found[2]:.2f}]"
