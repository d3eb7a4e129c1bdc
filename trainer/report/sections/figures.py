"""Every metric with its interval, each label, and the same by group and without known rows."""

from typing import Any

from trainer.contract.figures.metrics import LOWER_IS_BETTER
from trainer.contract.labels import LabelSpace
from trainer.report.blocks import Block, Cell, Heading, Missing, Paragraph, Range, Section, Strange, Table, Terms, count
from trainer.report.gather import Evidence
from trainer.report.sections.summary import ranged
from trainer.report.verdict import BASELINES
from trainer.report.words import INTERVAL, TERMS, metric_name, once, plural

# Labels with a row of their own: the worst of more.
_LABELS = 100
_LOWER = LOWER_IS_BETTER | {"brier", "ece", "hamming_loss"}


def measured(evidence: Evidence) -> Section:
    """The figures of the split."""
    figures = evidence.figures
    if figures is None:
        what = "Nothing was measured yet."
        return Section(key="metrics", title="Metrics", blocks=[missing(evidence, what)])
    others = [evidence.validation] if evidence.test is not None and evidence.validation is not None else []
    blocks: list[Block] = [
        Paragraph(
            f"{plural(figures['rows'], figures['split'] + ' row')}, measured in fp32 with torch. "
            f"{plural(int(figures['truncation'].get('rows_cut', 0)), 'row')} had more tokens than the model reads."
        ),
        _all(figures, others, evidence.space),
    ]
    if figures["by_group"] is not None:
        blocks += _by_group(figures)
    blocks += _without_known(figures)
    blocks += [Heading("Each label"), *_labels(figures)]
    blocks.append(
        Terms(
            terms={
                **{metric_name(name): TERMS[name] for name in figures["intervals"] if name in TERMS},
                "95 % interval": INTERVAL,
            }
        )
    )
    return Section(key="metrics", title="Metrics", blocks=blocks)


def missing(evidence: Evidence, what: str) -> Missing:
    """What `evaluate` makes."""
    return Missing(what=what, command=evidence.typed("classifact evaluate RUN"))


def _all(figures: dict[str, Any], others: list[dict[str, Any]], space: LabelSpace) -> Table:
    rows: list[list[Cell]] = []
    for name, figure in once(figures["intervals"]).items():
        told = metric_name(name, space) + (" (lower is better)" if name in _LOWER else "")
        cells: list[Cell] = [told, ranged(figure)]
        for key in BASELINES:
            baseline = ((figures["baselines"] or {}).get(key) or {}).get("metrics", {}).get(name)
            cells.append("" if baseline is None else ranged(baseline))
        cells += [ranged(other["intervals"].get(name)) for other in others]
        rows.append(cells)
    heads = ["metric", f"{figures['split']} rows", *BASELINES.values(), *(f"{other['split']} rows" for other in others)]
    return Table(caption="Every metric with its 95 % interval", heads=heads, rows=rows, stack=True)


def _by_group(figures: dict[str, Any]) -> list[Block]:
    found = figures["by_group"]
    told = (
        f"Rows come in {found['groups']:,} groups by {found['column']!r}, the largest of {found['largest']:,} rows. "
        "Rows of "
        "one group resemble each other, so the intervals by group are the honest ones for rows of new groups."
    )
    rows: list[list[Cell]] = [
        [metric_name(name), ranged(figures["intervals"].get(name)), ranged(figure)]
        for name, figure in once(found["intervals"]).items()
    ]
    table = Table(
        caption="Intervals by row and by group", heads=["metric", "by row", "by group"], rows=rows, stack=True
    )
    return [Heading("By group"), Paragraph(told), table]


def _without_known(figures: dict[str, Any]) -> list[Block]:
    known = figures["also_in_train"]
    if not known["rows"]:
        return [Paragraph("None of these rows stands in the training rows as well.")]
    told = f"{plural(known['rows'], 'of these rows also stands', 'of these rows also stand')} in the training rows."
    if known["metrics_without"] is None:
        return [Paragraph(told, strong=True)]
    rows: list[list[Cell]] = [
        [metric_name(name), ranged(figures["intervals"].get(name)), ranged(figure)]
        for name, figure in once(known["metrics_without"]).items()
    ]
    table = Table(
        caption="The figures without rows that were learnt by heart",
        stack=True,
        heads=["metric", "all rows", "without them"],
        rows=rows,
    )
    return [Heading("Without rows that it has seen"), Paragraph(told, strong=True), table]


def _labels(figures: dict[str, Any]) -> list[Block]:
    labels = figures["per_class"]
    shown = labels if len(labels) <= _LABELS else sorted(labels, key=lambda label: label["f1"])[:_LABELS]
    rows: list[list[Cell]] = [
        [
            Strange(label["label"]),
            Range(value=label["precision"]),
            Range(value=label["recall"]),
            Range(value=label["f1"]),
            count(label["support"]),
        ]
        for label in shown
    ]
    table = Table(
        caption="Precision, recall and F1 of each label",
        stack=True,
        heads=["label", "precision", "recall", "F1", "rows"],
        rows=rows,
    )
    if len(shown) == len(labels):
        return [table]
    return [
        Paragraph(
            f"The {_LABELS} labels with the lowest F1, of {len(labels):,}; {figures['split']}_metrics.json has all."
        ),
        table,
    ]
