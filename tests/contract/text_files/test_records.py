"""Lines to records: nothing is lost, nothing crashes, and every record knows its line."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract.reading import HEADERLESS, JSONL, read
from trainer.contract.errors import InputError
from trainer.contract.inputs import InputSpec
from trainer.contract.text_files import lines
from trainer.contract.text_files.lines import Lines
from trainer.contract.text_files.records import Dialect, Record, read_columns, read_records, refuse_repeated

DATA = Path(__file__).parents[3].parent / "shared" / "data"


def short(records: list[Record]) -> list[tuple[int, Any]]:
    """(line, values or reason) of each record."""
    return [
        (record.line, list(record.values.values()) if record.values is not None else record.reason)
        for record in records
    ]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of at most 20 characters."""
    monkeypatch.setattr(lines, "MAX_RECORD", 20)


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n\r\n\n"])
def test_a_file_without_a_header_is_an_error(content: bytes) -> None:
    """An empty file, or one of blank lines, is no file of zero rows: it names itself and says what to do."""
    with pytest.raises(InputError, match="empty") as caught:
        read(content)
    assert "data.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "match", "line"),
    [
        (b"a,b,a\n1,2,3\n", "one name", 1),
        (b'\n\na,"b\n1,2\n', "cannot be read", 3),
        (b'a,"b"c\n1,2\n', "cannot be read", 1),
        (b"a\rb\r1\r2\r", "cannot be read", 1),
        (b"a,\xff\n1,2\n", "not utf-8", 1),
    ],
)
def test_a_header_that_cannot_be_trusted_is_an_error(content: bytes, match: str, line: int) -> None:
    """Without a sound header no row has a meaning, so the file is refused at its line."""
    with pytest.raises(InputError, match=match) as caught:
        read(content)
    assert f"line {line}" in str(caught.value)


@pytest.mark.usefixtures("small")
def test_a_header_longer_than_a_record_is_an_error() -> None:
    """A file of one endless line ends in an error, not in memory."""
    with pytest.raises(InputError, match="longer than 20 characters"):
        read(b"x" * 100)


@pytest.mark.parametrize(
    ("settings_", "match"),
    [
        ({"delimiter": ";;"}, "one character"),
        ({"delimiter": ""}, "one character"),
        ({"delimiter": '"'}, "delimiter"),
        ({"delimiter": "\n"}, "delimiter"),
        ({"header": False}, "columns"),
        ({"columns": ("a",)}, "columns"),
        ({"header": False, "columns": ("a", "b", "a")}, "named twice"),
        ({"encoding": "utf-88"}, "unknown encoding"),
        ({"encoding": "base64"}, "unknown encoding"),
    ],
)
def test_a_dialect_that_cannot_be_is_refused(settings_: dict[str, Any], match: str) -> None:
    """A dialect is checked when it is made, where the recipe's key can still be named."""
    with pytest.raises(ValueError, match=match):
        Dialect(**settings_)


def test_an_unclosed_quote_breaks_its_own_line_alone() -> None:
    """The rows after a quote that never closes arrive, each with its line."""
    assert short(read(b'a,b\n1,x\n2,"y\n3,z\n4,"w\nw"\n')) == [
        (2, ["1", "x"]),
        (3, "broken_csv"),
        (4, ["3", "z"]),
        (5, ["4", "w\nw"]),
    ]


def test_an_unclosed_quote_meets_another() -> None:
    """A stray quote that a later line's quote would close takes no row along."""
    assert short(read(b'a,b\n1,"x\n2,"y"\n3,z\n')) == [(2, "broken_csv"), (3, ["2", "y"]), (4, ["3", "z"])]


def test_stray_quotes_inside_a_field_are_characters() -> None:
    """A quote in the middle of an unquoted field is text; text behind a closing quote is an error of that row."""
    assert short(read(b'a,b\n1,6" nails\n2,"x"y\n3,z\n')) == [
        (2, ["1", '6" nails']),
        (3, "broken_csv"),
        (4, ["3", "z"]),
    ]


def test_stray_quotes_cost_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that each open a quote anew, which a naive reader tries to the end of the file from every line, are each
    looked at a few times.
    """
    looked, plain = 0, Lines.__next__

    def counted(lines: Lines) -> str:
        nonlocal looked
        looked += 1
        return plain(lines)

    monkeypatch.setattr(Lines, "__next__", counted)
    found = read(b"a,b,c\n" + b'a",b,"c\n' * 5_000)
    assert [record.line for record in found] == list(range(2, 5_002))
    assert {record.reason for record in found} == {"broken_csv"}
    assert looked < 4 * 5_000


def test_quoting_none_reads_quotes_as_characters() -> None:
    """With quoting none no quote pairs with another."""
    dialect = Dialect(delimiter="\t", header=False, columns=("a", "b"), quoting="none")
    assert short(read(b'ham\t"x\nspam\ty" z\n"\t"\n', dialect)) == [
        (1, ["ham", '"x']),
        (2, ["spam", 'y" z']),
        (3, ['"', '"']),
    ]


def test_embedded_line_ends_and_blank_lines_count_as_lines() -> None:
    """A record's line is where it starts, whatever lines and blank lines came before; \\r\\n inside quotes is kept."""
    content = b'a,b\r\n\r\n1,"x\r\ny\r\nz"\r\n\r\n\r\n2,w\r\n3\r\n'
    assert short(read(content)) == [(3, ["1", "x\r\ny\r\nz"]), (8, ["2", "w"]), (9, "field_count")]


