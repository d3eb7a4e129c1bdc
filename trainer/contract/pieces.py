"""Texts to the ids of their pieces, without special tokens and uncut; each word of a text is looked up only once.

A BERT tokenizer reads a word (what stands between white space and punctuation) without regard to its neighbours. So a
text's ids are those of its words in a row, and a dictionary of words that were seen is several times as fast as the
library, which still reads every word that is new.
"""

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from string import punctuation
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

Ints = NDArray[np.int64]
# What BERT splits at among the ASCII characters. Others are left inside a "word", which the library then splits itself.
_WORDS = re.compile(r"[^ \t\n\r!-/:-@\[-`{-~]+|[!-/:-@\[-`{-~]")
# Characters of the words that are kept: some 70,000 of them, 12 MB.
_MOST_CHARS = 2**19
# Texts that are taken apart at once: their words lie in memory meanwhile.
_AT_ONCE = 512
# New words that the library is given as one text.
_TOGETHER = 64


@dataclass(frozen=True)
class Body:
    """The ids of N texts."""

    ids: NDArray[np.int32]
    """Flat; they may hold more than these texts."""
    starts: Ints
    """Where each text's begin, [N]."""
    lengths: Ints
    """How many they are, [N]."""

    @classmethod
    def of(cls, encodings: Sequence[Encoding]) -> "Body":
        """What the library found."""
        rows = [encoding.ids for encoding in encodings]
        lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        return cls(np.fromiter(chain.from_iterable(rows), np.int32, int(lengths.sum())), _begins(lengths), lengths)

    @classmethod
    def joined(cls, parts: Sequence["Body"]) -> "Body":
        """The texts of the parts, of which there is at least one."""
        begins = _begins(np.array([len(part.ids) for part in parts]))
        return cls(
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.starts + begin for part, begin in zip(parts, begins, strict=True)]),
            np.concatenate([part.lengths for part in parts]),
        )

    def take(self, numbers: NDArray[np.int32], counts: Ints) -> "Body":
        """Texts that are made of these texts: `counts[n]` of `numbers` in a row are the n-th."""
        lengths = self.lengths[numbers]
        before = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        ends = np.cumsum(counts)
        return Body(
            self.ids[ragged(self.starts[numbers], lengths)],
            before[ends - counts],
            before[ends] - before[ends - counts],
        )

    def places(self, keep: Ints, head: Ints) -> Ints:
        """Where the kept ids lie in `ids`: the first `head` of each text, then its last `keep - head`."""
        within = ragged(np.zeros_like(keep), keep)
        skip = np.where(within < np.repeat(head, keep), 0, np.repeat(self.lengths - keep, keep))
        return np.repeat(self.starts, keep) + within + skip


class Pieces:
    """A tokenizer with the words that it has read. Safe to use from several threads.

    content: its `tokenizer.json`.
    """

    def __init__(self, tokenizer: Tokenizer, content: dict[str, Any]) -> None:
        self._tokenizer = tokenizer
        self._by_word = _word_by_word(content)
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}
        self._seen, self._chars, self._stop = Body.of([]), 0, -1
        if self._by_word:
            self._forget()

    def read(self, texts: Sequence[str]) -> Body:
        """The ids of N texts: those that the library gives."""
        if not self._by_word:
            return self._library(texts)
        return Body.joined(
            [self._some(texts[start : start + _AT_ONCE]) for start in range(0, len(texts) or 1, _AT_ONCE)]
        )

    def _some(self, texts: Sequence[str]) -> Body:
        rows = list(map(_WORDS.findall, texts))
        counts = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        with self._lock:
            numbers = self._numbers_of(list(chain.from_iterable(rows)))
            return self._seen.take(numbers, counts)

    def _numbers_of(self, words: list[str]) -> NDArray[np.int32]:
        """Where each word stands in `_seen`; the library reads those that are new."""
        if self._chars > _MOST_CHARS:
            self._forget()
        numbers = np.fromiter(map(self._numbers.get, words, repeat(-1)), np.int32, len(words))
        unknown = np.flatnonzero(numbers < 0)
        if len(unknown):
            new = list(dict.fromkeys(words[place] for place in unknown.tolist()))
            known = len(self._seen.lengths)
            # The dictionary last: whatever ends a thread here, it names no word that is not there.
            self._seen = Body.joined([self._seen, self._words(new)])
            self._chars += sum(map(len, new))
            self._numbers.update(zip(new, range(known, len(self._seen.lengths)), strict=True))
            numbers[unknown] = [self._numbers[words[place]] for place in unknown.tolist()]
        return numbers

    def _words(self, words: list[str]) -> Body:
        """The ids of N words that are no punctuation, many in a text: a text costs the library more than a word."""
        lines = [" . ".join([*words[start : start + _TOGETHER], ""]) for start in range(0, len(words), _TOGETHER)]
        ids = self._library(lines).ids
        ends = np.flatnonzero(ids == self._stop)
        # One more than there are words: some word reads like a full stop, or has its id for want of another.
        if len(ends) != len(words):
            return self._library(words)
        starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1] + 1])
        return Body(ids, starts, ends - starts)

    def _forget(self) -> None:
        self._seen, self._chars = self._library(list(punctuation)), 0
        self._numbers = {mark: number for number, mark in enumerate(punctuation)}
        self._stop = int(self._seen.ids[self._seen.starts[punctuation.index(".")]])

    def _library(self, texts: Sequence[str]) -> Body:
        return Body.of(self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False))


def _word_by_word(tokenizer: dict[str, Any]) -> bool:
    """Whether a `tokenizer.json` reads each word by itself: BERT's steps, and no added token that a text may hold.

    Special tokens are not looked for in texts.
    """
    steps = (tokenizer.get("normalizer"), tokenizer.get("pre_tokenizer"), tokenizer["model"])
    kinds = tuple(None if step is None else step.get("type") for step in steps)
    added = tokenizer.get("added_tokens") or []
    return kinds in (
        ("BertNormalizer", "BertPreTokenizer", "WordPiece"),
        (None, "BertPreTokenizer", "WordPiece"),
    ) and all(token["special"] for token in added)


def ragged(starts: Ints, lengths: Ints) -> Ints:
    """starts[0], starts[0] + 1, ... (lengths[0] of them), starts[1], ...: the places of ragged rows, flat."""
    before = _begins(lengths)
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()), dtype=np.int64)


def _begins(lengths: Ints) -> Ints:
    return np.cumsum(lengths) - lengths
