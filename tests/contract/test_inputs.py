"""A record's columns to its text: what a null is, how columns join, and what is refused."""

from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.contract.errors import BadRow, InputError
from trainer.contract.inputs import InputSpec

NULLS = [None, float("nan"), "", " \t\n", "\u00a0\u2003"]
TWO = InputSpec(text=("title", "body"), on_null="empty")


@pytest.mark.parametrize("value", NULLS, ids=repr)
@pytest.mark.parametrize("on_null", ["error", "drop"])
def test_a_null_is_refused_unless_it_may_be_empty(value: object, on_null: Literal["error", "drop"]) -> None:
    """A missing value, NaN and white space are nulls; the reason is a fixed word and the column is named."""
    with pytest.raises(BadRow, match="'text'") as caught:
        InputSpec(text=("text",), on_null=on_null).read({"text": value})
    assert caught.value.reason == "null_text"


def test_a_column_that_a_row_lacks_is_null() -> None:
    """A JSON row may leave a key out: that is a null, not a crash."""
    with pytest.raises(BadRow, match="is empty"):
        InputSpec(text=("text",)).read({"other": "x"})


@pytest.mark.parametrize("value", [0, 1.5, True, b"text", ["text"], {"a": 1}, float("inf")], ids=repr)
@pytest.mark.parametrize("on_null", ["error", "empty"])
def test_what_is_no_text_is_refused(value: object, on_null: Literal["error", "empty"]) -> None:
    """A number is not turned into text unasked, and no other type is taken for a null."""
    with pytest.raises(BadRow, match=type(value).__name__) as caught:
        InputSpec(text=("text",), on_null=on_null).read({"text": value})
    assert caught.value.reason == "not_text"


@pytest.mark.parametrize("value", ["\ud83d", "a\udc80b"])
def test_half_a_surrogate_pair_is_refused(value: str) -> None:
    """A text that no tokenizer takes is an error row with its reason."""
    with pytest.raises(BadRow) as caught:
        InputSpec(text=("text",), on_null="empty").read({"text": value})
    assert caught.value.reason == "invalid_unicode"


def test_a_missing_column_names_the_nearest() -> None:
    """A file without the column is refused before any row is read, with the column that was meant."""
    with pytest.raises(InputError, match="no column 'body'") as caught:
        TWO.require(["Title", "title", "Body"], "rows.csv")
    assert "did you mean 'Body'" in str(caught.value)
    assert "rows.csv" in str(caught.value)
    TWO.require(["body", "title", "more"], "rows.csv")


def test_a_missing_pair_column_is_missed_too() -> None:
    """The pair's column is one of those that are read."""
    with pytest.raises(InputError, match="no column 'question'"):
        InputSpec(text=("text",), pair="question").require(["text"], "rows.csv")


def test_a_spec_without_a_column_is_refused() -> None:
    """Nothing to read is an error of the recipe."""
    with pytest.raises(ValueError, match="at least one column"):
        InputSpec(text=())


@pytest.mark.parametrize("value", NULLS, ids=repr)
def test_empty_parts_leave_no_joiner(value: object) -> None:
    """Where nulls may be empty, "a" and a null join to "a", two nulls to an empty text."""
    assert TWO.read({"title": value, "body": "b"}) == ("b", None)
    assert TWO.read({"title": "a", "body": value}) == ("a", None)
    assert TWO.read({"title": value, "body": value}) == ("", None)


def test_columns_join_in_the_order_of_the_recipe() -> None:
    """The order is that of `text`, not of the file, and the texts are not stripped."""
    spec = InputSpec(text=("b", "a"), join=" | ", pair="c")
    assert spec.read({"a": " x", "b": "y ", "c": "z"}) == ("y  |  x", "z")


def test_a_pair_may_be_null_like_a_text() -> None:
    """The null rule is that of every column."""
    with pytest.raises(BadRow, match="'c'"):
        InputSpec(text=("a",), pair="c").read({"a": "x", "c": " "})
    assert InputSpec(text=("a",), pair="c", on_null="empty").read({"a": "x", "c": None}) == ("x", "")


def test_html_is_unescaped_before_unicode_is_normalised() -> None:
    """Both are on request; a character that an entity spells is normalised like any other."""
    row = {"text": "e&#x301; &amp;amp; &lt;b&gt; ﬁ"}
    assert InputSpec(text=("text",)).read(row)[0] == row["text"]
    assert InputSpec(text=("text",), unescape_html=True, unicode="NFC").read(row)[0] == "é &amp; <b> ﬁ"
    assert InputSpec(text=("text",), unescape_html=True, unicode="NFKC").read(row)[0] == "é &amp; <b> fi"


def test_an_entity_of_white_space_is_a_null() -> None:
    """ "&nbsp;" alone, as exports of web pages have it, is no text once it is unescaped."""
    with pytest.raises(BadRow, match="is empty"):
        InputSpec(text=("text",), unescape_html=True).read({"text": "&nbsp;&#32;"})
    assert InputSpec(text=("text",)).read({"text": "&nbsp;"})[0] == "&nbsp;"


@settings(max_examples=200, deadline=None)
@given(
    value=st.one_of(
        st.none(), st.floats(), st.integers(), st.text(), st.text(st.characters(categories=["Cs", "Lu"])), st.binary()
    ),
    html=st.booleans(),
)
def test_any_value_is_text_or_a_bad_row(value: Any, html: bool) -> None:
    """Whatever a column holds: text that can be encoded, or BadRow with one of the three reasons."""
    reason = ""
    try:
        text, _ = InputSpec(text=("a",), unescape_html=html, unicode="NFKC").read({"a": value})
    except BadRow as error:
        reason, text = error.reason, "-"
    assert reason in ("", "null_text", "not_text", "invalid_unicode")
    assert text.encode().decode().strip()