def test_a_lone_carriage_return_breaks_its_line_in_plain_words() -> None:
    """A carriage return outside quotes is neither text nor a line end, and the reason has no advice to programmers."""
    broken, good = read(b"a,b\n1,x\ry\n2,z\n")
    assert (broken.reason, good.line) == ("broken_csv", 3)
    assert "carriage return" in broken.detail


def test_a_file_of_carriage_returns_alone_says_what_mends_it() -> None:
    """As an old spreadsheet saves CSV for a Macintosh: the file is one line, and the error has the command."""
    with pytest.raises(InputError, match="carriage return") as error:
        read(b"id,text\r1,a\r2,b\r")
    assert "tr '\\r' '\\n'" in str(error.value)


@pytest.mark.parametrize("row", [b"1", b"1,2,3", b",,", b" "])
def test_a_wrong_number_of_fields_breaks_the_row(row: bytes) -> None:
    """A row with more or fewer fields than columns is never shifted or padded; its text is kept."""
    broken, good = read(b"a,b\n" + row + b"\n1,2\n")
    assert (broken.reason, broken.raw, good.values) == ("field_count", row.decode() + "\n", {"a": "1", "b": "2"})


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("utf-8", "a,b\n1,é😀\n".encode("utf-8-sig")),
        ("UTF8", "a,b\n1,é😀\n".encode("utf-8-sig")),
        ("utf-16", "a,b\n1,é😀\n".encode("utf-16")),
        ("utf-16-le", "a,b\n1,é😀\n".encode("utf-16-le")),
    ],
)
def test_a_byte_order_mark_is_no_text(encoding: str, content: bytes) -> None:
    """The mark becomes no part of the first column's name, and UTF-16 splits at its own line ends."""
    assert read(content, Dialect(encoding=encoding))[0].values == {"a": "1", "b": "é😀"}


def test_latin_1_is_read_as_said() -> None:
    """Every byte is a character of latin-1."""
    assert read(b"a,b\n1,caf\xe9\n", Dialect(encoding="latin-1"))[0].values == {"a": "1", "b": "café"}


def test_utf_16_without_its_mark_is_an_error() -> None:
    """A decoder that gives up on the whole file is an error of ours that names the file, for rows and for columns."""
    content, dialect = "a,b\n1,2\n".encode("utf-16-le"), Dialect(encoding="utf-16")
    with pytest.raises(InputError, match="not utf-16"):
        read(content, dialect)
    with pytest.raises(InputError, match="not utf-16"):
        read_columns(io.BytesIO(content), dialect, "data.csv")


def test_invalid_bytes_break_their_record_alone() -> None:
    """The line is right also behind and inside records of several lines, and the bytes can be told from `raw`."""
    content = b'a,b\n1,"x\ny"\n2,\xffz\n3,"x\n\xc3(\n"\n4,w\n'
    assert short(read(content)) == [
        (2, ["1", "x\ny"]),
        (4, "invalid_encoding"),
        (5, "invalid_encoding"),
        (8, ["4", "w"]),
    ]
    assert read(content)[1].raw == "2,\udcffz\n"


@pytest.mark.parametrize(
    ("encoding", "bad"),
    [("utf-16-le", b"\x00\xd8x\x00"), ("utf-16-le", b"a"), ("cp932", b"\x81"), ("gb18030", b"\x810")],
)
def test_bytes_that_are_no_text_of_a_wide_encoding_break_a_row(encoding: str, bad: bytes) -> None:
    """Invalid bytes below 128, which only wide encodings have, break a row like any other."""
    content = "a,b\n1,x\n2,".encode(encoding) + bad
    assert short(read(content, Dialect(encoding=encoding))) == [(2, ["1", "x"]), (3, "invalid_encoding")]


def test_nul_bytes_are_characters() -> None:
    """A NUL byte ends no field and no file."""
    assert short(read(b"a,b\n1,x\x00y\n2,z\n")) == [(2, ["1", "x\x00y"]), (3, ["2", "z"])]


