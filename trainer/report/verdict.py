"""The rules by which the page says use, use with care, or do not use: each with its figure, and printed as it is.

A rule that is broken and `grave` forbids use; any other that is broken, or whose figure nobody made, asks for care.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainer.contract.figures.exact import interval
from trainer.contract.figures.metrics import is_point
from trainer.contract.visible import cut, visible
from trainer.report.blocks import percent
from trainer.report.gather import Evidence
from trainer.report.words import metric_name

Word = Literal["use", "use with care", "do not use"]
# What a 95 % interval may be wide, and the least rows of the rarest label: below, one unlucky draw decides the figures.
WIDEST, LEAST_ROWS = 0.10, 20
# The largest calibration error at which 0.9 may still be read as nine in ten.
CALIBRATION = 0.05
# The share of measured rows that may also stand in the training rows.
OVERLAP = 0.01
BASELINES = {"majority": "the commonest label", "bag_of_words": "a linear bag of words"}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule, applied."""

    name: str
    """What is asked."""
    needs: str
    """When it holds."""
    found: str
    """The figure."""
    holds: bool | None
    """None: no figure was made."""
    grave: bool
    """Whether a model that breaks it is of no use."""


def rules(evidence: Evidence) -> list[Rule]:
    """Every rule, the grave ones first."""
    found = [make(evidence) for make in _RULES]
    return sorted(found, key=lambda rule: not rule.grave)


def verdict(found: Sequence[Rule]) -> tuple[Word, str]:
    """The word, and why in a sentence."""
    graves = [rule for rule in found if rule.grave and rule.holds is False]
    if graves:
        return "do not use", _listed("Broken", graves)
    broken = [rule for rule in found if rule.holds is False]
    unknown = [rule for rule in found if rule.holds is None]
    parts = [_listed("Broken", broken)] if broken else []
    parts += [_listed("Not known", unknown)] if unknown else []
    return ("use with care", " ".join(parts)) if parts else ("use", f"All {len(found)} rules below hold.")


def _listed(what: str, of: Sequence[Rule]) -> str:
    return f"{what}: {', '.join(f'“{rule.name}”' for rule in of)}."


def _learnt(evidence: Evidence) -> Rule:
    figures = evidence.figures
    constant = evidence.training.get("constant") if figures is None else figures["constant"]
    found = "not measured"
    if constant is not None:
        always = " and ".join(repr(cut(visible(name), 40)) for name in constant["labels"]) or "no label"
        found = (
            f"the best single answer, always {always}: {metric_name(constant['metric'], evidence.space)} "
            f"{_shown(constant['value'])}; the label shares alone: loss {_shown(constant['loss'])}"
        )
    return Rule(
        name="it has learnt something",
        needs="better than any single answer for all rows, in the chosen metric or in the loss by 2 %",
        found=found,
        holds=None if constant is None else bool(constant["beaten"]),
        grave=True,
    )


def _better(evidence: Evidence, key: str, *, grave: bool) -> Rule:
    """Whether the interval of the difference from a baseline lies on the right side."""
    name = BASELINES[key]
    rule = {"name": f"it beats {name}", "needs": "the whole 95 % interval of the difference is on the better side"}
    baseline = ((evidence.figures or {}).get("baselines") or {}).get(key)
    figure = (baseline or {}).get("metrics", {}).get(evidence.metric)
    if figure is None:
        why = (baseline or {}).get("missing") or "not measured"
        return Rule(**rule, found=why, holds=None, grave=grave)
    apart = figure["difference"]
    ahead = f"{_signed(apart['value'])} ({_signed(apart['low'])} to {_signed(apart['high'])})"
    ends = f"{metric_name(evidence.metric, evidence.space)}: {ahead}"
    return Rule(**rule, found=ends, holds=figure["better"] == "encoder", grave=grave)


def _tested(evidence: Evidence) -> Rule:
    times = len(evidence.openings)
    kinds = {line.get("weights") for line in evidence.openings}
    own = kinds <= {evidence.measured_on["weights"]}
    if evidence.test is None:
        chose = "settings" if evidence.is_refit else "the checkpoint"
        found = f"never opened: the figures are of validation rows, which chose {chose}"
    else:
        once = "once" if times == 1 else f"{times:,} times"
        found = f"opened {once}, " + ("for these weights" if own else f"for {len(kinds)} different weights")
    return Rule(
        name="the test rows were opened for this model alone",
        needs="test rows exist, and were opened for these weights alone: who looks and trains again fits them",
        found=found,
        holds=evidence.test is not None and own,
        grave=False,
    )


