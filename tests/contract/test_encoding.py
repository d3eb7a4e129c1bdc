"""Texts to token ids, held against a reference that is written one row at a time."""

import itertools
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.contract.families import NAMES, Family, family
from trainer.contract.encoding import EncodingPolicy, TextEncoder, budget_batches
from trainer.contract.errors import ArtifactError, InputError

Truncation = Literal["head", "tail", "head_tail"]
TEXTS = [
    "",
    "the cat",
    "the cat sat on the mat and the dog ran away from the free prize number below tonight",
    "win [SEP] now [CLS] </s> <s> [PAD] <mask> a",
    "😀👩‍👩‍👧 the ☃️ cat",
    "שלום עולם مرحبا بالعالم the cat",
    " \t\u200b\u00a0 ",
    "\x00\x01 the \ufffd \ufeff cat",
]
POLICIES = [
    EncodingPolicy(max_tokens=9, truncation="head"),
    EncodingPolicy(max_tokens=9, truncation="tail"),
    EncodingPolicy(max_tokens=16, truncation="head_tail"),
    EncodingPolicy(max_tokens=12, truncation="head_tail", head_tokens=3),
    EncodingPolicy(max_tokens=6, truncation="head_tail", head_tokens=5),
    EncodingPolicy(max_tokens=512),
]
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def cut(ids: list[int], room: int, policy: EncodingPolicy) -> list[int]:
    """The tokens of one text that stay, as EncodingPolicy tells it."""
    if len(ids) <= room:
        return ids
    if policy.truncation == "head":
        return ids[:room]
    if policy.truncation == "tail":
        return ids[len(ids) - room :]
    head = min(room, room // 4 if policy.head_tokens is None else policy.head_tokens)
    return ids[:head] + ids[len(ids) - (room - head) :]


def reference(known: Family, policy: EncodingPolicy, text: str, pair: str | None) -> tuple[list[int], list[int], int]:
    """ids, types and the number of tokens cut of one row, by loops."""
    tokenizer = known.tokenizer()
    bodies = {"A": tokenizer.encode(text, add_special_tokens=False).ids}
    if pair is not None:
        bodies["B"] = tokenizer.encode(pair, add_special_tokens=False).ids
    template = known.single if pair is None else known.pair
    rooms = {name: len(ids) for name, ids in bodies.items()}
    # Taken one by one from the longer text; of two equal ones the first gives way, so the odd token is the second's...
    longer = max(rooms, key=lambda name: (rooms[name], name))
    while sum(rooms.values()) > policy.max_tokens - (len(template) - len(bodies)):
        # ... or the one's that was longer at the start.
        rooms[max(rooms, key=lambda name: (rooms[name], name != longer))] -= 1
    ids, types = [], []
    for token, kind in template:
        part = cut(bodies[token], rooms[token], policy) if token in bodies else [tokenizer.token_to_id(token)]
        ids += part
        types += [kind] * len(part)
    return ids, types, sum(map(len, bodies.values())) - sum(rooms.values())


def encoder(name: str, policy: EncodingPolicy) -> TextEncoder:
    """A TextEncoder of one family."""
    return TextEncoder(Tokenizer.from_str(family(name).json), policy)


@pytest.mark.parametrize("limit", [1, 2])
def test_a_limit_without_room_for_text_is_refused(limit: int) -> None:
    """Two special tokens leave no room below three tokens, and the error names the least limit."""
    with pytest.raises(InputError, match="no room") as caught:
        encoder("wordpiece", EncodingPolicy(max_tokens=limit))
    assert "at least 3" in str(caught.value)


def test_a_limit_without_room_for_both_texts_is_refused() -> None:
    """RoBERTa puts four special tokens around a pair, so five tokens serve a single text but no pair."""
    narrow = encoder("roberta", EncodingPolicy(max_tokens=5))
    assert narrow.encode(["the cat sat"]).lengths.tolist() == [5]
    with pytest.raises(InputError, match="no room"):
        narrow.encode(["the cat"], ["the cat"])


@pytest.mark.parametrize(
    ("settings_", "match"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 9, "head_tokens": 3}, "only for truncation: head_tail"),
        ({"max_tokens": 9, "truncation": "head_tail", "head_tokens": 9}, "expected 1 to 8"),
        ({"max_tokens": 9, "truncation": "head_tail", "head_tokens": 0}, "expected 1 to 8"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(settings_: dict[str, int], match: str) -> None:
    """A policy's numbers are checked when it is made, not when the first long row arrives."""
    with pytest.raises(ValueError, match=match):
        EncodingPolicy(**settings_)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [None, "", "{}", '{"version": "1.0"', "[1]"])
def test_a_damaged_tokenizer_file_is_named(tmp_path: Path, content: str | None) -> None:
    """A missing or unreadable tokenizer.json is an ArtifactError, not the library's bare Exception."""
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ArtifactError, match=r"tokenizer\.json"):
        TextEncoder.open(path, EncodingPolicy(max_tokens=8))


