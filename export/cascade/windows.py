"""Windows of rows: more rows for a student to learn from, of the same texts.

The encoder says what each window is. So a student learns from few rows what their parts weigh (after the n-gram
sampling of Tang et al. 2019, arXiv 1903.12136).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.contract.encoding import Encoded, Ints
from trainer.contract.pieces import ragged

# So many windows, of so many tokens at least and at most: they cost what 10,000 to 20,000 whole rows cost.
WINDOWS, LEAST_TOKENS, MOST_TOKENS = 40_000, 3, 64
_SEED = 0


def windows(encoded: Encoded, special: frozenset[int], count: int) -> Encoded:
    """Windows of N rows, each row about as often as the others; short windows are as frequent as long ones, by the
    logarithm of their length.

    special: the ids of the special tokens, which every window keeps in their places. A shorter row is its own window.
    """
    drawn = np.random.default_rng(_SEED)
    rows = np.concatenate([drawn.permutation(len(encoded)) for _ in range(-(-count // len(encoded)))])[:count]
    inside = ~np.isin(encoded.ids, sorted(special))
    text, around = _Places.of(inside, encoded), _Places.of(~inside, encoded)
    tokens = text.counts[rows]
    longest = np.clip(tokens, LEAST_TOKENS, MOST_TOKENS)
    sizes = np.exp(np.log(LEAST_TOKENS) + drawn.random(count) * np.log(longest / LEAST_TOKENS)).round().astype(np.int64)
    sizes = np.minimum(sizes, tokens)
    first = (drawn.random(count) * (tokens - sizes + 1)).astype(np.int64)
    places = np.concatenate(
        [text.some(rows, first, sizes), around.some(rows, np.zeros_like(first), around.counts[rows])]
    )
    lengths = [sizes, around.counts[rows]]
    window = np.concatenate([np.repeat(np.arange(count), each) for each in lengths])
    # By window, and in it as in the row.
    places = places[np.lexsort([places, window])]
    return Encoded(
        ids=encoded.ids[places],
        types=encoded.types[places],
        offsets=np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sum(lengths))]),
        cut=np.zeros(count, dtype=np.int64),
    )


@dataclass(frozen=True)
class _Places:
    """Where some tokens of N rows stand in the flat arrays: row r has `counts[r]` of them, from `starts[r]` on."""

    places: Ints
    starts: Ints
    counts: Ints

    @classmethod
    def of(cls, chosen: NDArray[np.bool_], encoded: Encoded) -> "_Places":
        """Of the tokens that are chosen, bool, one a token."""
        before = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(chosen)])[encoded.offsets]
        return cls(places=np.flatnonzero(chosen), starts=before[:-1], counts=np.diff(before))

    def some(self, rows: Ints, first: Ints, counts: Ints) -> Ints:
        """Of each row that is named `counts` places from the `first` on, flat."""
        return self.places[ragged(self.starts[rows] + first, counts)]
