"""The rows of a refit: most validation rows join those that are trained on, and some are held back."""

from collections.abc import Hashable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.data.columns import Ints, wholes
from trainer.data.splits import Splits, save_anew
from trainer.data.splitting.refusals import HELD
from trainer.data.splitting.similar import clusters
from trainer.data.splitting.tied import first_times, units
from trainer.data.stored import StoredRows


def join_validation(splits: Splits, folder: Path) -> None:
    """Save in `folder` the same rows with most of validation among those to train on; see `hold_back`."""
    kept, moved = hold_back(splits)
    joined = {"train": splits.train.joined(moved), "validation": kept}
    found = joined | ({} if splits.test is None else {"test": splits.test})
    save_anew(splits, found, folder, refit={"joined": len(moved), "held": len(kept)})


def hold_back(splits: Splits) -> tuple[StoredRows, StoredRows]:
    """The validation rows that a refit is measured on, and those that it learns.

    A fifth is held back (at least HELD rows, at most half): figures and the gates of an export need rows that were not
    learnt. What was kept on one side when the splits were cut stays together here: rows of one text, of one group, and
    nearly equal ones. Rows that were split by time are held back newest first, as no figure may be of rows older than
    what was learnt; of others a like share of each label's, drawn with the seed of the splits.
    """
    validation, made = splits.validation, splits.summary["made"]
    held = min(len(validation) // 2, max(HELD, len(validation) // 5))
    unit = units(len(validation), _ties(validation, similar=made["similar"]))
    # Validation files that were given need no times.
    if made["time"] and np.isfinite(validation.times).all():
        turn = -first_times(validation.times, unit)[unit]
    else:
        turn = _spread(validation, unit, made["seed"])[unit]
    # Whole sets of rows of one turn, until there are enough.
    chosen = np.argsort(turn, kind="stable")
    last = max(1, held)
    while last < len(chosen) and turn[chosen[last]] == turn[chosen[last - 1]]:
        last += 1
    return validation.take(np.sort(chosen[:last])), validation.take(np.sort(chosen[last:]))


def _spread(rows: StoredRows, unit: Ints, seed: int) -> NDArray[np.float64]:
    """The turn of each unit, [U], in an order of which any beginning has about the same share of each label's units."""
    first = np.unique(unit, return_index=True)[1]
    kind = np.unique(np.asarray(rows.labels)[first].reshape(len(first), -1), axis=0, return_inverse=True)[1].reshape(-1)
    drawn = np.random.default_rng(seed).permutation(len(first))
    # Within a kind units stand as they are drawn; their places are spread evenly from 0 to 1.
    order = np.lexsort((drawn, kind))
    sizes = np.bincount(kind)
    place = np.empty(len(first))
    place[order] = (np.arange(len(first)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + 0.5) / np.repeat(sizes, sizes)
    turn = np.empty(len(first))
    turn[np.lexsort((drawn, place))] = np.arange(len(first))
    return turn


def _ties(rows: StoredRows, *, similar: bool) -> list[list[Hashable]]:
    """Keys that rows share where they must stay together, as `units` takes them."""
    groups = [None if group < 0 else group for group in rows.groups.tolist()]
    near = [clusters([*wholes(rows.texts, rows.pairs)]).tolist()] if similar else []
    return [rows.keys.tolist(), groups, *near]