def _rows(evidence: Evidence) -> Rule:
    needs = f"the 95 % interval is at most {WIDEST:.2f} wide, and the rarest label has {LEAST_ROWS} rows or more"
    figures = evidence.figures
    headline = (figures or {}).get("intervals", {}).get(evidence.metric) or {}
    if figures is None or headline.get("low") is None:
        return Rule(name="there are enough rows", needs=needs, found="not measured", holds=None, grave=False)
    low, high = headline["low"], headline["high"]
    if is_point(low, high):
        # No resample differs, as where no row is wrong: what is left is how many wrong rows so many rows can hide.
        low, high = interval(figures["mismatches"]["rows"], figures["rows"])
    wide = high - low
    rarest = min(label["support"] for label in figures["per_class"])
    return Rule(
        name="there are enough rows",
        needs=needs,
        found=f"{figures['rows']:,} rows; the interval is {wide:.3f} wide; the rarest label has {rarest:,} rows",
        holds=wide <= WIDEST and rarest >= LEAST_ROWS,
        grave=False,
    )


def _gates(evidence: Evidence) -> Rule:
    rule: dict[str, Any] = {
        "name": "the exported files are the same classifier",
        "needs": "each ONNX file decides as torch did, within the bounds that export was given",
        "grave": True,
    }
    if evidence.manifest is None:
        return Rule(**rule, found="no bundle was given to this page", holds=None)
    parts = [
        f"{name}: {percent(graph['parity']['label_agreement'], 2).shown} of {compared_rows(graph['parity'])}"
        for name, graph in evidence.manifest["graphs"].items()
    ]
    # A bundle whose file failed a gate is never given its name, so that it is there says that all passed.
    return Rule(**rule, found="; ".join(parts), holds=True)


def compared_rows(parity: Mapping[str, Any]) -> str:
    """The rows that a file's decisions were compared on, in words."""
    told = f"{parity['rows']:,} validation rows"
    return f"{told} and {more:,} rows without labels" if (more := parity.get("unlabelled_rows")) else told


def _calibrated(evidence: Evidence) -> Rule:
    ece = (evidence.figures or {}).get("intervals", {}).get("ece") or {}
    value = ece.get("value")
    found = "not measured"
    if value is not None:
        found = f"expected calibration error {value:.3f} ({_shown(ece.get('low'))} to {_shown(ece.get('high'))})"
    return Rule(
        name="probabilities mean what they say",
        needs=f"the expected calibration error is at most {CALIBRATION:.2f}",
        found=found,
        holds=None if value is None else value <= CALIBRATION,
        grave=False,
    )


def _slices(evidence: Evidence) -> Rule:
    figures = evidence.figures or {}
    parts = [figures.get(name) for name in ("slices", "worst_slices")]
    found, holds = "not measured", None
    if any(part is not None for part in parts):
        told = [piece for part in parts if part is not None for piece in part["found"]]
        worse = sum(piece["flagged"] for piece in told)
        tested = sum(piece["p_adjusted"] is not None for piece in told)
        found, holds = f"{worse:,} of {tested:,} tested slices are shown to be worse", worse == 0
    return Rule(
        name="no kind of row stands out as worse",
        needs="no slice of the rows is shown to be worse than the others, allowing for the number of slices (Holm)",
        found=found,
        holds=holds,
        grave=False,
    )


def _overlap(evidence: Evidence) -> Rule:
    needs = f"at most {OVERLAP:.0%} of the measured rows also stand in the training rows, word by word"
    figures = evidence.figures
    if figures is None:
        return Rule(name="the rows are new to it", needs=needs, found="not measured", holds=None, grave=False)
    known, rows = figures["also_in_train"]["rows"], figures["rows"]
    return Rule(
        name="the rows are new to it",
        needs=needs.replace("%", " %"),
        found=f"{known:,} of {rows:,} rows",
        holds=known <= OVERLAP * rows,
        grave=False,
    )


def _signed(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.3f}"


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


_RULES: tuple[Callable[[Evidence], Rule], ...] = (
    _learnt,
    lambda evidence: _better(evidence, "majority", grave=True),
    _gates,
    lambda evidence: _better(evidence, "bag_of_words", grave=False),
    _tested,
    _rows,
    _overlap,
    _calibrated,
    _slices,
)
