"""Changes of a text that a reader would hardly notice, and swaps of words that a recipe asks for."""

import html
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

_WORD = re.compile(r"\w+")
# Of so many words one is misspelt, and at least one.
_EVERY = 5


@dataclass(frozen=True, kw_only=True)
class Change:
    """One kind of change."""

    kind: str
    about: str
    apply: Callable[[str, np.random.Generator], str]
    """Gives the text changed, or as it was where there is nothing to change."""
    swap: bool = False
    """Whether the recipe asks for it."""


def changes(swaps: Mapping[str, str]) -> list[Change]:
    """All kinds: letters, white space, writing, and each of the swaps."""
    return [
        Change(kind="lower case", about="all letters in lower case", apply=lambda text, _: text.lower()),
        Change(kind="upper case", about="all letters in upper case", apply=lambda text, _: text.upper()),
        Change(kind="doubled letters", about=f"a letter doubled in each {_EVERY}th word, one at least", apply=_doubled),
        Change(kind="lost letters", about=f"a letter lost in each {_EVERY}th word, one at least", apply=_lost),
        Change(kind="white space", about="two spaces for one, some without a break, and a line end", apply=_spaced),
        Change(kind="HTML entities", about="&, <, >, quotes and letters beyond ASCII as HTML entities", apply=_escaped),
        Change(
            kind="Unicode form", about="letters and their accents apart, or together where they were apart", apply=_form
        ),
        *(_swap(one, other) for one, other in swaps.items()),
    ]


def _words_changed(text: str, generator: np.random.Generator, change: Callable[[str, int], str]) -> str:
    """Some words of two letters or more, each changed at one of its letters."""
    words = [match for match in _WORD.finditer(text) if len(match[0]) > 1]
    if not words:
        return text
    count = max(1, len(words) // _EVERY)
    parts, end = [], 0
    for place in sorted(generator.choice(len(words), count, replace=False).tolist()):
        word = words[place]
        parts += [text[end : word.start()], change(word[0], int(generator.integers(len(word[0]))))]
        end = word.end()
    return "".join([*parts, text[end:]])


def _doubled(text: str, generator: np.random.Generator) -> str:
    return _words_changed(text, generator, lambda word, at: word[: at + 1] + word[at:])


def _lost(text: str, generator: np.random.Generator) -> str:
    return _words_changed(text, generator, lambda word, at: word[:at] + word[at + 1 :])


def _spaced(text: str, generator: np.random.Generator) -> str:
    kinds = ("  ", " \u00a0", "\t")
    return re.sub(" ", lambda _: kinds[int(generator.integers(len(kinds)))], text) + "\n"


def _escaped(text: str, _generator: np.random.Generator) -> str:
    return html.escape(text).encode("ascii", "xmlcharrefreplace").decode("ascii")


def _form(text: str, _generator: np.random.Generator) -> str:
    apart = unicodedata.normalize("NFD", text)
    return apart if apart != text else unicodedata.normalize("NFC", text)


def _swap(one: str, other: str) -> Change:
    """Both words exchanged wherever they stand alone; capitals stay."""
    pairs = {one.casefold(): other, other.casefold(): one}
    # Where one begins as the other does (New, New York), the longer one is tried first.
    longest_first = sorted((re.escape(word) for word in (one, other)), key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(longest_first)})(?!\w)", re.IGNORECASE)

    def exchanged(match: re.Match[str]) -> str:
        """The other word, in the case of the one found."""
        found = match[0]
        new = pairs.get(found.casefold(), found)
        if len(found) > 1 and found.isupper():
            return new.upper()
        return new[:1].upper() + new[1:] if found[:1].isupper() else new

    return Change(
        kind=f"{one} / {other}",
        about=f"{one!r} for {other!r} and the other way round",
        apply=lambda text, _: pattern.sub(exchanged, text),
        swap=True,
    )
