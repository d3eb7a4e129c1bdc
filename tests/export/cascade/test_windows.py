"""Windows of rows: contiguous, within the row's special tokens, of every length, the same each time."""

import numpy as np

from export.cascade.windows import LEAST_TOKENS, MOST_TOKENS, windows
from tests.export.cascade.making import encoded
from trainer.contract.encoding import Encoded

START, END = 1, 2


def listed(rows: Encoded) -> list[list[int]]:
    """Each row's token ids."""
    return [each.tolist() for each in np.split(rows.ids, rows.offsets[1:-1])]


def test_a_window_is_a_part_of_its_row_between_the_special_tokens() -> None:
    """Every window is some consecutive tokens of a row with that row's special tokens around it; each row gives equally
    many, of lengths from the shortest on, and a second call gives the same.
    """
    # Tokens count up and no two rows share one, so that a window says where it was cut.
    given = [[START, *range(1000 * row, 1000 * row + 5 + row), END] for row in range(1, 101)]
    cut = windows(encoded(given), frozenset({START, END}), 500)
    lengths, seen = [], []
    for window in listed(cut):
        start, *body, end = window
        row = body[0] // 1000
        assert (start, end) == (START, END)
        assert body == list(range(body[0], body[0] + len(body)))
        assert body[-1] in given[row - 1]
        lengths.append(len(body))
        seen.append(row)
    assert set(np.bincount(seen)[1:]) == {5}
    assert min(lengths) == LEAST_TOKENS
    assert max(lengths) == MOST_TOKENS
    # By the logarithm of its length: half of them below the geometric mean of both ends, not below their mean.
    assert np.median(lengths) < 20
    assert windows(encoded(given), frozenset({START, END}), 500).ids.tobytes() == cut.ids.tobytes()


def test_both_texts_of_a_pair_keep_their_special_tokens_and_types() -> None:
    """A window may hold the end of one text and the start of the next: the token between them stays, and each token
    keeps its type.
    """
    given = encoded([[START, 10, 11, 12, 13, END, 20, 21, 22, 23, END]])
    given.types[6:] = 1
    cut = windows(given, frozenset({START, END}), 200)
    crossing = 0
    for ids, types in zip(listed(cut), np.split(cut.types, cut.offsets[1:-1]), strict=True):
        assert (ids[0], ids[-1], ids.count(END)) == (START, END, 2)
        middle = ids.index(END)
        assert types.tolist() == [0] * (middle + 1) + [1] * (len(ids) - middle - 1)
        body = [number for number in ids if number > END]
        place = [10, 11, 12, 13, 20, 21, 22, 23].index(body[0])
        assert body == [10, 11, 12, 13, 20, 21, 22, 23][place : place + len(body)]
        crossing += body[0] < 20 <= body[-1]
    assert crossing > 0


def test_rows_shorter_than_a_window_are_their_own() -> None:
    """Rows of no token, one and two come back whole; fewer windows than rows are windows of different rows."""
    given = [[START, END], [START, 7, END], [START, 8, 9, END]]
    cut = listed(windows(encoded(given), frozenset({START, END}), 9))
    assert sorted(cut) == sorted(given * 3)
    assert len({tuple(row) for row in listed(windows(encoded(given), frozenset({START, END}), 2))}) == 2
