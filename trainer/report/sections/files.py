"""The files that run: every precision of the bundle, with its gate, its speed and its size."""

from typing import Any

from trainer.report.blocks import (
    Block,
    Heading,
    Missing,
    Number,
    Paragraph,
    Section,
    State,
    Strange,
    Table,
    Terms,
    percent,
)
from trainer.report.gather import Evidence
from trainer.report.sections.summary import bundle_command
from trainer.report.verdict import compared_rows


def precisions(evidence: Evidence) -> Section:
    """Parity, speed and size of each file."""
    found, title = evidence.manifest, "Every precision"
    if found is None:
        return Section(
            key="precisions",
            title=title,
            blocks=[Missing(what="No bundle was given.", command=bundle_command(evidence))],
        )
    rows = [_graph(name, graph) for name, graph in found["graphs"].items()]
    heads = [
        "precision",
        "gate",
        "size",
        "same decision",
        "largest probability difference",
        "drop of the metric",
        "rows a second",
        "times as fast",
    ]
    some = next(iter(found["graphs"].values()))
    of = ", of the validation rows" if some["parity"].get("unlabelled_rows") else ""
    told = (
        f"Bundle {found['name']}. Each file was compared with torch in fp32 on {compared_rows(some['parity'])}; "
        f"metric: {some['parity']['metric']}{of}. "
        "Speed was measured at export on a processor with "
        f"{', '.join(sorted({graph['instruction_set'] for graph in found['graphs'].values()}))}."
    )
    blocks: list[Block] = [
        Paragraph(told),
        Table(caption="Files of the bundle", heads=heads, rows=rows, stack=True),
        *_student(found.get("cascade")),
        Paragraph(leaves(found)),
    ]
    terms = {
        "fp32, int8, fp16": "How the weights are stored: 32-bit numbers, 8-bit ones (smaller and faster, a little "
        "less exact), or "
        "16-bit ones for GPUs.",
        "proven": "The 95 % interval of the drop ends within the bound that export was given: these rows show that the "
        "file is as good. Not proven: no loss was seen, but so few rows may hide one as large as the interval's end.",
        "drop of the metric": "Torch's figure minus this file's: above zero is worse. With its 95 % interval.",
        "times as fast": "Against the file as it was exported, in a session with nothing set, on the same batches.",
    }
    return Section(key="precisions", title=title, blocks=[*blocks, Terms(terms=terms)])


def _graph(name: str, graph: dict[str, Any]) -> list[Any]:
    parity, bound = graph["parity"], graph.get("max_drop")
    shown = bound is not None and parity["drop_high"] <= bound
    gate = (
        State(holds=True, word="passed, proven" if shown else "passed, not proven")
        if bound is not None
        else State(holds=None, word="not recorded")
    )
    drop = f"{parity['drop']:+.4f} ({parity['drop_low']:+.4f} to {parity['drop_high']:+.4f})"
    speed, rate = graph.get("speed"), graph.get("rows_per_second")
    return [
        name,
        gate,
        Number(value=graph["bytes"], shown=f"{graph['bytes'] / 1e6:.1f} MB"),
        percent(parity["label_agreement"], 2),
        Number(value=parity["max_difference"], shown=f"{parity['max_difference']:.2g}"),
        Number(value=parity["drop"], shown=drop),
        Number(value=rate, shown="not timed" if rate is None else f"{rate:,.0f}"),
        Number(value=speed, shown="not timed" if speed is None else f"{speed:.2f}"),
    ]


def _student(cascade: dict[str, Any] | None) -> list[Block]:
    """What was proven of the student that may answer rows in the encoder's place; nothing where there is none."""
    if cascade is None:
        return []
    rows: list[list[Any]] = []
    for target in cascade["targets"]:
        worst = max(target["classes"], key=lambda each: each["bound"])
        realised, effect = target["realised"], target["effect"]
        further = (
            "no row was left" if realised is None else f"{realised['wrong']:,} of {realised['rows']:,} rows differ"
        )
        told = "no labelled row" if effect is None else f"{effect['difference']:+.4f}"
        ends = "" if effect is None else f" ({effect['low']:+.4f} to {effect['high']:+.4f})"
        rows.append(
            [
                f"{target['agreement']:g}",
                percent(target["coverage"]),
                f"at most {percent(1 - target['agreement']).shown}",
                Strange(f"{worst['label'] or worst['answer']}: at most {percent(worst['bound'], 2).shown}"),
                further,
                told + ends,
            ]
        )
    heads = [
        "agreement",
        "rows it answers",
        "answered otherwise",
        "the least proven class",
        "on further rows",
        "metric",
    ]
    return [
        Heading("A student for most rows"),
        Paragraph(
            f"A small student answers the rows of which it is sure, in place of the {cascade['precision']} file "
            "(`classifact score --agreement`). "
            f"The bounds of one agreement hold together with {percent(cascade['confidence'], 0).shown} confidence, "
            "for rows like those they were shown on; `score` audits each job's own rows."
        ),
        Table(caption="What was proven of the student", heads=heads, rows=rows, stack=True),
    ]


def leaves(manifest: dict[str, Any]) -> str:
    """Which texts leave the house with the bundle."""
    if manifest.get("golden") == "synthetic":
        return "No text of a row is in the bundle: its golden rows were made from the tokenizer's vocabulary."
    return (
        "With the bundle some texts of validation rows leave the house: golden.jsonl holds them, to test a machine "
        "with. "
        "Token ids would be no protection, since they turn back into text. `classifact export --golden synthetic` "
        "makes a bundle without texts of rows."
    )
