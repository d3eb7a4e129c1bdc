"""Results as Markdown: for a page, and for whoever ran them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.learning_tables import quality_summary, quality_table, training_table
from benchmarks.peers.score import BASE, ratios, spread
from trainer.contract.system.files import read_json

# Whose results there are.
NAMES = ("scoring", "quality", "training", "growth")


def markdown(folder: Path, names: Sequence[str] = NAMES) -> str:
    """Results of a folder, a heading each; of those names alone."""
    found = {name: _read(folder / f"{name}.json") for name in NAMES if name in names}
    parts = [_scoring(case) for case in found.get("scoring", {}).values()]
    parts += [quality_summary(found["quality"])] if found.get("quality") else []
    parts += [quality_table(each, _made(each)) for each in found.get("quality", {}).values()]
    parts += [training_table(each, _made(each)) for each in found.get("training", {}).values()]
    return "\n\n".join([*parts, *([_growth(found["growth"])] if found.get("growth") else [])])


def _made(found: Mapping[str, Any]) -> str:
    return "" if "missing" in found else machine_line(found)


def _read(path: Path) -> dict[str, Any]:
    """Empty where it was never measured."""
    found: dict[str, Any] = read_json(path) if path.exists() else {}
    return found


def machine_line(case: Mapping[str, Any]) -> str:
    """Where and when figures were made, from the first piece to the last, each machine and commit that made one, and
    what else ran: the least and the highest load as a piece began or ended, which counts what it did itself.
    """
    parts = case.get("contestants") or case["axes"].values()
    # Of older results the table tells the machine and the commit of its last piece alone.
    stamps = [{**case.get("machine", {}), **stamp} for part in parts for stamp in part["made"]]
    dates, loads = sorted({stamp["date"] for stamp in stamps}), [stamp["load"] for stamp in stamps]
    machines, commits = dict.fromkeys(map(_machine, stamps)), dict.fromkeys(stamp["commit"] for stamp in stamps)
    masked = f" Products by {stamps[0]['masked']} alone." if stamps[0]["masked"] else ""
    return (
        f"{' and '.join(machines)}; commit {', '.join(commits)}; {dates[0]} to {dates[-1]} UTC; "
        f"load {min(loads)} to {max(loads)}.{masked}"
    )


def _machine(stamp: Mapping[str, Any]) -> str:
    # Pieces that were measured before there were tables of GPUs do not tell.
    gpu = f"{stamp['gpu']}; " if stamp.get("gpu") else ""
    return (
        f"{gpu}{stamp['processor']}, {stamp['cores']} cores, {', '.join(stamp['instructions'])}; "
        f"{stamp['memory_gb']} GB; {stamp['system']}; Python {stamp['python']}"
    )


def _scoring(case: Mapping[str, Any]) -> str:
    ranked = sorted((each for each in case["contestants"] if not each["fell"]), key=lambda each: -_median(each))
    base = case.get("base", BASE)
    lines = [
        f"### {case['name']}: {case['rows']:,} rows",
        "",
        machine_line(case),
        "",
        "At most, in the same run: " + "; ".join(_limit(*each) for each in case["limits"].items()) + ". "
        f"A row asks for {case['operations_per_row'] / 1e9:.2f}e9 operations.",
        "",
        f"| contestant | rows/s [least, most] | times {base} | of the limit | agrees | of rows | MB |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [_line(each) for each in ranked]
    fallen = [each for each in case["contestants"] if each["fell"]]
    lines += (
        ["", f"Agreement with torch fp32 of at least {case['bound']} is asked for. No figures:", ""] if fallen else []
    )
    # One line each, whatever a library's error looks like.
    lines += [f"* {each['name']}: {' '.join(each['fell'].split())[:300]}" for each in fallen]
    versions = {name: version for each in case["contestants"] for name, version in each["versions"].items()}
    lines += ["", "Versions: " + ", ".join(f"{name} {versions[name]}" for name in sorted(versions)) + "."]
    return "\n".join(lines)


def _limit(precision: str, best: Mapping[str, Any]) -> str:
    return f"{precision} {best['rate'] / 1e12:.2f}e12 operations/s ({best['kernel']})"


def _median(record: Mapping[str, Any]) -> float:
    return spread(record["rates"])["median"]


def _line(record: Mapping[str, Any]) -> str:
    rate, times = spread(record["rates"]), ratios(record)
    cells = [
        record["name"],
        f"{rate['median']:,.0f} [{rate['low']:,.0f}, {rate['high']:,.0f}]",
        "" if times is None else f"{times['median']:.2f} [{times['low']:.2f}, {times['high']:.2f}]",
        "" if record["share"] is None else f"{record['share']:.0%}",
        f"{record['agreement']:.4f}",
        f"{record['rows']:,}",
        f"{record['peak_memory_mb']:,.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _growth(result: Mapping[str, Any]) -> str:
    lines = [
        "### Growth",
        "",
        machine_line(result),
        "",
        "| axis | from | to | seconds there | MB there | seconds ~ size^b | MB ~ size^b |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for axis, found in result["axes"].items():
        sizes = [point["size"] for point in found["points"]]
        ends = [[point for point in found["points"] if point["size"] == end] for end in (min(sizes), max(sizes))]
        cells = [axis, f"{min(sizes):,}", f"{max(sizes):,}"]
        for figure, digits in (("seconds", 2), ("peak_memory_mb", 0)):
            medians = [spread([point[figure] for point in points])["median"] for points in ends]
            cells.append(" to ".join(f"{median:,.{digits}f}" for median in medians))
        for figure in ("seconds", "memory"):
            fitted = found[figure]
            cells.append(f"{fitted['b']:.2f} [{fitted['low']:.2f}, {fitted['high']:.2f}]")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
