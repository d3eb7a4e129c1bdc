"""The plan of an epoch: which rows make which optimizer step, and how a step is cut into micro-batches.

A plan is a pure function of (seed, stage, epoch): it holds no random state, so a resumed run sees the rows that an
uninterrupted one sees, and it does not know the number of processes, so 1, 2 or 4 of them take the same steps.
"""

from dataclasses import dataclass

import numpy as np

from trainer.contract.encoding import Ints, budget_batches

# Rows are sorted by length within pools of this many steps: little padding, and still another mix in every epoch.
POOL = 50


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """Rows that one process runs together."""

    rows: Ints
    counted: bool = True
    """False for a stand-in, which takes part in the step and adds nothing."""


def plan_epoch(lengths: Ints, rows: int, key: tuple[int, int, int]) -> list[Ints]:
    """The optimizer batches of an epoch, in order: row positions, `rows` in each but one.

    lengths: tokens of each row, [N]. key: (seed, stage, epoch).
    """
    generator = np.random.default_rng(key)
    order = generator.permutation(len(lengths))
    pools = [order[start : start + POOL * rows] for start in range(0, len(order), POOL * rows)]
    by_length = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    batches = [by_length[start : start + rows] for start in range(0, len(by_length), rows)]
    # Within a pool batches run from short rows to long ones: in that order lengths would be learnt in waves.
    return [batches[place] for place in generator.permutation(len(batches))]


def micro_batches(
    batch: Ints, lengths: Ints, tokens: int, rank: int, processes: int, *, even: bool = False
) -> list[MicroBatch]:
    """One process's share of an optimizer batch, cut by padded tokens.

    Ranks take every n-th row of the rows sorted by length, so their work is even. A rank that gets none (fewer rows
    than processes) runs one row that is not counted: every rank must take part in the exchange of gradients. even:
    all ranks run as many micro-batches as the one that has most, where each of them is an exchange.
    """
    by_length = batch[np.argsort(lengths[batch], kind="stable")]

    def cut(of: int) -> list[Ints]:
        """The micro-batches of one process: rows of `lengths`."""
        return budget_batches(lengths, by_length[of::processes], tokens)

    own = [MicroBatch(rows=rows) for rows in cut(rank)]
    # The plan is pure, so each rank knows how many pieces every other one has, without asking.
    count = max(len(cut(other)) for other in range(processes)) if even else 1
    return own + [MicroBatch(rows=by_length[:1], counted=False)] * (count - len(own))
