"""The rows of a refit: most validation rows join those that are trained on, and some are held back."""

from collections.abc import Hashable
from pathlib import Path

import numpy as np

from trainer.data.columns import wholes
from trainer.data.splits import Splits, save_anew
from trainer.data.splitting.refusals import HELD
from trainer.data.splitting.similar import clusters
from trainer.data.splitting.tied import first_times, units
from trainer.data.stored import StoredRows


def join_validation(splits: Splits, folder: Path, seed: int) -> None:
    """Save in `folder` the same rows with most of validation among those to train on.

    What is held back (a fifth, at least HELD rows, at most half) is the new validation split: figures and the gates of
    an export need rows that were not learnt. What was kept on one side when the splits were cut stays together here:
    rows of one text, of one group, and nearly equal ones. Rows that were split by time are held back newest first, as
    no figure may be of rows older than what was learnt; others at random.
    """
    train, validation = splits.train, splits.validation
    held = min(len(validation) // 2, max(HELD, len(validation) // 5))
    made = splits.summary["made"]
    unit = units(len(validation), _ties(validation, similar=made["similar"]))
    # Validation files that were given need no times.
    if made["time"] and np.isfinite(validation.times).all():
        turn = -first_times(validation.times, unit)[unit]
    else:
        turn = np.random.default_rng(seed).permutation(int(unit.max()) + 1)[unit].astype(np.float64)
    # Whole sets of rows of one turn, until there are enough.
    chosen = np.argsort(turn, kind="stable")
    last = max(1, held)
    while last < len(chosen) and turn[chosen[last]] == turn[chosen[last - 1]]:
        last += 1
    kept, moved = validation.take(np.sort(chosen[:last])), validation.take(np.sort(chosen[last:]))
    found = {"train": train.joined(moved), "validation": kept} | ({} if splits.test is None else {"test": splits.test})
    save_anew(splits, found, folder, refit={"joined": len(moved), "held": len(kept)})


def _ties(rows: StoredRows, *, similar: bool) -> list[list[Hashable]]:
    """Keys that rows share where they must stay together, as `units` takes them."""
    groups = [None if group < 0 else group for group in rows.groups.tolist()]
    near = [clusters([*wholes(rows.texts, rows.pairs)]).tolist()] if similar else []
    return [rows.keys.tolist(), groups, *near]
