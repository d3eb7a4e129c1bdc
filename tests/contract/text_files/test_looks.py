"""Files that are not what they were called are named as what they are."""

import bz2
import gzip
import io
import lzma
import zipfile
from pathlib import PurePath

import pytest

from tests.contract.reading import read
from trainer.contract.errors import BadRow, InputError
from trainer.contract.inputs import InputSpec
from trainer.contract.text_files.formats import is_hidden, split_suffixes
from trainer.contract.text_files.records import Dialect, read_columns

ROWS = b"id,text\n1,the soup was great\n2,caf\xc3\xa9\n"


def _zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("rows.csv", content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "kind", "remedy"),
    [
        (gzip.compress(ROWS, mtime=0), "gzip", ".gz"),
        (bz2.compress(ROWS), "bzip2", ".bz2"),
        (lzma.compress(ROWS), "xz", ".xz"),
        (b"\x28\xb5\x2f\xfd" + ROWS, "Zstandard", ".zst"),
        (_zipped(ROWS), "ZIP", "as CSV"),
        (b"PAR1\x15" + ROWS, "Parquet", ".parquet"),
        (ROWS.decode().encode("utf-16"), "UTF-16", "utf-16 ("),
        (ROWS.decode().encode("utf-32"), "UTF-32", "utf-32 ("),
        (ROWS.decode().encode("utf-16-le"), "UTF-16", "utf-16-le"),
        (ROWS.decode().encode("utf-16-be"), "UTF-16", "utf-16-be"),
    ],
)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_other_kinds_of_files_are_named(content: bytes, kind: str, remedy: str, form: str) -> None:
    """A text file that is compressed, an archive, Parquet or UTF-16 by its first bytes says so, and what to do."""
    with pytest.raises(InputError) as caught:
        read(content, Dialect(format=form))  # type: ignore[arg-type]
    assert kind in str(caught.value)
    assert remedy in str(caught.value)
    if form == "csv":
        with pytest.raises(InputError, match=kind):
            read_columns(io.BytesIO(content), Dialect(), "data.csv")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-8"])
def test_a_named_encoding_is_read(encoding: str) -> None:
    """What is named as UTF-16 is read as such; a column that begins with BZh is a column."""
    found = read(ROWS.decode().encode(encoding), Dialect(encoding=encoding))
    assert [record.values for record in found] == [
        {"id": "1", "text": "the soup was great"},
        {"id": "2", "text": "café"},
    ]
    assert read(b"BZh,text\n1,a\n")[0].values == {"BZh": "1", "text": "a"}


@pytest.mark.parametrize(
    ("columns", "remedy"),
    [
        (["id;text"], "delimiter ';'"),
        (['"id"\t"text"'], "delimiter '\\t'"),
        (["id|name"], "is '|' the delimiter?"),
        (["sep=;"], "delimiter ';'"),
        (["id", "txt"], "did you mean 'txt'"),
        (["txt"], "did you mean 'txt'"),
    ],
)
def test_a_missing_column_behind_another_delimiter(columns: list[str], remedy: str) -> None:
    """A header that is one column names the delimiter that would fit; another names the nearest column."""
    with pytest.raises(InputError) as caught:
        InputSpec(text=("text",)).require(columns, "data.csv")
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "ways"),
    [
        (["id;text"], ("--delimiter ';'", 'delimiter: ";"')),
        (["Text", "label"], ("did you mean 'Text'?", "--text-column")),
        (["a first row", "its label"], ("--text-column", "--no-header")),
    ],
)
def test_a_missing_column_says_how_to_name_it(columns: list[str], ways: tuple[str, ...]) -> None:
    """Who scores has no recipe to change: the option that names a delimiter or a text column stands in the error."""
    with pytest.raises(InputError) as caught:
        InputSpec(text=("text",)).require(columns, "data.csv")
    assert all(way in caught.value.details["do"] for way in ways)


