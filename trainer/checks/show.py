"""A lint report for a person: figures first, then the findings, gravest first."""

import os
from pathlib import Path
from typing import Any

from trainer.checks.findings import Finding
from trainer.checks.lint import SEVERITIES, LintReport, StageReport
from trainer.contract.figures.tables import table


def render_findings(report: LintReport) -> str:
    """The whole report as text."""
    counts = {name: report.count(name) for name in SEVERITIES}
    totals = ", ".join(f"{count} {name}" + "s" * (count != 1) for name, count in counts.items())
    return "\n\n".join([*(_stage(report.name, stage) for stage in report.stages), f"{report.name}: {totals}"])


def _stage(name: str, stage: StageReport) -> str:
    """One stage; its files are shown relative to the current folder, where that is shorter."""
    text = _full(name, stage)
    for file in sorted(stage.files, key=len, reverse=True):
        near = os.path.relpath(file) if Path(file).is_absolute() else file
        text = text.replace(file, min(near, file, key=len))
    return text


def _full(name: str, stage: StageReport) -> str:
    files = [f"  {count:>9,}  {file}" for file, count in stage.files.items()]
    parts = [
        "\n".join([f"{name}, stage {stage.stage}: {sum(stage.files.values()):,} records", *files]),
        table([["split", "rows", *next(iter(stage.counts.values()), {})], *_count_lines(stage)]),
        table([_LENGTH_HEADS, *map(_length_line, stage.lengths)]),
        "\n".join(map(_finding, stage.findings)) or "nothing found",
    ]
    return "\n\n".join(part for part in parts if part)


def _count_lines(stage: StageReport) -> list[list[str]]:
    lines = []
    for split, counts in stage.counts.items():
        rows = stage.rows[split]
        lines.append(
            [split, f"{rows:,}", *(f"{count:,} ({100 * count / max(1, rows):.1f} %)" for count in counts.values())]
        )
    return lines


_LENGTH_HEADS = [
    "label",
    "rows",
    "words: median",
    "p95",
    "max",
    "tokens: median",
    "p95",
    "max",
    "rows cut",
    "tokens cut",
]


def _length_line(line: dict[str, Any]) -> list[str]:
    tokens = "tokens_median" in line
    return [
        line["label"],
        f"{line['rows']:,}",
        *(f"{line[f'words_{figure}']:,}" for figure in ("median", "p95", "max")),
        *(f"{line[f'tokens_{figure}']:,}" if tokens else "-" for figure in ("median", "p95", "max")),
        *(f"{100 * line[name]:.1f} %" if tokens else "-" for name in ("rows_cut", "tokens_cut")),
    ]


def _finding(finding: Finding) -> str:
    examples = [f"           {example}" for example in finding.examples]
    return "\n".join(
        [f"{finding.severity:<8} {finding.check}: {finding.what}", *examples, f"           do: {finding.do}"]
    )