def test_a_tokenizer_that_reads_nothing_is_refused() -> None:
    """A tokenizer that drops every character would train and score on empty rows without a word."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(character, " ") for character in "a1я的م"])
    with pytest.raises(ArtifactError, match="no token"):
        TextEncoder(tokenizer, EncodingPolicy(max_tokens=8))


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: f"{policy.truncation}{policy.max_tokens}")
@pytest.mark.parametrize("name", NAMES)
def test_rows_are_those_of_the_plain_reference(name: str, policy: EncodingPolicy) -> None:
    """Ids, types and the count of cut tokens are those of a row-by-row reference, for every family and policy."""
    encoded = encoder(name, policy).encode(TEXTS)
    for row, text in enumerate(TEXTS):
        ids, types, lost = reference(family(name), policy, text, None)
        span = slice(encoded.offsets[row], encoded.offsets[row + 1])
        assert (encoded.ids[span].tolist(), encoded.types[span].tolist(), encoded.cut[row]) == (ids, types, lost), text


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: f"{policy.truncation}{policy.max_tokens}")
@pytest.mark.parametrize("name", NAMES)
def test_pairs_are_those_of_the_plain_reference(name: str, policy: EncodingPolicy) -> None:
    """Pairs of every length against every other: the longer text gives way first, each by the policy."""
    texts, pairs = zip(*itertools.product(TEXTS, TEXTS), strict=True)
    encoded = encoder(name, policy).encode(texts, pairs)
    for row, (text, pair) in enumerate(zip(texts, pairs, strict=True)):
        ids, types, lost = reference(family(name), policy, text, pair)
        span = slice(encoded.offsets[row], encoded.offsets[row + 1])
        assert (encoded.ids[span].tolist(), encoded.types[span].tolist(), encoded.cut[row]) == (ids, types, lost)


@pytest.mark.parametrize("name", ["wordpiece", "roberta", "unigram"])
@pytest.mark.parametrize("limit", [8, 9, 40])
def test_head_is_what_transformers_cuts(name: str, limit: int) -> None:
    """truncation=True of a fast tokenizer gives the same ids, single and in pairs, once it is told not to read special
    tokens in a text; by default it reads "[SEP]" as the separator, which is where we differ on purpose.
    """
    theirs = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(family(name).json))
    ours = encoder(name, EncodingPolicy(max_tokens=limit))
    texts, pairs = map(list, zip(*itertools.product(TEXTS, TEXTS), strict=True))
    for arguments in ((texts,), (texts, pairs)):
        encoded = ours.encode(*arguments)
        rows = np.split(encoded.ids, encoded.offsets[1:-1])
        expected = theirs(*arguments, truncation=True, max_length=limit, split_special_tokens=True)["input_ids"]
        assert [row.tolist() for row in rows] == expected


def test_a_special_token_spelled_out_is_text() -> None:
    """A text with "[SEP]" gains no separator: one [CLS] and one [SEP] a row, whoever writes what."""
    tokenizer = family("wordpiece").tokenizer()
    row = encoder("wordpiece", EncodingPolicy(max_tokens=64)).encode(["the [SEP] cat [CLS]"]).ids.tolist()
    assert [row.count(tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")] == [1, 1]


def test_ten_thousand_words_are_cut_and_counted() -> None:
    """The counts of rows and tokens cut are those of the whole text, not of a first piece of it."""
    text = " ".join(["cat"] * 10_000)
    for truncation in ("head", "tail", "head_tail"):
        encoded = encoder("bare", EncodingPolicy(max_tokens=100, truncation=truncation)).encode([text, "the cat"])
        assert encoded.truncation() == {"rows": 2, "rows_cut": 1, "tokens": 102, "tokens_cut": 9_900}


def test_state_in_the_tokenizer_file_is_not_obeyed() -> None:
    """Truncation and padding saved in tokenizer.json by another tool do not change a row."""
    tokenizer = family("wordpiece").tokenizer()
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=32)
    policy = EncodingPolicy(max_tokens=12)
    dirty = TextEncoder(Tokenizer.from_str(tokenizer.to_str()), policy).encode(TEXTS)
    clean = encoder("wordpiece", policy).encode(TEXTS)
    assert np.array_equal(dirty.ids, clean.ids)


def test_no_rows_are_no_batch() -> None:
    """Nothing in, nothing out: no division by zero rows."""
    coder = encoder("wordpiece", EncodingPolicy(max_tokens=8))
    encoded = coder.encode([])
    assert (len(encoded), encoded.truncation()["tokens"]) == (0, 0)
    assert coder.pad(encoded, np.array([], dtype=np.int64)).ids.shape == (0, 0)


def test_pad_fills_on_the_right_with_the_policys_ids() -> None:
    """Rows come in the order asked for, padded to the longest of them with pad_id and pad_type_id, masked there."""
    coder = encoder("wordpiece", EncodingPolicy(max_tokens=16, pad_id=7, pad_type_id=3))
    encoded = coder.encode(["the cat", "the cat sat on the mat", "a"], ["a", "", "the dog"])
    batch = coder.pad(encoded, np.array([2, 0, 2]))
    width = int(encoded.lengths[[2, 0]].max())
    for place, row in enumerate([2, 0, 2]):
        span = slice(encoded.offsets[row], encoded.offsets[row + 1])
        length = int(encoded.lengths[row])
        blank = width - length
        assert batch.ids[place].tolist() == encoded.ids[span].tolist() + [7] * blank
        assert batch.types[place].tolist() == encoded.types[span].tolist() + [3] * blank
        assert batch.mask[place].tolist() == [1] * length + [0] * blank
    assert {array.dtype for array in batch.named().values()} == {np.dtype(np.int64)}


@pytest.mark.parametrize(("name", "token"), [("wordpiece", "[UNK]"), ("unigram", "[UNK]"), ("roberta", None)])
def test_the_unknown_token_is_known(name: str, token: str | None) -> None:
    """Each model type says in its own way which token is the unknown one; byte level has none."""
    expected = None if token is None else family(name).tokenizer().token_to_id(token)
    assert encoder(name, EncodingPolicy(max_tokens=8)).unknown_id == expected


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(ANY_TEXT, min_size=1, max_size=4),
    truncation=st.sampled_from(["head", "tail", "head_tail"]),
    limit=st.integers(6, 30),
    name=st.sampled_from(NAMES),
    paired=st.booleans(),
)
def test_a_row_does_not_depend_on_its_batch_mates(
    texts: list[str], truncation: Truncation, limit: int, name: str, paired: bool
) -> None:
    """Any row encoded alone is the row encoded with others; what is kept and what is cut make the whole."""
    coder = encoder(name, EncodingPolicy(max_tokens=limit, truncation=truncation))
    whole = encoder(name, EncodingPolicy(max_tokens=100_000))
    pairs = texts[::-1] if paired else None
    together = coder.encode(texts, pairs)
    for row, text in enumerate(texts):
        alone = coder.encode([text], None if pairs is None else [pairs[row]])
        span = slice(together.offsets[row], together.offsets[row + 1])
        assert alone.ids.tolist() == together.ids[span].tolist()
    assert (together.lengths <= limit).all()
    assert (together.lengths + together.cut == whole.encode(texts, pairs).lengths).all()


@settings(max_examples=100, deadline=None)
@given(lengths=st.lists(st.integers(1, 50), max_size=40), tokens=st.integers(1, 200), data=st.data())
def test_every_row_is_in_one_batch_within_the_budget(lengths: list[int], tokens: int, data: st.DataObject) -> None:
    """Batches hold each row once, in order; rows x longest is within the budget, but for a longer row, which stands
    alone.
    """
    order = np.array(data.draw(st.permutations(range(len(lengths)))), dtype=np.int64)
    sizes = np.array(lengths, dtype=np.int64)
    batches = budget_batches(sizes, order, tokens)
    assert list(itertools.chain.from_iterable(batch.tolist() for batch in batches)) == order.tolist()
    for batch in batches:
        assert len(batch) == 1 or len(batch) * sizes[batch].max() <= tokens


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(11, [[0, 1], [2, 3], [4], [5]]), (12, [[0, 1, 2], [3], [4], [5]]), (16, [[0, 1, 2, 3], [4], [5]])],
)
def test_batches_are_as_full_as_the_budget_allows(tokens: int, expected: list[list[int]]) -> None:
    """Rows of four tokens fill the budget to its last token and not beyond; a row of twenty stands alone."""
    batches = budget_batches(np.array([4, 4, 4, 4, 20, 1]), np.arange(6), tokens)
    assert [batch.tolist() for batch in batches] == expected
