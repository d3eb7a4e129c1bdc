"""A row's texts as words that can be left out, everything between them untouched: what explanations are made of."""

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate, groupby

import numpy as np
from numpy.typing import NDArray

from trainer.contract.inputs import InputSpec

# A text of more words is explained by as many groups of neighbours: time and memory stay bounded.
MOST_UNITS = 512
# Scripts written without spaces, by the first word of a character's name: each character is a word there.
_UNSPACED = {"CJK", "HIRAGANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"}
# Joiners and the soft hyphen continue what they follow; other controls (bidi ones) belong to no word.
_CONTINUES = "\u200c\u200d\u00ad"
# Inside of a word where letters stand on both sides (UAX #29, WB6 and WB7): don't, x.com, 3.14.
_BETWEEN = "'\u2019."

Piece = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What is left out at a time: a word, or a group of neighbours."""

    column: str
    """Which holds it."""
    start: int
    """Of its first character in the column's text as the model reads it."""
    end: int
    """After its last."""


@dataclass(frozen=True, kw_only=True)
class RowOfWords:
    """A row cut into words."""

    spec: InputSpec
    """How the columns join again. It unescapes and normalizes nothing more: that was done before the cut."""
    texts: dict[str, str]
    """Column to its text as the model reads it."""
    units: list[Unit]
    """In the order of the text."""
    group: int
    """Words of a unit: 1 unless there are more than MOST_UNITS."""
    pieces: dict[str, list[Piece]]
    """Column to its text in pieces, each with the number of its unit; -1: of none, never left out."""

    def shown(self, unit: Unit) -> str:
        """A unit's text."""
        return self.texts[unit.column][unit.start : unit.end]

    def without(self, keep: NDArray[np.bool_]) -> tuple[str, str | None]:
        """The model's text and pair where only some units are kept, bool [units]."""
        kept = [*keep.tolist(), True]
        return self.spec.read(
            {column: "".join(text for text, unit in pieces if kept[unit]) for column, pieces in self.pieces.items()}
        )


def cut_row(record: Mapping[str, object], spec: InputSpec) -> RowOfWords:
    """Cut a record's texts into words. Raises BadRow where the record cannot be scored."""
    spec.read(record)
    plain = replace(spec, on_null="empty")
    # A word that is left out may leave nothing to be seen, which is no fault of the row.
    joined = replace(plain, unescape_html=False, unicode=None)
    texts = {column: replace(plain, text=(column,), pair=None).read(record)[0] for column in spec.columns}
    words = {column: list(split_words(text)) for column, text in texts.items()}
    group = max(1, -(-sum(map(len, words.values())) // MOST_UNITS))
    units: list[Unit] = []
    pieces: dict[str, list[Piece]] = {}
    for column, spans in words.items():
        first = len(units)
        chunks = [spans[place : place + group] for place in range(0, len(spans), group)]
        units += [Unit(column=column, start=chunk[0][0], end=chunk[-1][1]) for chunk in chunks]
        pieces[column] = list(_pieces(texts[column], spans, first, group))
    return RowOfWords(spec=joined, texts=texts, units=units, group=group, pieces=pieces)


def _pieces(text: str, spans: list[tuple[int, int]], first: int, group: int) -> Iterator[Piece]:
    end = 0
    for place, (start, stop) in enumerate(spans):
        yield text[end:start], -1
        yield text[start:stop], first + place // group
        end = stop
    yield text[end:], -1


def split_words(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each word of a text; white space and punctuation are in none.

    A word is a run of letters, digits, marks and currency signs, a run of symbols (emoji), or one character of a script
    that is written without spaces.
    """
    kinds = [_kind(character) for character in text]
    for place, character in enumerate(text):
        if character in _CONTINUES or kinds[place] == "mark":
            kinds[place] = kinds[place - 1] if place else "gap"
        elif character in _BETWEEN and 0 < place < len(text) - 1:
            kinds[place] = "letter" if kinds[place - 1] == kinds[place + 1] == "letter" else "gap"
    # A lone character begins a new word even beside its like; marks stay with what they stand on.
    begins = [
        kind == "alone" and character not in _CONTINUES and _kind(character) == "alone"
        for kind, character in zip(kinds, text, strict=True)
    ]
    keys = zip(kinds, accumulate(begins), strict=True)
    end = 0
    for (kind, _), run in groupby(keys):
        start, end = end, end + sum(1 for _ in run)
        if kind != "gap":
            yield start, end


@lru_cache(maxsize=4096)
def _kind(character: str) -> str:
    """ "letter", "alone", "symbol", "mark" or "gap"."""
    category = unicodedata.category(character)
    # Skin tones (Sk beyond the first plane) change the emoji before them.
    if category[0] == "M" or (category == "Sk" and character > "\uffff"):
        return "mark"
    if category[0] in "LN" or category == "Sc" or character == "_":
        return "alone" if unicodedata.name(character, "").partition(" ")[0] in _UNSPACED else "letter"
    return "symbol" if category == "So" else "gap"
