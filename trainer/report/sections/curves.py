"""ROC and precision-recall, and whether probabilities mean what they say."""

from typing import Any

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
                f"Expected calibration error {_ended(ece)} on {figures['rows']:,} {figures['split']} rows, of "
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
    before, after = (_ended(found["ece"][name]) for name in ("before", "after"))
    told = f"Temperature {found['value']:.3f} ({found['said']}). On the validation rows the calibration error is "
    return [Paragraph(f"{told}{before} before and {after} after it.")]


def _ended(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return "undefined"
    return f"{figure['value']:.3f} (95 % interval {figure['low']:.3f} to {figure['high']:.3f})"


_BAND = (
    "The shaded band is where the true share may lie: 95 % of resampled rows, or the exact interval where a bin has "
    "fewer than five on one side"
)


def _bins(name: str, bins: list[dict[str, Any]]) -> Line:
    """A bin a point, with its band."""
    return Line(
        name=name,
        x=[one["probability"] for one in bins],
        y=[one["share"] for one in bins],
        low=[one["share_low"] for one in bins],
        high=[one["share_high"] for one in bins],
        points=True,
    )


def _reliability(figures: dict[str, Any]) -> Any:
    bins = figures["calibration"]["reliability"]
    says = (
        f"{len(bins)} bins of equally many probabilities, of {figures['calibration']['of']}. {_BAND}; the dotted line "
        "is where it should."
    )
    return chart(
        Plot(
            name="reliability",
            title=f"As it decides now, on the {figures['split']} rows",
            says=says,
            x="probability",
            y="share that came true",
            lines=[_bins("share that came true", bins)],
            shares=(True, True),
            diagonal=True,
        )
    )


def _before_after(decisions: dict[str, Any]) -> Any:
    found = decisions["curves"]["calibration"]
    how = (
        "Each row is judged by a temperature that other rows chose."
        if decisions["estimate"]["folds"]
        else "Of rows that did not choose the temperature."
    )
    says = (
        "The share that came true by probability, on the validation rows, before and after the temperature, of "
        f"{found['of']}. {_BAND}. {how}"
    )
    return chart(
        Plot(
            name="before-after",
            title="Before and after the temperature, on validation rows",
            says=says,
            x="probability",
            y="share that came true",
            lines=[_bins(name, found[name]) for name in ("before", "after")],
            shares=(True, True),
            diagonal=True,
        )
    )
