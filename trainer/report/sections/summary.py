"""The verdict: the answer first, then the rules that gave it."""

from typing import Any

from trainer.contract.figures.metrics import is_point
from trainer.report.blocks import Block, Cell, Missing, Number, Range, Section, State, Strange, Table, Terms, Verdict
from trainer.report.gather import Evidence
from trainer.report.plain import counted, running
from trainer.report.verdict import BASELINES, Rule, rules, verdict
from trainer.report.words import INTERVAL, TERMS, metric_name


def summary(evidence: Evidence) -> Section:
    """Task, rows, headline figure against both baselines, verdict and rules."""
    found = rules(evidence)
    word, why = verdict(found)
    figures, metric = evidence.figures, evidence.metric
    chose = "its settings" if evidence.is_refit else "this checkpoint"
    value, rows = Range(value=evidence.checkpoint.value), f"validation rows, which chose {chose}"
    if figures is not None:
        value, rows = ranged(figures["intervals"].get(metric)), f"{figures['rows']:,} {figures['split']} rows"
    name = metric_name(metric, evidence.space)
    plain = [*counted(figures), *running(evidence.manifest)]
    blocks: list[Block] = [Verdict(word=word, why=why, name=name, figure=value, rows=rows, plain=plain)]
    if evidence.test is None:
        what = f"The test rows were not measured. Figures of rows that chose {chose} flatter it."
        blocks.append(Missing(what=what, command=evidence.typed("classifact evaluate RUN")))
    if figures is not None:
        blocks.append(_against(figures, metric, name, value))
    blocks.append(_rules(found))
    if evidence.manifest is None:
        what = "Without a bundle nothing is known of the files that will run."
        blocks.append(Missing(what=what, command=bundle_command(evidence)))
    blocks.append(Terms(terms=_terms(metric)))
    return Section(key="verdict", title="Verdict", blocks=blocks)


def bundle_command(evidence: Evidence) -> str:
    """What makes a bundle and a page that holds it."""
    return evidence.typed("classifact export RUN --out MADE && classifact report RUN --bundle MADE")


def ranged(figure: dict[str, Any] | None) -> Range:
    """A figure of a split's file; without an interval where that is a point, which bounds nothing."""
    told = figure or {}
    low, high = told.get("low"), told.get("high")
    return Range(value=told.get("value")) if is_point(low, high) else Range(value=told.get("value"), low=low, high=high)


def _against(figures: dict[str, Any], metric: str, told: str, value: Range) -> Table:
    """told: what the metric is called."""
    rows: list[list[Cell]] = [["this model", value, ""]]
    for key, name in BASELINES.items():
        baseline = (figures["baselines"] or {}).get(key) or {}
        found = baseline.get("metrics", {}).get(metric)
        # The answer itself, since F1 of a label that is never given is 0.
        named = Strange(f"{name}: {baseline['about']}" if key == "majority" and baseline else name, 120)
        if found is None:
            rows.append([named, Strange(str(baseline.get("missing") or "not measured"), 300), ""])
            continue
        apart = found["difference"]
        ahead = f"{signed(apart['value'])} ({signed(apart['low'])} to {signed(apart['high'])})"
        rows.append([named, ranged(found), Number(value=apart["value"], shown=ahead)])
    caption = "The headline figure beside two answers that need no encoder, on the same rows, with 95 % intervals"
    heads = ["", told, "this model is ahead by"]
    return Table(caption=caption, heads=heads, rows=rows, sort=False, stack=True)


def signed(value: float | None) -> str:
    """A difference."""
    return "undefined" if value is None else f"{value:+.3f}"


def _rules(found: list[Rule]) -> Table:
    words = {True: "holds", False: "does not hold", None: "not known"}
    rows: list[list[Cell]] = [
        [
            State(holds=rule.holds, word=words[rule.holds]),
            rule.name[0].upper() + rule.name[1:],
            Strange(rule.found, 200),
            rule.needs,
            "do not use" if rule.grave else "use with care",
        ]
        for rule in found
    ]
    return Table(
        caption="The rules behind the verdict",
        heads=["", "rule", "found", "holds where", "if broken"],
        rows=rows,
        sort=False,
        stack=True,
    )


def _terms(metric: str) -> dict[str, str]:
    return {
        **({metric_name(metric): TERMS[metric]} if metric in TERMS else {}),
        "95 % interval": INTERVAL,
        "baseline": "An answer that costs next to nothing: the commonest label of the training rows for every row, or "
        "a linear model that counts words. A model that does not beat them is not worth its price.",
        "the best single answer": "The label that, given to every row, has the best figure: often another than the "
        "commonest one, whose F1 is 0 where F1 is that of a label it never gives.",
        "how the verdict is made": "A rule that says “do not use” decides alone, where it is broken. Any other rule "
        "that is "
        "broken, or whose figure was not made, asks for care. Nothing else enters the verdict.",
        "test rows": "Rows that neither trained the model nor chose it. They can be trusted as long as nobody looks "
        "at them, "
        "changes the model, and looks again.",
    }
