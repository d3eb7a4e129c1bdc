"""A run to its page: read, look, explain, write."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainer.checks import lint
from trainer.checks.lint import SEVERITIES
from trainer.contract.system.files import atomic_file
from trainer.contract.system.progress import QUIET, Progress
from trainer.contract.visible import cut, visible
from trainer.report.examples import explain_examples
from trainer.report.gather import Evidence, gather_evidence
from trainer.report.page import render_page
from trainer.report.rows import see
from trainer.report.sections import SECTIONS
from trainer.report.sections.confusion import asked_pairs
from trainer.report.verdict import rules, verdict
from trainer.report.words import metric_name

REPORT = "report.html"
# Rows of files that lint looks at for the page: it holds them in memory, and a million take minutes.
_LINTED = 200_000
# Labels that are named under the title.
_NAMED = 8


@dataclass(frozen=True, kw_only=True)
class ReportJob:
    """What `classifact report` was asked for."""

    run: Path
    """The run directory."""
    bundle: Path | None = None
    """What was exported of it."""
    scores: Path | None = None
    """The report of a file that was scored with the bundle."""
    examples: int = 4
    """Rows to explain on torch; 0: none."""
    texts: bool = True
    """Whether texts of rows stand on the page."""
    lint: bool = True
    """Whether the rows are looked at again."""


def report(job: ReportJob, progress: Progress = QUIET) -> dict[str, Any]:
    """Write RUN/report.html; gives the verdict and where the page is. An earlier page of ours is replaced.

    Raises InputError and ArtifactError for a run, bundle or report that cannot be read or does not belong together.
    """
    evidence = gather_evidence(job.run, job.bundle, job.scores)
    evidence = replace(evidence, texts=job.texts)
    evidence = _linted(evidence, progress) if job.lint else replace(evidence, unread="--no-lint was given")
    evidence = _seen(evidence, job, progress)
    page = render_page(evidence.recipe.name, _lead(evidence), [make(evidence) for make in SECTIONS])
    out = job.run / REPORT
    with atomic_file(out) as file:
        file.write(page)
    found = rules(evidence)
    word, why = verdict(found)
    return {
        "report": str(out),
        "verdict": word,
        "why": why,
        "rules": {rule.name: rule.holds for rule in found},
        "bytes": len(page),
    }


def _lead(evidence: Evidence) -> str:
    space, rows = evidence.space, evidence.splits["splits"]
    kind = "one of" if space.kind == "single" else "any of"
    names = ", ".join(cut(visible(name), 40) for name in space.names[:_NAMED])
    names += f" and {len(space) - _NAMED:,} more" if len(space) > _NAMED else ""
    parts = ", ".join(f"{part['rows']:,} {name}" for name, part in rows.items())
    best = f"The checkpoint with the best {metric_name(evidence.metric, space)} on the validation rows was kept."
    kept = "Trained anew with the settings of a search, and its last weights kept." if evidence.is_refit else best
    return f"A text classifier that gives each row {kind} {len(space):,} labels: {names}. Rows: {parts}. {kept}"


def _linted(evidence: Evidence, progress: Progress) -> Evidence:
    rows = int(evidence.splits["rows_read"])
    gone = [each["file"] for each in evidence.splits.get("files", []) if not Path(each["file"]).is_file()]
    if gone:
        return replace(evidence, unread=f"{Path(gone[0]).name} is not where it was")
    if rows > _LINTED:
        return replace(evidence, unread=f"of {rows:,} rows that takes a while")
    with progress.step("looking at the labelled files"):
        found = lint.lint(evidence.recipe)
    findings = [finding for stage in found.stages for finding in stage.findings]
    return replace(evidence, findings=sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def _seen(evidence: Evidence, job: ReportJob, progress: Progress) -> Evidence:
    figures = evidence.figures
    if figures is None:
        return evidence
    with progress.step(f"reading what it said of {figures['rows']:,} {figures['split']} rows"):
        rows = see(evidence.run, figures, evidence.space, asked_pairs(figures), job.examples)
    evidence = replace(evidence, seen=rows)
    if not job.texts or not rows.examples:
        return evidence
    split = evidence.run / "splits" / f"{figures['split']}.jsonl"
    with progress.step(f"explaining {len(rows.examples)} rows on torch", len(rows.examples)) as tick:
        return replace(evidence, explained=explain_examples(split, evidence.checkpoint, rows.examples, tick))
