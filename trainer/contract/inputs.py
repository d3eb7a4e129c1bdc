"""One record's columns to the text that is classified: the same function in training and scoring."""

import html
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from trainer.contract.errors import BadRow, InputError, nearest
from trainer.contract.text_files.looks import delimiter_hint

_TEXT_COLUMN = (
    "In scoring --text-column names it, --no-header with --columns those of a file without header; else rename it"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
# Letters, marks and symbols by their category, of which nothing is seen: fillers, joiners, selectors, braille's blank.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """Which columns make the text, and how."""

    text: tuple[str, ...]
    """The columns, joined in this order with `join`; parts that are null leave no joiner behind."""
    pair: str | None = None
    """A column for the second text of a sentence pair, or None."""
    join: str = " "
    on_null: Literal["error", "empty", "drop"] = "error"
    """What a null means, in any of these columns. A null is a missing value or text in which nothing can be seen: white
    space, control and zero-width characters alone (also after unescaping: "&nbsp;"). "error" refuses the row, "drop"
    leaves it out of training (counted), "empty" reads it as "". Scoring never leaves a row out: "error" and "drop" both
    make it an error row there.
    """
    unescape_html: bool = False
    """Whether `html.unescape` is applied to each text."""
    unicode: Literal["NFC", "NFD", "NFKC", "NFKD"] | None = None
    """The form that `unicodedata.normalize` brings texts to, after unescaping; None leaves them."""

    def __post_init__(self) -> None:
        if not self.text:
            raise ValueError("text: expected at least one column")

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read."""
        return (*self.text, self.pair) if self.pair is not None else self.text

    def require(self, columns: Iterable[str], where: object) -> None:
        """Raise InputError where a file that is scored lacks one of the columns, with what may be meant.

        Labelled files have an error of their own (`trainer/data/rows.py`), which names the recipe's key.
        """
        present = list(columns)
        for column in self.columns:
            if column not in present:
                raise InputError(
                    f"no column {column!r}",
                    where=where,
                    found=", ".join(map(repr, present)),
                    do=delimiter_hint(present, self.columns) or f"{nearest(column, present)} {_TEXT_COLUMN}".strip(),
                )

    def read(self, record: Mapping[str, object]) -> tuple[str, str | None]:
        """The record's text, and its pair's where there is one.

        Raises BadRow: null_text, not_text or invalid_unicode.
        """
        parts = [self._part(record, column) for column in self.text]
        text = self.join.join(part for part in parts if part)
        return text, None if self.pair is None else self._part(record, self.pair)

    def clean(self, text: str) -> str:
        """A column's text, unescaped and normalised."""
        if self.unescape_html:
            text = html.unescape(text)
        return unicodedata.normalize(self.unicode, text) if self.unicode else text

    def _part(self, record: Mapping[str, object], column: str) -> str:
        value = record.get(column)
        # NaN is how tables of floats spell a missing value.
        if value is None or (isinstance(value, float) and math.isnan(value)):
            value = ""
        if not isinstance(value, str):
            raise BadRow("not_text", f"column {column!r} holds {type(value).__name__}, not text")
        if not value.isascii() and _SURROGATE.search(value):
            raise BadRow("invalid_unicode", f"column {column!r} holds half of a surrogate pair")
        value = self.clean(value)
        if any(map(_is_seen, value)):
            return value
        if self.on_null == "empty":
            return ""
        raise BadRow("null_text", f"column {column!r} is empty")


def _is_seen(character: str) -> bool:
    """Whether a character leaves a mark by itself."""
    # Nearly every text ends the look here, at its first letter.
    if character.isalnum() and character.isascii():
        return True
    hidden = character.isspace() or unicodedata.category(character) in ("Cc", "Cf") or _UNSEEN.match(character)
    return not hidden


def row_key(text: str, pair: str | None) -> int:
    """64 bits that tell rows apart by what they say (BLAKE2b); a second text is not the end of the first."""
    digest = blake2b(text.encode(), digest_size=8)
    if pair is not None:
        digest.update(b"\0")
        digest.update(pair.encode())
    return int.from_bytes(digest.digest(), "little")