def test_blank_lines_of_one_column_are_rows() -> None:
    """A blank line of a file of one column is an empty cell, at its line; of several columns it is none."""
    assert [(record.line, record.values) for record in read(b"text\na\n\nb\n\r\n")] == [
        (2, {"text": "a"}),
        (3, {"text": ""}),
        (4, {"text": "b"}),
        (5, {"text": ""}),
    ]
    assert [record.line for record in read(b"id,text\n1,a\n\n2,b\n")] == [2, 4]


def test_a_header_in_the_middle_is_no_row() -> None:
    """Where files were joined, the second header is a broken record, with its byte order mark or without."""
    mark = "\ufeff".encode()
    for again in (b"id,text\n", mark + b"id,text\n", mark + b'"id","text"\n'):
        found = read(mark + b"id,text\n1,a\n" + again + b"2,b\n")
        assert [record.reason for record in found] == ["", "header_again", ""]
        assert found[1].line == 3
    # Of one column, the name of the column may well be a text.
    assert [record.values for record in read(b"text\na\ntext\n")] == [{"text": "a"}, {"text": "text"}]


def test_byte_order_marks_in_the_middle_are_no_value() -> None:
    """A mark before a joined file's first row is no part of its first cell, and breaks no JSON."""
    mark = "\ufeff".encode()
    assert read(b"id,text\n1,a\n" + mark + b'"2",b\n')[1].values == {"id": "2", "text": "b"}
    found = read(b'{"text": "a"}\n' + mark + b'{"text": "b"}\n', Dialect(format="jsonl"))
    assert [record.values for record in found] == [{"text": "a"}, {"text": "b"}]


@pytest.mark.parametrize(
    "text",
    ["\u200b\u200b", "\ufeff", "\u00ad", "\x01\x02", "\u00a0\u3000", "\u2800", "\u3164", "\ufe0f\u200d", "\u2066"],
)
def test_invisible_texts_are_null(text: str) -> None:
    """A text of which nothing is seen is a null; among letters such characters stay."""
    spec = InputSpec(text=("text",))
    with pytest.raises(BadRow) as caught:
        spec.read({"text": text})
    assert caught.value.reason == "null_text"
    assert spec.read({"text": f"{text}a{text}"}) == (f"{text}a{text}", None)


@pytest.mark.parametrize("text", ["...", "\u200b.", "é", "猫", "👍🏽", "0"])
def test_visible_texts_are_texts(text: str) -> None:
    """Dots, one letter of any script and an emoji are texts."""
    assert InputSpec(text=("text",)).read({"text": text}) == (text, None)


def test_suffixes_and_hidden_names() -> None:
    """One list of suffixes says format and compression; names that begin with . or _ are hidden unless asked for."""
    assert split_suffixes("a/b.CSV.gz") == ("csv", "gzip")
    assert split_suffixes("b.txt.xz") == ("csv", "xz")
    assert split_suffixes("b.pq") == ("parquet", None)
    assert split_suffixes("b.gz") == (None, "gzip")
    assert is_hidden(PurePath(".ipynb_checkpoints/rows.csv"))
    assert is_hidden(PurePath("x/_errors/part.jsonl"))
    assert not is_hidden(PurePath("../x/rows_1.csv"))
    assert not is_hidden(PurePath("_in/rows.csv"), "_in/*.csv")
    assert is_hidden(PurePath("_in/.rows.csv"), "_in/*.csv")


@pytest.mark.parametrize("content", [b'[{"a": 1}]', b' [\n {\n"a": 1}\n]\n', b"[]", b"\xef\xbb\xbf[\n"])
def test_a_json_array_is_named(content: bytes) -> None:
    """One array of objects is no JSON lines, and the error says how to convert it; a line that is a list is a row."""
    with pytest.raises(InputError, match="JSON array") as caught:
        read(content, Dialect(format="jsonl"))
    assert "jq -c" in str(caught.value)
    assert [record.reason for record in read(b'[1]\n{"a": 1}\n', Dialect(format="jsonl"))] == ["not_object", ""]
