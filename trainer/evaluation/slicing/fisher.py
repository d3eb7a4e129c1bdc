"""Whether some rows are worse than the others, asked of many sets of rows at once."""

from scipy.stats import hypergeom

SLICE_LEVEL = 0.05
# A slice of fewer rows is shown and not tested: it could hardly be flagged, and every test makes the others stricter.
LEAST_SLICE_ROWS = 10
TEST = (
    "one-sided exact test of Fisher, whether the share of wrong rows is higher than among the other rows; rows count "
    "as independent of each other; p adjusted for all slices by Holm (1979)"
)


def worse(wrong: int, rows: int, all_wrong: int, all_rows: int) -> float:
    """The probability of so many wrong rows, or more, among `rows` drawn at random from all (Fisher 1934)."""
    return float(min(1.0, hypergeom.sf(wrong - 1, all_rows, all_wrong, rows)))
