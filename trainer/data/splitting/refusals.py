"""Splits that cannot be learnt from, or whose figures would be worth nothing."""

import numpy as np
from numpy.typing import NDArray

from trainer.contract.errors import InputError
from trainer.contract.figures.metrics import LOWER_IS_BETTER, compute
from trainer.contract.labels import LabelSpace
from trainer.data.stored import StoredRows

REPEATS_SHOWN = 5
# The least that an export is proved with.
HELD = 32
Labels = NDArray[np.int64] | NDArray[np.bool_]


def refuse_unlearnable(labels: dict[str, Labels], space: LabelSpace, where: str) -> None:
    """Raise InputError where splits cannot be learnt from or measured on: one class only, no rows, a label that no
    training row has. labels: of each split's rows.
    """
    totals = {name: label_counts(rows, space) for name, rows in labels.items()}
    present = [name for name, count in totals["train"].items() if count]
    if space.kind == "single" and len(present) == 1:
        raise InputError(
            "the training rows have one class only",
            where=where,
            found=f"only {present[0]!r}",
            expected="two labels or more",
            do="check labels.column and the files",
        )
    for name, rows in labels.items():
        if not len(rows):
            raise InputError(
                f"the {name} split has no rows",
                where=where,
                found=", ".join(f"{other} {len(part)}" for other, part in labels.items()),
                do="give more rows or groups, a larger share, or files of its own for the split",
            )
    unlearnt = [
        name for name in space.names if not totals["train"][name] and any(total[name] for total in totals.values())
    ]
    if unlearnt:
        raise InputError(
            "labels stand in no training row",
            where=where,
            found=", ".join(map(repr, unlearnt)),
            do="give more rows of them, or split otherwise (another seed, no group)",
        )


def refuse_unmeasurable(labels: Labels, space: LabelSpace, metrics: dict[str, str], where: str) -> None:
    """Raise InputError where validation rows give a metric that chooses no value above 0 even for a model that is
    always right: ROC-AUC without a positive row is undefined, F1 without one is 0 whatever the model says. labels: of
    those rows; metrics: by the key of the recipe that names each.
    """
    given = labels if space.kind == "multi" else np.eye(len(space), dtype=np.bool_)[labels.astype(np.int64)]
    right = space.decode(np.where(given, 9.0, -9.0))
    for key, metric in metrics.items():
        value = compute(metric, right, labels, space)
        if metric not in LOWER_IS_BETTER and not value > 0:
            counts = label_counts(labels, space)
            raise InputError(
                f"{key}: {metric} {'is undefined' if np.isnan(value) else 'is 0 for any model'} on the validation rows",
                where=where,
                found=", ".join(f"{name!r} {count}" for name, count in counts.items() if count in (0, len(labels))),
                expected="rows with each label, and without it",
                do="give other validation rows (a larger split.validation, split.stratify), or choose another metric: "
                "accuracy, f1_macro, f1_micro or loss",
            )


def refuse_known(known: StoredRows, held: StoredRows, of_known: str, of_held: str) -> None:
    """Raise InputError where held-out rows stand word by word among rows that chose or trained the model: their figures
    would be of memory. of_known, of_held: what the rows are, in words.
    """
    places = np.flatnonzero(np.isin(held.keys, known.keys)).tolist()
    if not places:
        return
    keys = known.keys.tolist()
    both = [
        f"{known.places[keys.index(int(held.keys[place]))]} = {held.places[place]}" for place in places[:REPEATS_SHOWN]
    ]
    raise InputError(
        f"{len(places)} of the {of_held} stand among the {of_known}",
        where=held.places[places[0]],
        found="; ".join(both) + (f"; and {len(places) - REPEATS_SHOWN} more" if len(places) > REPEATS_SHOWN else ""),
        do="take them out of one of the files",
    )


def label_counts(labels: Labels, space: LabelSpace) -> dict[str, int]:
    """Rows of each label."""
    counts = labels.sum(axis=0) if space.kind == "multi" else np.bincount(labels.astype(np.int64), minlength=len(space))
    return dict(zip(space.names, counts.tolist(), strict=True))
