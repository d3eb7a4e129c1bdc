"""How the run went: curves of every stage, and what a search tried."""

from itertools import groupby
from statistics import fmean
from typing import Any

from trainer.contract.redact import file_names
from trainer.report.blocks import (
    Block,
    Cell,
    Heading,
    Paragraph,
    Range,
    Section,
    Side,
    Strange,
    Table,
    Terms,
    count,
    number,
)
from trainer.report.charts.plot import Line, Plot, chart
from trainer.report.gather import Evidence, Step
from trainer.report.words import metric_name, plural

# Steps are averaged over so many parts of a stage; trials in the table and settings in a row.
_PARTS, _TRIALS, _SETTINGS = 60, 50, 6


def learning(evidence: Evidence) -> Section:
    """Curves and trials."""
    blocks: list[Block] = []
    if not evidence.steps and not evidence.evaluations:
        blocks.append(Paragraph("The run keeps no log of its steps (metrics.jsonl is missing or empty)."))
    else:
        blocks.append(Side([_loss(evidence), _metric(evidence)]))
        best = evidence.checkpoint
        why = (
            "it is the last one"
            if evidence.is_refit
            else f"it has the best {metric_name(evidence.metric)} on the validation rows"
        )
        stage = evidence.training.get("stage", best.stage + 1)
        blocks.append(Paragraph(f"The checkpoint of step {best.step:,} (stage {stage}) was kept: {why}."))
    blocks += [Heading("Search"), *_search(evidence)]
    blocks.append(
        Terms(
            terms={
                "learning curve": "The loss on the rows that the model learns from, and on rows that it does not. "
                "Where the first "
                "falls and the second rises, the model learns its rows by heart.",
                "stage": "A part of the training with settings of its own, such as which layers learn.",
            }
        )
    )
    return Section(key="learning", title="How it learned", blocks=blocks)


def _loss(evidence: Evidence) -> Any:
    lines = []
    for stage, steps in groupby(evidence.steps, key=lambda step: step.stage):
        x, y = _averaged(list(steps))
        lines.append(Line(name=f"training, stage {stage}", x=x, y=y))
    found = evidence.evaluations
    lines.append(
        Line(name="validation", x=[one["step"] for one in found], y=[one.get("loss") for one in found], points=True)
    )
    says = "The loss by step. " + (
        f"On the validation rows it goes from {_told(found[0].get('loss'))} to {_told(found[-1].get('loss'))}."
        if found
        else ""
    )
    return chart(
        Plot(
            name="loss",
            title="Loss by step",
            says=says,
            x="step",
            y="loss",
            lines=lines[-6:],
            upright=evidence.checkpoint.step,
        )
    )


def _metric(evidence: Evidence) -> Any:
    found, metric = evidence.evaluations, evidence.metric
    line = Line(
        name=metric_name(metric), x=[one["step"] for one in found], y=[one.get(metric) for one in found], points=True
    )
    says = (
        f"{metric_name(metric)} on the validation rows after each evaluation; the broken line is the checkpoint "
        f"that was kept, {_told(evidence.checkpoint.value)}."
    )
    plot = Plot(
        name="metric",
        title=f"{metric_name(metric)} on the validation rows",
        says=says,
        x="step",
        y=metric_name(metric),
        lines=[line],
        upright=evidence.checkpoint.step,
    )
    return chart(plot)


def _averaged(steps: list[Step]) -> tuple[list[float], list[float | None]]:
    """Means of neighbours: single steps are noise, and a run may have a million."""
    size = max(1, -(-len(steps) // _PARTS))
    parts = [steps[start : start + size] for start in range(0, len(steps), size)]
    means = [[step.loss for step in part if step.loss is not None] for part in parts]
    return [fmean(step.step for step in part) for part in parts], [fmean(part) if part else None for part in means]


def _told(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"


def _search(evidence: Evidence) -> list[Block]:
    found = evidence.search
    if found is None and evidence.is_refit:
        told = f"{plural(evidence.splits['refit'].get('trials', 0), 'trial')} of a search chose the settings"
        return [Paragraph(f"{told}; its table is on the page of the search, in the folder above this run's.")]
    if found is None:
        return [Paragraph("The settings are the recipe's own: no search chose them.")]
    trials = sorted(found["trials"], key=lambda trial: (trial["value"] is None, trial["value"] or 0), reverse=False)
    if found["direction"] == "maximize":
        trials = sorted(trials, key=lambda trial: (trial["value"] is None, -(trial["value"] or 0)))
    keys = list(found["best"]["settings"])[:_SETTINGS]
    rows: list[list[Cell]] = [
        [
            count(trial["number"]),
            trial["state"],
            number(trial["value"], 4),
            count(trial["epochs"]),
            *(_setting(key, trial["settings"].get(key)) for key in keys),
        ]
        for trial in trials[:_TRIALS]
    ]
    blocks: list[Block] = [
        Paragraph(
            f"{plural(len(trials), 'trial')} by {found['sampler']}; {found['states']['pruned']:,} ended early. The "
            "best has "
            f"{found['metric']} {_told(found['best']['value'])} on the validation rows, which it was chosen on: the "
            "test figures are lower as a rule."
        ),
        _trials_chart(found),
        Table(
            caption=f"Trials, the best first{f' ({_TRIALS} of {len(trials):,})' if len(trials) > _TRIALS else ''}",
            heads=["trial", "state", str(found["metric"]), "epochs", *(Strange(key, 50) for key in keys)],
            rows=rows,
            stack=True,
        ),
    ]
    if found["importances"]:
        weights: list[list[Cell]] = [
            [Strange(key, 80), Range(value=share)] for key, share in found["importances"].items()
        ]
        blocks.append(
            Table(
                caption="How much of the difference between trials each setting explains",
                heads=["setting", "importance, of 1"],
                rows=weights,
            )
        )
    return blocks


def _trials_chart(found: dict[str, Any]) -> Any:
    done = [trial for trial in found["trials"] if trial["value"] is not None]
    line = Line(
        name="trial",
        x=[trial["number"] for trial in done],
        y=[trial["value"] for trial in done],
        points=True,
        joined=False,
    )
    best = found["best"]
    says = (
        f"{found['metric']} of {plural(len(done), 'finished trial')}; the best is trial {best['number']} with "
        f"{_told(best['value'])}."
    )
    return chart(
        Plot(
            name="trials",
            title="Trials of the search",
            says=says,
            x="trial",
            y=str(found["metric"]),
            lines=[line],
            mark=(best["number"], best["value"], "best"),
        )
    )


def _setting(key: str, value: Any) -> Any:
    if key == "model.name":
        # A folder's name is enough: where it lies is nobody's who gets the page.
        value = file_names([value])[value]
    return (
        number(value, 6)
        if isinstance(value, float) and abs(value) < 1e-3
        else Strange(f"{value:.3g}" if isinstance(value, float) else str(value), 30)
    )
