"""The figures for a person at a terminal: the few that decide, a line each. All are in the file."""

from collections.abc import Iterator
from typing import Any

from trainer.contract.figures import tables
from trainer.contract.figures.constant import REMEDY
from trainer.contract.figures.metrics import shown, shown_range
from trainer.review.mismatches import told_mismatches

# What the baselines are called, here and on the page.
_NAMES = {"majority": "commonest label", "bag_of_words": "bag of words"}


def figures_table(result: dict[str, Any]) -> str:
    """The headline metrics, both baselines, the worst slice and the change that flips most decisions; with rows that
    the model has learnt word by word, the figures without them too.
    """
    known = result["also_in_train"]
    few = [*result["baselines"]["majority"]["metrics"], "ece"]
    lines = [
        f"{result['rows']} {result['split']} rows, {result['rows_per_second']:.0f} rows/s, "
        f"checkpoint {result['checkpoint']}",
        result["golden"],
        _aligned(result["intervals"], few),
        *_decisions(result),
        *_groups(result),
        *_baselines(result),
        _slice(result),
        _robustness(result["robustness"]),
    ]
    if not result["constant"]["beaten"]:
        lines.append(f"the model has learnt nothing: one answer for all rows is as good; {REMEDY}")
    if known["rows"]:
        count, rows = known["rows"], result["rows"]
        lines.append(
            f"{count} of these {rows} rows also stand in the training rows: the figures say what was memorised"
        )
        lines += ["without them:", _aligned(known["metrics_without"], few)] if known["metrics_without"] else []
    lines.append(told_mismatches(result["mismatches"], result["rows"]))
    return "\n".join(lines)


def _aligned(metrics: dict[str, dict[str, float]], few: list[str]) -> str:
    lines = [[name, shown(metrics[name]["value"]), _range(metrics[name])] for name in few]
    return tables.table([["metric", "value", "95 % interval"], *lines], indent="  ")


def _range(figure: dict[str, float]) -> str:
    return shown_range(figure["low"], figure["high"])


def _decisions(result: dict[str, Any]) -> Iterator[str]:
    """What was decided on validation rows, on these: the metric before and after, and the rows answered."""
    found = result["decisions"]
    if found is None:
        return
    metric = result["metric"] if result["metric"] in found["metrics"] else "accuracy"
    figure = found["metrics"][metric]
    yield (
        f"decisions:       {metric} {shown(figure['before'])} before, {shown(figure['after'])} after "
        f"(gain {shown(figure['gain']['value'])}, 95 % interval {_range(figure['gain'])})"
    )
    answered = found["answered"]
    if answered is not None:
        promised = "" if found["promised"] is None else f", at most {found['promised']:g} promised"
        yield (
            f"answered:        {answered['answered']} of {answered['rows']} rows, {answered['wrong']} of them wrong "
            f"({shown(answered['error']['value'])}, 95 % interval {_range(answered['error'])}{promised})"
        )


def _groups(result: dict[str, Any]) -> Iterator[str]:
    found = result["by_group"]
    if found is not None:
        metric = result["metric"]
        yield (
            f"by group:        {metric} {_range(found['intervals'][metric])}, over {found['groups']} groups "
            f"by {found['column']!r}"
        )


def _baselines(result: dict[str, Any]) -> Iterator[str]:
    metric = result["metric"]
    for name, baseline in result["baselines"].items():
        head = f"{_NAMES[name] + ':':<17}"
        if baseline["missing"] is not None:
            yield f"{head}not measured: {' '.join(baseline['missing'].split())}"
            continue
        figure = baseline["metrics"][metric]
        about = f" ({baseline['about']})" if name == "majority" else ""
        words = {"encoder": "the encoder is better", "baseline": "BETTER THAN THE ENCODER", None: "no difference shown"}
        yield (
            f"{head}{metric} {shown(figure['value'])}{about}; {words[figure['better']]} "
            f"(by {shown(figure['difference']['value'])}, 95 % interval {_range(figure['difference'])})"
        )


def _slice(result: dict[str, Any]) -> str:
    """The flagged slice with most errors beyond its share, or that none is."""
    slices, worst = result["slices"], result["worst_slices"]
    flagged = [each for each in [*slices["found"], *worst["found"]] if each["flagged"]]
    tested = slices["tested"] + len(worst["found"])
    if not flagged:
        return f"worst slice:     none of {tested} is shown to be worse than the rest"
    one = min(flagged, key=lambda each: each["p_adjusted"])
    # As a literal: a cell may hold what a terminal would obey.
    name = one["rule"] if "rule" in one else f"{one['by']} {one['value']!r}"
    accuracy = one["accuracy"]
    return (
        f"worst slice:     {name}: {one['wrong']} of {one['rows']} wrong (right: {shown(accuracy['value'])}, 95 % "
        f"interval {_range(accuracy)}); {len(flagged)} of {tested} slices flagged"
    )


def _robustness(found: dict[str, Any]) -> str:
    kinds = [kind for kind in found["kinds"] if kind["rows"]]
    if not kinds:
        return "robustness:      no text could be changed"
    one = max(kinds, key=lambda kind: (kind["share"]["value"], kind["rows"]))
    if not one["flips"]:
        return f"robustness:      no decision flips; {len(kinds)} changes tried on up to {one['rows']} rows each"
    share = one["share"]
    # The name of a swap is the recipe's.
    kind = repr(one["kind"]) if one["swap"] else one["kind"]
    return (
        f"robustness:      {kind} flip most decisions, {one['flips']} of {one['rows']} ({shown(share['value'])}, 95 % "
        f"interval {_range(share)}); {len(kinds)} changes tried"
    )
