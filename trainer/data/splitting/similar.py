"""Texts that are nearly equal, found in linear time: MinHash (Broder 1997) over pairs of words, in bands, and each
candidate then compared pair by pair.
"""

import re
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from trainer.data.splitting.tied import units

# Share of common word pairs (Jaccard). Two texts of ten words that differ in one of them have 7 of 11 in common.
LIKE = 0.6
# Bands of four: texts with a share s of their pairs in common meet with a chance of 1 - (1 - s**4)**16, 0.89 at 0.6.
_HASHES, _BANDS = 64, 16
# Of fewer words one is too much of the whole: such texts are alike where they are equal.
_FEWEST_WORDS = 5
_WORD = re.compile(r"\w+")


def folded(text: str) -> str:
    """A text without its case, punctuation and spacing; the text itself where nothing else is in it."""
    return " ".join(_WORD.findall(text.casefold())) or text


def clusters(texts: list[str]) -> NDArray[np.int64]:
    """Number the sets of like texts, [N]: those equal when folded, and those of five words or more that have at least
    `LIKE` of their word pairs in common, perhaps by way of a third text.
    """
    plain = [folded(text) for text in texts]
    first: dict[str, int] = {}
    for number, text in enumerate(plain):
        first.setdefault(text, number)
    long = [number for number in first.values() if plain[number].count(" ") + 1 >= _FEWEST_WORDS]
    links = ((long[one], long[other]) for one, other in _links([plain[number] for number in long]))
    return units(len(texts), [plain], links)


def _links(texts: list[str]) -> Iterator[tuple[int, int]]:
    """Pairs of like texts, each text with the first of each band it shares, so the work grows with the texts alone."""
    if not texts:
        return
    pairs = [_word_pairs(text) for text in texts]
    signatures = _minhash(pairs)
    seen: set[tuple[int, int]] = set()
    for band in np.split(signatures, _BANDS):
        first: dict[bytes, int] = {}
        for number, key in enumerate(np.ascontiguousarray(band.T)):
            link = (first.setdefault(key.tobytes(), number), number)
            if link[0] != number and link not in seen:
                seen.add(link)
                if _jaccard(pairs[link[0]], pairs[number]) >= LIKE:
                    yield link


def _word_pairs(text: str) -> NDArray[np.uint64]:
    """The distinct pairs of neighbouring words, as numbers."""
    # crc32 is the same in every process, which Python's own hash of a text is not.
    words = np.array([zlib.crc32(word.encode(errors="replace")) for word in text.split()], dtype=np.uint64)
    return np.unique((words[:-1] << np.uint64(32)) | words[1:])


def _minhash(sets: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Signatures [H, N]: the smallest value of each set under H hash functions."""
    generator = np.random.default_rng(0)
    factors = generator.integers(1, 2**63, _HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    members = np.concatenate(sets)
    # The pairs' own bits are far from random; one round of mixing spreads them (Vigna, splitmix64).
    members = (members ^ (members >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    members ^= members >> np.uint64(27)
    starts = np.cumsum([0, *(len(one) for one in sets[:-1])])
    return np.stack(
        [np.minimum.reduceat((members * factor) ^ ((members * factor) >> np.uint64(29)), starts) for factor in factors]
    )


def _jaccard(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> float:
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)
