"""Results as Markdown: for a page, and for whoever ran them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers.score import ratios, spread
from trainer.contract.system.files import read_json

# What the ratios of the scoring table are over: what a user has who installed transformers, and read no further.
BASE = "transformers pipeline, defaults"


def markdown(folder: Path) -> str:
    """All results of a folder, a heading each."""
    path = folder / "scoring.json"
    return "\n\n".join(_scoring(case) for case in (read_json(path).values() if path.exists() else ()))


def machine_line(case: Mapping[str, Any]) -> str:
    """Where and when figures were made."""
    made = case["machine"]
    return (
        f"{made['processor']}, {made['cores']} cores, {', '.join(made['instructions'])}; {made['memory_gb']} GB; "
        f"{made['system']}; Python {made['python']}; commit {made['commit']}; {made['date']}; "
        f"load {case['load_before']} before, {case['load_after']} after."
    )


def _scoring(case: Mapping[str, Any]) -> str:
    ranked = sorted((each for each in case["contestants"] if not each["fell"]), key=lambda each: -_median(each))
    base = next((each for each in ranked if each["name"] == BASE), ranked[-1] if ranked else None)
    lines = [
        f"### {case['name']}: {case['rows']:,} rows",
        "",
        machine_line(case),
        "",
        f"| contestant | rows/s [least, most] | times {base['name'] if base else '-'} | agrees | accuracy | MB |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    lines += [_line(each, base) for each in ranked if base]
    fallen = [each for each in case["contestants"] if each["fell"]]
    lines += (
        ["", f"Agreement with torch fp32 of at least {case['bound']} is asked for. No figures:", ""] if fallen else []
    )
    lines += [f"* {each['name']}: {each['fell']}" for each in fallen]
    versions = {name: version for each in case["contestants"] for name, version in each["versions"].items()}
    lines += ["", "Versions: " + ", ".join(f"{name} {versions[name]}" for name in sorted(versions)) + "."]
    return "\n".join(lines)


def _median(record: Mapping[str, Any]) -> float:
    return spread(record["rates"])["median"]


def _line(record: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    rate, times = spread(record["rates"]), ratios(record, base)
    accuracy = "" if record["accuracy"] is None else f"{record['accuracy']:.4f}"
    cells = [
        record["name"],
        f"{rate['median']:,.0f} [{rate['low']:,.0f}, {rate['high']:,.0f}]",
        f"{times['median']:.2f} [{times['low']:.2f}, {times['high']:.2f}]",
        f"{record['agreement']:.4f}",
        accuracy,
        f"{record['peak_memory_mb']:,.0f}",
    ]
    return f"| {' | '.join(cells)} |"