def test_names_of_very_many_columns_are_not_compared_in_pairs() -> None:
    """Each name is looked at once: a line of a million commas, compared in pairs, would take hours."""
    compared = list[str]()

    class Name(str):
        """A name that tells when it is compared."""

        def __eq__(self, other: object) -> bool:
            compared.append(self)
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    names = [Name(number) for number in range(1000)]
    refuse_repeated(names, "x.csv")
    with pytest.raises(InputError, match="two columns"):
        refuse_repeated([*names, Name(7)], "x.csv")
    assert len(compared) < 10_000


@pytest.mark.usefixtures("small")
def test_a_long_line_breaks_itself_alone() -> None:
    """A line beyond the limit is one broken record, whose start is kept, and the next line is the next record."""
    for dialect in (HEADERLESS, JSONL):
        good = b'{"a":1}' if dialect is JSONL else b"1,2"
        found = read(b"\n".join([good, b"x" * 95, good, b"y" * 21]), dialect)
        assert [(record.line, record.reason) for record in found] == [
            (1, ""),
            (2, "too_long"),
            (3, ""),
            (4, "too_long"),
        ]
        assert found[1].raw == "x" * 20 + "\n"
        assert "20 characters" in found[1].detail


@pytest.mark.usefixtures("small")
def test_a_long_record_of_short_lines_breaks_its_first_line() -> None:
    """A quoted field that grows beyond the limit gives its later lines back."""
    found = short(read(b'1,"x\n' + b"3,4\n" * 6 + b'5,6"\n7,8\n', HEADERLESS))
    assert found[:2] == [(1, "too_long"), (2, ["3", "4"])]
    assert found[-2:] == [(8, ["5", '6"']), (9, ["7", "8"])]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("length", [19, 20, 21])
def test_the_limit_counts_the_line_end(length: int) -> None:
    """A record of exactly the limit is read; one character more is too long."""
    line = b"1," + b"x" * (length - 3) + b"\n"
    assert [record.reason for record in read(line + b"3,4\n", HEADERLESS)] == ["too_long" if length > 20 else "", ""]


def test_a_field_may_be_longer_than_the_csv_modules_own_limit() -> None:
    """A text of 200,000 characters, which the csv module refuses by default, is read."""
    assert len(str(read(b"1," + b"x" * 200_000 + b"\n", HEADERLESS)[0].values)) > 200_000


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": 1', "broken_json"),
        (b"\x00", "broken_json"),
        (b'{"a": ' + b"9" * 5000 + b"}", "broken_json"),
        (b"[" * 100_000, "broken_json"),
        (b'{"a":' * 100_000, "broken_json"),
        (b"[1]", "not_object"),
        (b"null", "not_object"),
        (b'"text"', "not_object"),
        (b'{"a": "\xff"}', "invalid_encoding"),
    ],
)
def test_a_broken_json_line_breaks_itself_alone(line: bytes, reason: str) -> None:
    """A line that is no object has its reason and its line, and the next one arrives; blank lines count."""
    broken, good = read(b"\n " + line + b'\r\n{"a": 1}', JSONL)
    assert (broken.line, broken.reason, good.line, good.values) == (2, reason, 3, {"a": 1})


def test_half_a_surrogate_pair_in_json_is_caught_where_the_text_is_read() -> None:
    """JSON may escape half a pair, which no tokenizer takes: the record is whole, its text is refused."""
    record = read(b'{"text": "\\ud83d"}', JSONL)[0]
    assert record.values is not None
    with pytest.raises(Exception, match="surrogate"):
        InputSpec(text=("text",)).read(record.values)


def test_line_separators_of_unicode_end_no_line() -> None:
    """U+2028, U+0085 and form feeds are characters of a text."""
    text = "x\u2028y\u0085z\x0cw"
    assert read(json.dumps({"a": text}, ensure_ascii=False).encode(), JSONL)[0].values == {"a": text}
    assert read(f"1,{text}\n".encode(), HEADERLESS)[0].values == {"a": "1", "b": text}


def test_a_header_alone_has_no_rows() -> None:
    """A header without rows is a file of zero rows, with its columns, behind blank lines too."""
    assert read(b"\n\na,b\n") == []
    assert read_columns(io.BytesIO(b"\n\na,b\n"), Dialect(), "data.csv") == ("a", "b")
    assert read_columns(io.BytesIO(b""), HEADERLESS, "data.csv") == ("a", "b")
    assert read_columns(io.BytesIO(b""), JSONL, "data.jsonl") is None


def test_all_sms_rows_arrive() -> None:
    """The shipped example has 5,574 rows, two of which default quoting swallows."""
    path = DATA / "sms_spam" / "sms.tsv"
    if not path.exists():
        pytest.skip("the shared data is not here")
    dialect = Dialect(delimiter="\t", header=False, columns=("label", "text"), quoting="none")
    with path.open("rb") as file:
        rows = [record.values for record in read_records(file, dialect, path)]
    assert len(rows) == 5574
    assert sum(row is not None and row["label"] == "spam" for row in rows) == 747
