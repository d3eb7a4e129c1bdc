"""Any bytes through the reader: nothing is lost, nothing crashes."""

import csv
import io
from typing import Any

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tests.contract.reading import JSONL, read
from trainer.contract.errors import InputError
from trainer.contract.text_files.records import Dialect, Record

TROUBLE = st.lists(
    st.sampled_from([b'"', b",", b"\n", b"\r\n", b"\r", b"x", b" ", b"\xff", b"\x00", b'""', b"\xef\xbb\xbf"])
)


def _read_text(content: bytes, dialect: Dialect) -> list[Record]:
    """The records; bytes that look like another kind of file (`test_looks.py`) are no example."""
    try:
        return read(content, dialect)
    except InputError as error:
        assume("it looks like" not in str(error))
        raise


@settings(max_examples=300, deadline=None)
@given(content=st.one_of(st.binary(max_size=200), TROUBLE.map(b"".join)), quoting=st.sampled_from(["none", "minimal"]))
@example(content=b'a",b,"c\n' * 3 + b'1,"2\n"\n', quoting="minimal")
@example(content=b'"\n"x\n"\n1,2\n', quoting="minimal")
def test_any_bytes_are_records_or_broken_records(content: bytes, quoting: Any) -> None:
    """Whatever the bytes: no crash, and each line that is not blank is part of exactly one record or broken record."""
    dialect = Dialect(header=False, columns=("a", "b"), quoting=quoting)
    found = _read_text(content, dialect)
    decoded = content.decode("utf-8-sig", "surrogateescape")
    covered = []
    for record in found:
        held = [record.raw.removesuffix("\n")] if record.values is None else map(str, record.values.values())
        further = sum(text.count("\n") for text in held)
        covered += range(record.line, record.line + further + 1)
    # In order and without overlap; what no record holds is blank.
    assert covered == sorted(set(covered))
    lines = dict(enumerate(decoded.split("\n"), 1))
    assert not any(line.strip("\r") for number, line in lines.items() if number not in set(covered))


@settings(max_examples=200, deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=100), st.lists(st.sampled_from([b"{", b"}", b'"', b":", b"1", b"\n"])).map(b"".join)
    )
)
def test_any_bytes_are_json_records_or_broken_ones(content: bytes) -> None:
    """JSON lines: exactly the lines that are not blank."""
    lines = content.decode("utf-8-sig", "surrogateescape").split("\n")
    assert [record.line for record in _read_text(content, JSONL)] == [
        number for number, line in enumerate(lines, 1) if line.strip()
    ]


FIELD = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(FIELD, FIELD), max_size=6),
    ending=st.sampled_from(["\n", "\r\n"]),
    code=st.sampled_from(["utf-8", "utf-16", "utf-32"]),
)
def test_what_the_csv_module_writes_is_read_back(rows: list[tuple[str, str]], ending: str, code: str) -> None:
    """Any text survives a round through a quoted file, with every line end, delimiter and quote in it."""
    target = io.StringIO(newline="")
    csv.writer(target, quoting=csv.QUOTE_ALL, lineterminator=ending).writerows([("a", "b"), *rows])
    found = read(target.getvalue().encode(code), Dialect(encoding=code))
    assert [record.values for record in found] == [{"a": first, "b": second} for first, second in rows]
