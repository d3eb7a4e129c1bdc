"""What was asked for, step by step: temperature, thresholds, promises."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from trainer.contract.errors import InputError
from trainer.contract.figures.selective import Shown
from trainer.contract.labels import LabelSpace, Scores
from trainer.deciding.parts import FITTED, Rows
from trainer.deciding.promises import promise_error, promise_precision, promise_recall, require_rows, short_percent
from trainer.deciding.temperature import fit_temperature, require_temperature_rows
from trainer.deciding.thresholds import USUAL, Threshold, best_f1, cost_matrix, is_label, least_cost
from trainer.recipes.decisions_part import DecisionsPart


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Decisions, and what is to be said of them."""

    labels: LabelSpace
    fitted: Rows
    """The rows that temperature and thresholds are from."""
    temperature: str | None = None
    """How it was found; None where none was asked for."""
    thresholds: tuple[Threshold, ...] = ()
    promises: tuple[tuple[str, Shown], ...] = ()
    """Of labels, by name."""
    error: Shown | None = None
    """Of the answered rows; None where all are answered."""
    tested: Rows | None = None
    """The rows that the last promise was tested on."""


def check_asked(asked: DecisionsPart, space: LabelSpace) -> None:
    """Raise InputError for labels and mistakes that there are not, and for more thresholds than single labels have."""
    for name in asked.promised:
        space.id(name)
    if asked.costs:
        cost_matrix(asked.costs, space)
    if space.kind == "single" and len(asked.promised) > 1:
        raise InputError(
            "of single labels precision or recall can be promised of one",
            found=", ".join(map(repr, asked.promised)),
            do="the others share what it leaves; `abstain` bounds the error of all",
        )
    if space.kind == "single" and asked.promised and asked.thresholds == "f1":
        raise InputError("of single labels one threshold decides: by the best F1, or by what is promised")


def fit_decisions(asked: DecisionsPart, rows: Rows, space: LabelSpace) -> Fitted:
    """Temperature, then thresholds that promise nothing, on all of these rows. space: as training left it."""
    labels, said = space, None
    if asked.temperature:
        temperature, said = fit_temperature(rows, space)
        labels = replace(labels, temperature=temperature)
    if asked.costs:
        counts = [int(is_label(rows, label, space).sum()) for label in range(len(space))]
        labels, thresholds = least_cost(asked.costs, labels, counts)
    elif asked.thresholds == "f1":
        labels, thresholds = best_f1(
            rows, labels, [space.id(name) for name in space.names if name not in asked.promised]
        )
    else:
        thresholds = []
    return Fitted(labels=labels, fitted=rows, temperature=said, thresholds=tuple(thresholds))


def shared_out(asked: DecisionsPart, rows: Rows, space: LabelSpace, checkpoints: int = 1) -> list[Rows]:
    """The rows that fit, those that test what is promised of labels, and those that test the error among the answered:
    as many of these as are asked for. No logits are looked at, so it can be asked before there are any.

    Raises InputError for labels that there are not, and for rows that are too few, whatever they show.
    """
    check_asked(asked, space)
    kinds = [bool(asked.promised), asked.abstain is not None]
    parts = rows.parts([FITTED, *[(1 - FITTED) / sum(kinds)] * sum(kinds)]) if any(kinds) else [rows]
    if asked.temperature:
        require_temperature_rows(parts[0], len(rows))
    if not len(parts[0]):
        raise InputError(
            "no validation row is left to choose thresholds on",
            found=f"{len(rows):,} validation rows, which equal texts and groups hold together",
            do="give more validation rows, of more groups",
        )
    # A bound needs so many rows even if none is wrong: too few are refused before any is scored.
    delta = _delta(asked, checkpoints)
    for name, (figure, least) in asked.promised.items():
        has = int(is_label(parts[1], space.id(name), space).sum())
        what = f"{figure} {least:g} of {name!r}"
        require_rows(what, has, f"tested rows of {name!r}", target=1 - least, delta=delta)
    if asked.abstain is not None:
        what = f"at most {short_percent(asked.abstain)} wrong among the answered"
        require_rows(what, len(parts[-1]), "tested rows", target=asked.abstain, delta=delta)
    return parts


def _delta(asked: DecisionsPart, checkpoints: int) -> float:
    """The chance to be misled that each test may have, so that all hold together (Bonferroni)."""
    return (1 - asked.level) / (max(1, asked.promises) * checkpoints)


def decide_on(asked: DecisionsPart, rows: Rows, space: LabelSpace, checkpoints: int = 1) -> Fitted:
    """All that was asked for. checkpoints: how many these rows chose among.

    Where something is promised, a third of the rows fits and the others test, and each promise is tested at its share
    of 1 - level, so that all hold together for whichever checkpoint was chosen. Raises InputError for too few rows,
    GateError where a promise is not shown.
    """
    first, *others = shared_out(asked, rows, space, checkpoints)
    found = fit_decisions(asked, first, space)
    if not others:
        return found
    delta = _delta(asked, checkpoints)
    if asked.promised:
        found = _promised(asked, found, others[0], delta)
    if asked.abstain is not None:
        # Thresholds that were tested on some rows may show nothing more on them.
        labels, shown = promise_error(
            first, others[-1], found.labels, error=asked.abstain, level=asked.level, delta=delta
        )
        found = replace(found, labels=labels, error=shown)
    return replace(found, tested=others[-1])


def _promised(asked: DecisionsPart, found: Fitted, tested: Rows, delta: float) -> Fitted:
    labels, promises, thresholds = found.labels, list[tuple[str, Shown]](), list(found.thresholds)
    for name, (figure, least) in asked.promised.items():
        promise = promise_precision if figure == "precision" else promise_recall
        number = labels.id(name)
        labels, shown = promise(found.fitted, tested, labels, number, least=least, delta=delta)
        promises.append((name, shown))
        count = int(is_label(found.fitted, number, labels).sum())
        thresholds.append(Threshold(label=name, threshold=shown.threshold, rule=figure, rows=count))
    return replace(found, labels=labels, promises=tuple(promises), thresholds=_in_order(thresholds, labels))


def _in_order(found: Sequence[Threshold], labels: LabelSpace) -> tuple[Threshold, ...]:
    """One of each label, in their order: the usual one where none was asked for; of single labels, what is left."""
    by_name = {each.label: each for each in found}
    limits = labels.thresholds or (USUAL,) * len(labels)
    note = None if labels.kind == "multi" else f"1 minus that of {found[-1].label!r}: one number decides"
    return tuple(
        by_name.get(name) or Threshold(label=name, threshold=limit, rule="usual", rows=0, note=note)
        for name, limit in zip(labels.names, limits, strict=True)
    )


def cross_fitted(asked: DecisionsPart, rows: Rows, space: LabelSpace) -> Scores:
    """The rows' scores, each by what the rows of other folds fit."""
    folds = rows.folds()
    # No promises here: each fold would test another rule than the one that is kept.
    parts = [np.flatnonzero(folds == fold) for fold in np.unique(folds).tolist()]
    found = [
        fit_decisions(asked, rows.take(~np.isin(folds, folds[part])), space).labels.decode(rows.logits[part])
        for part in parts
    ]
    # Back from the order of the folds to that of the rows.
    order = np.argsort(np.concatenate(parts))
    joined = Scores(
        probabilities=np.concatenate([each.probabilities for each in found]),
        decisions=np.concatenate([each.decisions for each in found]),
    )
    return joined.take(order)
