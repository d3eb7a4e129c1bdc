"""Robustness: what each change does to a text, and the flips of classifiers whose weakness is known."""

from collections.abc import Callable

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from trainer.contract.encoding import Encoded, EncodingPolicy, TextEncoder
from trainer.contract.figures.exact import interval
from trainer.contract.inputs import InputSpec
from trainer.contract.labelled import LabelledRows
from trainer.contract.labels import LabelSpace, Scores
from trainer.evaluation.changes import changes
from trainer.evaluation.robustness import Probe, measure_robustness

SPACE = LabelSpace(names=("no", "yes"))


def encoder() -> TextEncoder:
    """Each character is a token, so nothing of a text is lost."""
    alphabet = {character: place for place, character in enumerate(map(chr, range(1, 0x2000)))}
    tokenizer = Tokenizer(
        models.WordLevel({"[UNK]": 0} | {name: place + 1 for name, place in alphabet.items()}, "[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return TextEncoder(tokenizer, EncodingPolicy(max_tokens=200, pad_id=0, pad_type_id=0))


def probe(texts: list[str], says: Callable[[str], bool], **spec: object) -> Probe:
    """Rows, and a classifier that says yes where `says` does."""
    rows = LabelledRows(
        ids=np.arange(len(texts)) + 100,
        texts=texts,
        pairs=None,
        labels=np.zeros(len(texts), dtype=np.int64),
        places=[""] * len(texts),
    )

    def ask(given: LabelledRows, encoded: Encoded) -> Scores:
        assert len(given) == len(encoded)
        return SPACE.decode(np.array([[0.0, 2.0 * says(text) - 1.0] for text in given.texts]).reshape(-1, 2))

    own = encoder()
    encoded = own.encode(texts)
    input_spec = InputSpec(text=("text",), **spec)  # type: ignore[arg-type] # One keyword or none.
    return Probe(
        rows=rows, encoded=encoded, scores=ask(rows, encoded), encoder=own, input=input_spec, score=ask, seed=7
    )


def kinds(found: dict) -> dict[str, dict]:
    """Each change's figures by name."""
    return {each["kind"]: each for each in found["kinds"]}


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("lower case", "Win NOW", "win now"),
        ("upper case", "Win now", "WIN NOW"),
        ("HTML entities", "a < b & é", "a &lt; b &amp; &#233;"),
        ("Unicode form", "café", "cafe\u0301"),
        ("Unicode form", "cafe\u0301", "café"),
        ("he / she", "He said she is HE, then", "She said he is SHE, then"),
    ],
)
def test_changes_do_what_they_say(kind: str, text: str, expected: str) -> None:
    """Case, entities, Unicode form and swaps, of which only whole words count and capitals stay; a decomposed text is
    composed.
    """
    (change,) = [each for each in changes({"he": "she"}) if each.kind == kind]
    assert change.apply(text, np.random.default_rng(0)) == expected


def test_misspelt_words_are_one_letter_longer_or_shorter() -> None:
    """Of ten words two are changed, of two words one; white space keeps every word."""
    by_kind = {each.kind: each for each in changes({})}
    for text, words in (("one two three four five six seven eight nine ten", 2), ("hello there", 1)):
        doubled = by_kind["doubled letters"].apply(text, np.random.default_rng(1))
        lost = by_kind["lost letters"].apply(text, np.random.default_rng(1))
        assert (len(doubled), len(lost)) == (len(text) + words, len(text) - words)
        assert by_kind["white space"].apply(text, np.random.default_rng(1)).split() == text.split()


def test_a_classifier_that_hears_capitals_is_seen() -> None:
    """Yes for texts with a capital: lower case flips those, upper case the others, and misspellings none."""
    texts = ["Hello there dear"] * 30 + ["hello there dear"] * 50
    found = kinds(measure_robustness(probe(texts, lambda text: text != text.lower()), {}))
    lower, upper = found["lower case"], found["upper case"]
    assert (lower["rows"], lower["flips"], lower["share"]["value"]) == (30, 30, 1.0)
    assert (upper["rows"], upper["flips"]) == (80, 50)
    assert (upper["share"]["low"], upper["share"]["high"]) == interval(50, 80)
    assert set(lower["flipped"]) <= set(range(100, 130))
    assert len(lower["flipped"]) == 5
    assert found["white space"]["flips"] == 0
    assert found["HTML entities"]["rows"] == 0
    assert found["HTML entities"]["share"]["high"] == 1.0


def test_swaps_are_asked_of_rows_that_have_the_words() -> None:
    """A swap changes the rows with its words alone, and flips a classifier that listens to them."""
    texts = [f"{'she' if place % 10 == 0 else 'it'} is here {place}" for place in range(200)]
    found = kinds(measure_robustness(probe(texts, lambda text: "she " in text), {"he": "she", "cat": "dog"}))
    assert (found["he / she"]["rows"], found["he / she"]["flips"], found["he / she"]["swap"]) == (20, 20, True)
    assert found["cat / dog"]["rows"] == 0


def test_a_change_that_the_recipe_cleans_away_changes_nothing() -> None:
    """With `unescape_html` entities are undone, and with a Unicode form accents are put together again."""
    texts = ["caf\u00e9 & more"] * 20
    heard = probe(texts, lambda text: "&amp;" in text or "\u0301" in text)
    raw = kinds(measure_robustness(heard, {}))
    assert raw["HTML entities"]["flips"] == raw["Unicode form"]["flips"] == 20
    deaf = probe(texts, lambda text: "&amp;" in text or "\u0301" in text, unescape_html=True, unicode="NFC")
    cleaned = kinds(measure_robustness(deaf, {}))
    assert cleaned["HTML entities"]["rows"] == cleaned["Unicode form"]["rows"] == 0


def test_the_sample_is_bounded_and_the_same_each_time() -> None:
    """Of 2,000 rows at most 200 are asked for each change, fewer where they are long; a second run gives the same."""
    short = probe([f"Hello there {place}" for place in range(2000)], lambda text: "l" in text[::3])
    first = measure_robustness(short, {})
    assert {each["rows"] for each in first["kinds"] if each["rows"]} == {200}
    assert measure_robustness(short, {}) == first
    long = probe(["Hello there " * 40 + str(place) for place in range(300)], lambda _: True)
    assert measure_robustness(long, {})["sample"] == 100
