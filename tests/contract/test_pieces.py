"""Words that are looked up once: ids are the library's own, whatever the text, the order and the number of threads."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain
from string import punctuation

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from tests.contract.families import NAMES, family
from trainer.contract import pieces
from trainer.contract.pieces import Body, Pieces

# Scripts of every kind: with and without white space, with marks that combine, with letters whose lower case is two.
RANGES = {
    "ASCII, controls included": (0x00, 0x80),
    "Latin": (0x80, 0x250),
    "marks": (0x300, 0x370),
    "Greek and Cyrillic": (0x370, 0x530),
    "Hebrew and Arabic": (0x590, 0x700),
    "Devanagari": (0x900, 0x980),
    "Thai": (0xE00, 0xE80),
    "Hangul parts": (0x1100, 0x1200),
    "spaces and punctuation": (0x2000, 0x2070),
    "CJK punctuation and kana": (0x3000, 0x3100),
    "CJK": (0x4E00, 0x4E80),
    "Hangul": (0xAC00, 0xAC80),
    "full width": (0xFF00, 0xFF60),
    "emoji": (0x1F600, 0x1F650),
}
KINDS = [
    {"lowercase": True},
    {"lowercase": False},
    {"lowercase": False, "strip_accents": True},
    {"lowercase": True, "strip_accents": False},
    {"lowercase": True, "clean_text": False, "handle_chinese_chars": False},
]


def characters() -> Iterator[str]:
    """Each character of the ranges."""
    return (chr(code) for low, high in RANGES.values() for code in range(low, high))


@cache
def tokenizer(kind: int) -> Tokenizer:
    """Knows every character of the ranges as the first of a word and as a later one, and no words: so where the words
    of a text begin shows in its ids.
    """
    known = sorted(set(chain.from_iterable((each, each.lower(), each.upper()) for each in characters())))
    names = ["[UNK]", "[CLS]", *known, *(f"##{each}" for each in known)]
    made = Tokenizer(models.WordPiece({name: place for place, name in enumerate(names)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(**KINDS[kind])
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(["[UNK]", "[CLS]"])
    made.encode_special_tokens = True
    return made


def rows(body: Body) -> list[list[int]]:
    """The ids of each text."""
    spans = zip(body.starts.tolist(), body.lengths.tolist(), strict=True)
    return [body.ids[start : start + length].tolist() for start, length in spans]


def of_library(made: Tokenizer, texts: list[str]) -> list[list[int]]:
    """What the library gives for whole texts."""
    return [made.encode(text, add_special_tokens=False).ids for text in texts]


ANY = st.one_of(
    *(st.characters(min_codepoint=low, max_codepoint=high - 1) for low, high in RANGES.values()),
    st.sampled_from([" ", "  ", "\n", "\t", "\r", "a", "The", ".", "[CLS]", "\u0301", "\u00a0", "\u200d", "İ", "ẞ"]),
)


def pieces_of(tokenizer: Tokenizer) -> Pieces:
    """Its pieces, opened as an encoder opens them."""
    return Pieces(tokenizer, json.loads(tokenizer.to_str()))


@pytest.mark.parametrize("kind", range(len(KINDS)))
@given(texts=st.lists(st.lists(ANY, max_size=24).map("".join), max_size=6))
@settings(max_examples=60, deadline=None)
def test_ids_are_those_of_the_library(kind: int, texts: list[str]) -> None:
    """Texts of all scripts mixed, with every normalizer of BERT's: words by themselves give the ids of whole texts."""
    made = tokenizer(kind)
    found = pieces_of(made)
    assert found._by_word
    expected = of_library(made, texts)
    assert rows(found.read(texts)) == expected
    # Once more, now that every word is known.
    assert rows(found.read(texts[::-1])) == expected[::-1]


def test_a_boundary_that_is_wrong_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokenizer of these tests tells words apart: split inside a word, its ids are others."""
    monkeypatch.setattr(pieces, "_WORDS", pieces.re.compile(r"[^ \t\n\r!-/:-@\[-`{-~é]+|[!-/:-@\[-`{-~é]"))
    assert rows(pieces_of(tokenizer(1)).read(["né"])) != of_library(tokenizer(1), ["né"])


@pytest.mark.parametrize("name", NAMES)
def test_each_family_gives_what_its_library_gives(name: str) -> None:
    """Families whose words depend on their neighbours are left to the library."""
    made = family(name).tokenizer()
    texts = ["the cat sat", "the  cat\n sat. ", "", "cat", "[SEP] the-cat"]
    assert rows(pieces_of(made).read(texts)) == of_library(made, texts)


def test_an_added_token_of_two_words_is_found() -> None:
    """A token that stands for "free prize" is one id in a text, which no word by itself would show."""
    made = Tokenizer.from_str(tokenizer(0).to_str())
    made.add_tokens([AddedToken("free prize")])
    texts = ["a free prize now"]
    assert len(of_library(made, texts)[0]) == 5
    assert rows(pieces_of(made).read(texts)) == of_library(made, texts)


def test_words_are_read_once_and_forgotten_when_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library sees each word once; beyond a number of characters all are forgotten, and the ids stay the same."""
    made, asked = tokenizer(0), list[str]()
    found = pieces_of(made)
    plain = found._library
    monkeypatch.setattr(found, "_library", lambda texts: asked.extend(texts) or plain(texts))
    texts = ["the cat, the dog", "a cat"]
    assert rows(found.read(texts * 3)) == of_library(made, texts * 3)
    assert asked == ["the . cat . dog . a . "]
    monkeypatch.setattr(pieces, "_MOST_CHARS", 8)
    assert rows(found.read(["mouse"])) == of_library(made, ["mouse"])
    assert list(found._numbers) == [*punctuation, "mouse"]
    assert rows(found.read(texts)) == of_library(made, texts)


def test_a_word_that_reads_like_a_full_stop_is_told_from_one() -> None:
    """Where "." has no id of its own, other unknown words have its id, and words are read one by one."""
    made = Tokenizer.from_str(tokenizer(0).to_str())
    made.model = models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2}, unk_token="[UNK]")
    texts = ["ab c. a", "c d", "ab"]
    assert rows(pieces_of(made).read(texts)) == of_library(made, texts) == [[1, 2, 0, 0, 1], [0, 0], [1, 2]]


def test_threads_share_the_words() -> None:
    """Eight threads that read at once, each word new to some of them, get the ids that each would get alone."""
    made = tokenizer(0)
    found = pieces_of(made)
    texts = [[f"w{number % 97} x{number * thread % 89}." for number in range(300)] for thread in range(8)]
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda some: [rows(found.read([text]))[0] for text in some], texts))
    assert read == [of_library(made, some) for some in texts]


def test_a_text_that_cannot_be_read_spoils_nothing() -> None:
    """Half of a pair of surrogates is no text: it raises, as ever, and what is read after it is right."""
    made = tokenizer(0)
    found = pieces_of(made)
    with pytest.raises((TypeError, UnicodeEncodeError)):
        found.read(["the \ud800 cat"])
    assert rows(found.read(["the cat"])) == of_library(made, ["the cat"])


def test_no_text_is_no_id() -> None:
    """Nothing in, nothing out."""
    assert rows(pieces_of(tokenizer(0)).read([])) == []
    np.testing.assert_array_equal(pieces_of(tokenizer(0)).read(["", " "]).lengths, [0, 0])
    assert json.loads(tokenizer(0).to_str())["model"]["type"] == "WordPiece"
