"""Where it fails: slices of the rows, and small changes of a text."""

from typing import Any

from trainer.report.blocks import Block, Cell, Heading, Number, Paragraph, Section, State, Strange, Table, Terms, count
from trainer.report.gather import Evidence
from trainer.report.sections.figures import missing
from trainer.report.sections.summary import ranged
from trainer.report.words import metric_name

# Slices in the table: the worst of more.
_SLICES = 80


def slices(evidence: Evidence) -> Section:
    """Slices by what texts are like, by columns, and those that a tree found."""
    figures, title = evidence.figures or {}, "Slices"
    found, worst = figures.get("slices"), figures.get("worst_slices")
    if found is None and worst is None:
        return Section(key="slices", title=title, blocks=[missing(evidence, "No slices were measured.")])
    blocks: list[Block] = []
    if found is not None:
        blocks += _given(found)
    if worst is not None:
        blocks += [Heading("Where a tree finds most errors"), *_tree(worst)]
    terms = {
        "slice": "The rows that have something in common, such as long texts.",
        "shown to be worse": "The difference is more than chance would make, allowing for how many slices were looked "
        "at (Holm 1979): "
        "with twenty slices, one looks bad by chance alone.",
        "undefined": "The slice has so few rows of a label (fewer than ten) that the figure would say nothing of it.",
    }
    return Section(key="slices", title=title, blocks=[*blocks, Terms(terms=terms)])


def _given(found: dict[str, Any]) -> list[Block]:
    parts = sorted(
        found["found"],
        key=lambda part: (
            not part["flagged"],
            part["accuracy"]["value"] if part["accuracy"]["value"] is not None else 2,
        ),
    )
    rows: list[list[Cell]] = [
        [
            _flag(part),
            Strange(f"{part['by']}: {part['value']}", 100),
            count(part["rows"]),
            count(part["wrong"]),
            ranged(part["accuracy"]),
            ranged(part["metric"]),
            _p(part["p_adjusted"]),
        ]
        for part in parts[:_SLICES]
    ]
    more = f" (the {_SLICES} worst of {len(parts):,})" if len(parts) > _SLICES else ""
    told = f"{found['tested']:,} slices of {found['least_rows']:,} rows or more were tested: {found['test']}."
    heads = ["", "slice", "rows", "wrong", "right", metric_name(found["metric"]), "p, adjusted"]
    return [Paragraph(told), Table(caption=f"Slices of the rows{more}", heads=heads, rows=rows, stack=True)]


def _tree(worst: dict[str, Any]) -> list[Block]:
    if not worst["found"]:
        return [
            Paragraph(
                "There are too few errors to look for where they gather."
                if not worst["found_on"]
                else "No part of the rows stands out."
            )
        ]
    rows: list[list[Cell]] = [
        [
            _flag(part),
            Strange(part["rule"], 200),
            count(part["rows"]),
            count(part["wrong"]),
            ranged(part["accuracy"]),
            _p(part["p_adjusted"]),
        ]
        for part in worst["found"][:_SLICES]
    ]
    told = f"{worst['method'][0].upper()}{worst['method'][1:]}"
    heads = ["", "rows where", "rows", "wrong", "right", "p, adjusted"]
    return [
        Paragraph(told.rstrip(".") + "."),
        Table(caption="The worst parts, checked on rows that did not find them", heads=heads, rows=rows, stack=True),
    ]


def _p(value: float | None) -> Number:
    return Number(value=value, shown="not tested" if value is None else f"{value:.4f}")


def _flag(part: dict[str, Any]) -> State:
    return (
        State(holds=False, word="shown to be worse")
        if part["flagged"]
        else State(holds=True, word="not shown to be worse")
    )


def robustness(evidence: Evidence) -> Section:
    """Flips under small changes."""
    found, title = (evidence.figures or {}).get("robustness"), "Robustness"
    if found is None:
        return Section(
            key="robustness",
            title=title,
            blocks=[missing(evidence, "No text was changed to see whether its decision flips.")],
        )
    rows: list[list[Cell]] = [
        [
            Strange(kind["kind"], 40),
            Strange(kind["about"], 160),
            count(kind["rows"]),
            count(kind["same_tokens"]),
            count(kind["flips"]),
            ranged(kind["share"]),
        ]
        for kind in sorted(found["kinds"], key=lambda kind: -(kind["share"]["value"] or 0))
    ]
    told = (
        f"Up to {found['sample']:,} rows of each kind were changed in a way that a reader would hardly notice, one "
        "way at a time. A flip is another decision."
    )
    table = Table(
        caption="Share of decisions that flip, with exact 95 % intervals",
        stack=True,
        heads=["change", "how", "rows", "same tokens", "flips", "share that flips"],
        rows=rows,
    )
    terms = {"same tokens": "The model reads the changed text exactly as the first one, so that nothing can flip."}
    return Section(key="robustness", title=title, blocks=[Paragraph(told), table, Terms(terms=terms)])
