"""ROC and precision-recall, and whether probabilities mean what they say."""

from typing import Any

from trainer.contract.figures.exact import interval
from trainer.report.blocks import Block, Paragraph, Section, Side, Terms
from trainer.report.charts.plot import MOST_LINES, Line, Plot, chart
from trainer.report.gather import Evidence
from trainer.report.sections.decided import decide_command
from trainer.report.sections.figures import missing
from trainer.report.words import TERMS, metric_name


def ranking(evidence: Evidence) -> Section:
    """Both curves of the labels with most rows."""
    figures, title = evidence.figures, "Ranking: ROC and precision-recall"
    found = [] if figures is None else figures["curves"]
    if figures is None:
        return Section(key="ranking", title=title, blocks=[missing(evidence, "No curves were made yet.")])
    if not found:
        return Section(
            key="ranking", title=title, blocks=[Paragraph("No label has rows on both sides, so there is no curve.")]
        )
    support = {label["label"]: label["support"] for label in figures["per_class"]}
    chosen = sorted(found, key=lambda curve: -support.get(curve["label"], 0))[:MOST_LINES]
    auc = figures["intervals"].get("roc_auc", {}).get("value")
    roc = [Line(name=c["label"], x=c["roc"]["false_positive_rate"], y=c["roc"]["true_positive_rate"]) for c in chosen]
    both = [
        Line(name=c["label"], x=c["precision_recall"]["recall"], y=c["precision_recall"]["precision"]) for c in chosen
    ]
    area = "undefined" if auc is None else f"{auc:.3f}"
    blocks: list[Block] = []
    if len(found) > len(chosen) or len(figures["labels"]) > len(found) > 1:
        blocks.append(Paragraph(f"The {len(chosen)} labels with most rows, each against all others."))
    blocks.append(
        Side(
            [
                chart(
                    Plot(
                        name="roc",
                        title="ROC",
                        says="The share of rows with the label that is found, by the share of others that is given "
                        f"it wrongly, as the threshold falls. ROC-AUC {area}; the dotted line is chance.",
                        x="false positive rate",
                        y="true positive rate",
                        lines=roc,
                        shares=(True, True),
                        diagonal=True,
                    )
                ),
                chart(
                    Plot(
                        name="precision-recall",
                        title="Precision and recall",
                        says="The precision that is left, by the recall that is reached, as the threshold falls.",
                        x="recall",
                        y="precision",
                        lines=both,
                        shares=(True, True),
                    )
                ),
            ]
        )
    )
    terms = {metric_name(name): TERMS[name] for name in ("roc_auc", "precision", "recall", "average_precision")}
    return Section(key="ranking", title=title, blocks=[*blocks, Terms(terms=terms)])


def calibration(evidence: Evidence) -> Section:
    """Reliability before and after the temperature."""
    figures, decisions, title = evidence.figures, evidence.decisions, "Calibration"
    blocks: list[Block] = []
    if figures is None:
        blocks.append(missing(evidence, "Nothing is known of the probabilities on test rows yet."))
    ece = {} if figures is None else figures["intervals"].get("ece", {})
    if figures is not None and ece.get("value") is not None:
        blocks.append(
            Paragraph(
                f"Expected calibration error {ece['value']:.3f} (95 % interval {ece['low']:.3f} to "
                f"{ece['high']:.3f}) on {figures['rows']:,} {figures['split']} rows, of "
                f"{figures['calibration']['of']}."
            )
        )
    charts = [] if figures is None or not figures["calibration"]["reliability"] else [_reliability(figures)]
    if decisions is not None:
        charts.append(_before_after(decisions))
    blocks += [Side(charts)] if charts else []
    blocks += _temperature(evidence)
    terms = {
        metric_name("ece"): TERMS["ece"],
        "reliability diagram": "Rows are put into bins by their probability. On the dotted line, what gets 0.8 comes "
        "true in eight of ten. Below it the model is too sure, above it not sure enough.",
        "temperature": "One number that all logits are divided by. It makes probabilities milder (above 1) or sharper "
        "(below 1) and changes no decision that takes the likeliest label.",
    }
    return Section(key="calibration", title=title, blocks=[*blocks, Terms(terms=terms)])


def _temperature(evidence: Evidence) -> list[Block]:
    decisions = evidence.decisions
    if decisions is None:
        return [decide_command(evidence, "No temperature was fitted: the probabilities are as training left them.")]
    found = decisions["temperature"]
    if found is None:
        return [Paragraph("No temperature was asked for, so before and after are the same.")]
    return [Paragraph(f"Temperature {found['value']:.3f}. {found['said']}")]


def _reliability(figures: dict[str, Any]) -> Any:
    bins = figures["calibration"]["reliability"]
    line = Line(
        name="share that came true, with its exact 95 % interval",
        x=[one["probability"] for one in bins],
        y=[one["share"] for one in bins],
        low=[one["share_low"] for one in bins],
        high=[one["share_high"] for one in bins],
        points=True,
    )
    says = (
        f"{len(bins)} bins of equally many probabilities, of {figures['calibration']['of']}. The shaded band is "
        "where the true share may lie; the dotted line is where it should."
    )
    return chart(
        Plot(
            name="reliability",
            title=f"As it decides now, on the {figures['split']} rows",
            says=says,
            x="probability",
            y="share that came true",
            lines=[line],
            shares=(True, True),
            diagonal=True,
        )
    )


def _before_after(decisions: dict[str, Any]) -> Any:
    lines = []
    for name in ("before", "after"):
        bins = decisions["curves"]["calibration"][name]
        ends = [interval(round(one["right"] * one["rows"]), one["rows"]) for one in bins]
        lines.append(
            Line(
                name=name,
                x=[one["confidence"] for one in bins],
                y=[one["right"] for one in bins],
                low=[low for low, _ in ends],
                high=[high for _, high in ends],
                points=True,
            )
        )
    says = (
        "The share that is right by confidence, on the validation rows, before and after the temperature, with exact "
        "95 % bands. Each "
        "row is judged by a temperature that other rows chose."
    )
    return chart(
        Plot(
            name="before-after",
            title="Before and after the temperature, on validation rows",
            says=says,
            x="confidence",
            y="share right",
            lines=lines,
            shares=(True, True),
            diagonal=True,
        )
    )
