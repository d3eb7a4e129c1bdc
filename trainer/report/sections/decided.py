"""What was decided on the validation rows: thresholds, and which rows are not answered."""

from typing import Any

from trainer.contract.visible import cut, visible
from trainer.report.blocks import (
    Block,
    Cell,
    Heading,
    Missing,
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
from trainer.report.gather import Evidence
from trainer.report.sections.summary import signed
from trainer.report.words import metric_name, once

# Labels that get a chart of their own; thresholds in the table.
_CHARTS, _THRESHOLDS = 4, 100


def decide_command(evidence: Evidence, what: str) -> Missing:
    """What fits decisions, and measures with them; a bundle is of the decisions that it was exported with."""
    then = "" if evidence.manifest is None else " (A bundle is then exported anew.)"
    return Missing(what=what + then, command=evidence.typed("classifact decide RUN && classifact evaluate RUN"))


def decided(evidence: Evidence) -> Section:
    """Thresholds and abstaining."""
    found, title = evidence.decisions, "Thresholds and abstaining"
    if found is None:
        what = (
            "Nothing was decided: the likeliest label wins (of several labels, each above 0.5), and every row is "
            "answered."
        )
        return Section(key="decisions", title=title, blocks=[decide_command(evidence, what)])
    blocks: list[Block] = [
        Paragraph(found["chose_checkpoint"]["said"]),
        *_groups(found["groups"]),
        *_abstain(found),
        Heading("Thresholds"),
        *_thresholds(found),
    ]
    if found["promises"]:
        blocks.append(_promises(found))
    # Where something is promised, figures are of the rows that tested it.
    of = (
        "cross-fitted on the validation rows" if found["estimate"]["folds"] else "on validation rows that chose nothing"
    )
    fitted = f"Each metric before and after, {of}, with the 95 % interval of the gain"
    blocks += [Heading("What the decisions gain"), _gains(found["estimate"]["metrics"], fitted)]
    gained = (evidence.test or {}).get("decisions")
    if gained is not None:
        blocks.append(_gains(gained["metrics"], "The same on the test rows, which nothing was fitted on"))
    terms = {
        "coverage": "The share of rows that is answered. The rest is left to a person.",
        "certified": "Shown on rows that chose nothing: whatever the model is like, such a point is named wrongly "
        "with at "
        "most the stated chance (Learn then Test, Angelopoulos et al. 2021, exact binomial bounds). It holds "
        "for rows like those it was shown on.",
        "cross-fitted": "Each row is decided by thresholds that other rows chose, so that no row judges itself.",
    }
    return Section(key="decisions", title=title, blocks=[*blocks, Terms(terms=terms)])


def _groups(found: dict[str, Any] | None) -> list[Block]:
    if found is None:
        return []
    told = f"The validation rows come in {found['count']:,} groups by {cut(visible(found['column']), 40)!r}"
    return [Paragraph(f"{told}: a group fits or tests, never both, and intervals are by group.")]


def _abstain(found: dict[str, Any]) -> list[Block]:
    curve, abstain = found["curves"]["coverage"], found["abstain"]
    blocks: list[Block] = [Heading("Abstaining")]
    mark = None
    if abstain is None:
        blocks.append(Paragraph("Every row is answered."))
    else:
        said = abstain["said"]
        blocks.append(
            Paragraph(
                f"{said[0].upper()}{said[1:]}: rows of less confidence than {abstain['below']:.3f} are not answered.",
                strong=True,
            )
        )
        coverage = abstain["coverage"]["value"]
        error = abstain["wrong"] / abstain["answered"] if abstain["answered"] else None
        if coverage is not None and error is not None:
            mark = (coverage, error, "certified point")
    points = sorted(
        zip(curve["coverage"], curve["error"], curve["bound"], strict=True), key=lambda point: point[0] or 0
    )
    x = [point[0] or 0.0 for point in points]
    lines = [
        Line(name="share wrong", x=x, y=[point[1] for point in points]),
        Line(name="upper bound", x=x, y=[point[2] for point in points]),
    ]
    says = "The share of wrong rows among those answered, by the share that is answered, on validation rows."
    blocks.append(
        chart(
            Plot(
                name="coverage",
                title="Coverage and risk",
                says=says,
                x="share of rows answered",
                y="share wrong",
                lines=lines,
                shares=(True, False),
                mark=mark,
            )
        )
    )
    return blocks


def _thresholds(found: dict[str, Any]) -> list[Block]:
    blocks: list[Block] = []
    chosen = {one["label"]: one for one in found["thresholds"] or []}
    charts = []
    # Of a label whose probability is the same for all rows there is nothing to draw.
    curves = [curve for curve in found["curves"]["thresholds"] if len(curve["threshold"]) > 1]
    for place, curve in enumerate(curves[:_CHARTS]):
        lines = [Line(name=name, x=curve["threshold"], y=curve[name]) for name in ("precision", "recall", "f1")]
        own = chosen.get(curve["label"], {}).get("threshold")
        says = "Precision, recall and F1 of the label by its threshold, on the validation rows" + (
            f"; chosen: {own:.3f}." if own is not None else "."
        )
        charts.append(
            chart(
                Plot(
                    name=f"threshold-{place}",
                    title=f"Threshold of {curve['label'][:40]}",
                    says=says,
                    x="threshold",
                    y="",
                    lines=lines,
                    shares=(True, True),
                    upright=own,
                )
            )
        )
    if charts:
        blocks.append(Side(charts))
    if found["thresholds"] is None:
        return [
            *blocks,
            Paragraph("The usual thresholds hold: the likeliest label wins, of several labels each above 0.5."),
        ]
    rows: list[list[Cell]] = [
        [
            Strange(one["label"]),
            number(one["threshold"]),
            one["rule"],
            count(one["rows"]),
            Strange(one["note"] or "", 200),
        ]
        for one in found["thresholds"][:_THRESHOLDS]
    ]
    return [
        *blocks,
        Table(
            caption="The threshold of each label",
            heads=["label", "threshold", "by", "rows", "note"],
            rows=rows,
            stack=True,
        ),
    ]


def _promises(found: dict[str, Any]) -> Table:
    rows: list[list[Cell]] = [
        [
            Strange(one["label"]),
            one["figure"],
            Range(value=one["value"], low=one["bound"], high=1.0),
            f"at least {one['least']:.3f} at {one['level']:.0%}".replace("%", " %"),
            Strange(one["said"], 300),
        ]
        for one in found["promises"][:_THRESHOLDS]
    ]
    return Table(
        caption="What was promised, and shown",
        heads=["label", "figure", "value and its bound", "promised", "said"],
        rows=rows,
        stack=True,
    )


def _gains(metrics: dict[str, Any], caption: str) -> Table:
    rows: list[list[Cell]] = []
    for name, figure in once(metrics).items():
        gain = figure["gain"]
        told = f"{signed(gain['value'])} ({signed(gain['low'])} to {signed(gain['high'])})"
        rows.append([metric_name(name), number(figure["before"]), number(figure["after"]), told])
    return Table(caption=caption, heads=["metric", "before", "after", "gain"], rows=rows, stack=True)
