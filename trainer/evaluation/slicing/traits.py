"""What can be seen of a text from outside: its length, its script, and whether it has a link, a number or an emoji."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trainer.contract.encoding import Ints
from trainer.evaluation.measured import Bools

_URL = re.compile(r"https?://|\bwww\.|\b[a-z0-9-]+\.(?:com|net|org|io|co|de|es|fr|uk|ru|cn|info|biz)\b", re.IGNORECASE)
_NUMBER = re.compile(r"\d")
# Blocks of pictographs; what is text unless a selector follows it (digits, the copyright sign) is none.
_EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\u2b50\u2b55\u231a\u231b\u23e9-\u23f3]")
# First words of Unicode's names of letters that are no script.
_NO_SCRIPT = {"FULLWIDTH": "LATIN", "MODIFIER": "", "MATHEMATICAL": "LATIN", "FEMININE": "LATIN", "MASCULINE": "LATIN"}
_NO_LETTERS = "no letters"


@dataclass(frozen=True, kw_only=True)
class Traits:
    """Of N rows, [N] each."""

    characters: Ints
    capitals: NDArray[np.float64]
    """Share of the letters that are capitals, 0 to 1."""
    truncated: Bools
    """Whether the token limit cut the text."""
    script: list[str]
    """The script of most letters, as Unicode's names of letters give it."""
    url: Bools
    number: Bools
    emoji: Bools

    @classmethod
    def of(cls, texts: Iterable[str], pairs: Sequence[str] | None, cut: Ints) -> "Traits":
        """The traits of texts, with their pairs. cut: tokens that truncation dropped."""
        wholes = list(texts) if pairs is None else [f"{text}\n{pair}" for text, pair in zip(texts, pairs, strict=True)]
        counted = [_letters(text) for text in wholes]
        return cls(
            characters=np.array([len(text) for text in wholes], dtype=np.int64),
            capitals=np.array([capitals for capitals, _ in counted], dtype=np.float64),
            truncated=cut > 0,
            script=[script for _, script in counted],
            url=_holds(_URL, wholes),
            number=_holds(_NUMBER, wholes),
            emoji=_holds(_EMOJI, wholes),
        )


def _holds(pattern: re.Pattern[str], texts: Sequence[str]) -> Bools:
    return np.array([pattern.search(text) is not None for text in texts], dtype=np.bool_)


def _letters(text: str) -> tuple[float, str]:
    """The share of capitals among the letters, and the script of most of them."""
    scripts: Counter[str] = Counter()
    capitals = 0
    # Each different character is looked at once, however long the text is.
    for character, count in Counter(text).items():
        if script := _script(character):
            scripts[script] += count
            capitals += count * character.isupper()
    total = scripts.total()
    # Of two scripts with equally many letters, the first by name.
    most = min(scripts, key=lambda name: (-scripts[name], name)) if scripts else _NO_LETTERS
    return capitals / max(1, total), most


@lru_cache(maxsize=100_000)
def _script(character: str) -> str:
    """The script of a letter, in lower case; empty for what is no letter.

    Python knows no scripts, but letters are named after theirs.
    """
    if not character.isalpha():
        return ""
    first = unicodedata.name(character, "unnamed").split()[0]
    return _NO_SCRIPT.get(first, first).lower().replace("cjk", "han")
