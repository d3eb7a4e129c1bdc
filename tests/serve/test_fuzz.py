"""Whatever bytes a file holds: every row is scored or told of, and nothing crashes."""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve.reading.sources import Reading, find_sources
from serve.reading.windows import InputPosition, read_windows
from serve.writing.json_text import json_text
from serve.writing.layout import AddedColumns, Layout
from serve.writing.text_out import CsvFormat
from tests.serve.helpers import read_csv, read_jsonl, score
from trainer.contract.errors import ClassifactError
from trainer.contract.labels import LabelSpace

# Bytes that mean something to a reader, and any others.
_TOKENS = [b'"', b",", b"\n", b"\r", b"\r\n", b"\xff", b"\xc3\xa9", b"\x00", b"a", b" ", b"{", b'"text":', b"}", b"\\"]
_CONTENT = st.lists(st.one_of(st.sampled_from(_TOKENS), st.binary(max_size=3)), max_size=40).map(b"".join)
# More by the environment: FUZZ=1000 pytest tests/serve/test_fuzz.py
_EXAMPLES = int(os.environ.get("FUZZ", "15"))
_SETTINGS = settings(max_examples=_EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _lines(content: bytes) -> int:
    """Lines that hold more than white space."""
    return sum(bool(line.decode("utf-8", "replace").strip()) for line in content.split(b"\n"))


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@_SETTINGS
@given(content=_CONTENT)
def test_every_row_is_scored_or_told_of(single: Path, suffix: str, content: bytes) -> None:
    """After a job over any bytes, rows in the output and lines in the error file are all rows that were read."""
    head = b"text\n" if suffix == "csv" else b'{"text": "first"}\n'
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"in.{suffix}"
        path.write_bytes(head + content)
        out = Path(folder) / f"out.{suffix}"
        try:
            report = score(single, path, out=out, canary=False)
        except ClassifactError as error:
            if "no row could be scored" in str(error):
                return
            raise
        scored = read_csv(out) if suffix == "csv" else read_jsonl(out)
        errors = Path(f"{out}.errors.jsonl")
        told = read_jsonl(errors) if errors.exists() else []
        assert (len(scored), len(told)) == (report["rows_scored"], report["rows_rejected"])
        assert report["rows_read"] == len(scored) + len(told)
        if suffix == "jsonl":
            assert report["rows_read"] == 1 + _lines(content)


@_SETTINGS
@given(content=_CONTENT, size=st.integers(1, 5), skip=st.integers(0, 10))
def test_a_later_start_finds_the_same_windows(content: bytes, size: int, skip: int) -> None:
    """Windows read from a window's end on are those that a whole reading finds after it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "in.csv"
        path.write_bytes(b"text,n\n" + content)
        sources = find_sources([str(path)], Reading())
        whole = [window.records for window in read_windows(sources, ("text",), size)]
        skip = min(skip, len(whole))
        position = InputPosition(records=sum(map(len, whole[:skip])), windows=skip)
        rest = [window.records for window in read_windows(sources, ("text",), size, position)]
        assert rest == whole[skip:]


_VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)


@_SETTINGS
@given(rows=st.lists(st.tuples(_VALUES, _VALUES), max_size=6), delimiter=st.sampled_from([",", "\t"]))
def test_csv_reads_back(rows: list[tuple[str, str]], delimiter: str) -> None:
    """Any text that is written as CSV reads back as it was."""
    labels = LabelSpace(names=("a", "b"))
    layout = Layout(columns=("x", "y"), kinds={}, schema=None, scores=AddedColumns.of(labels, "", probabilities=False))
    form = CsvFormat(layout, labels, delimiter)
    written = form.head() + b"".join(form._line([*row, "a", "1"]).encode() for row in rows)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"x.{'csv' if delimiter == ',' else 'tsv'}"
        path.write_bytes(written)
        sources = find_sources([str(path)], Reading())
        found = [record for window in read_windows(sources, ("x",), 100) for record in window.records]
    assert [(row.values or {"x": row.reason, "y": row.detail}) for row in found] == [
        {"x": x, "y": y, "prediction": "a", "confidence": "1"} for x, y in rows
    ]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@_SETTINGS
@given(values=st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), _JSON, max_size=3), min_size=1, max_size=6))
def test_any_json_is_kept_or_told_of(single: Path, values: list[dict[str, object]]) -> None:
    """Rows of any JSON values come out of every format, or are in the error file; JSON lines keep them exactly."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "in.jsonl"
        path.write_text("".join(json.dumps({"text": "x", **row}) + "\n" for row in values))
        reports = {}
        for suffix in ("jsonl", "csv", "parquet"):
            out = Path(folder) / f"out.{suffix}"
            report = score(single, path, out=out, canary=False, window=2)
            reports[suffix] = report
            assert report["rows_read"] == len(values) == report["rows_scored"] + report["rows_rejected"]
        found = read_jsonl(Path(folder) / "out.jsonl")
        # JSON has no infinity: null, and told of.
        told = (
            {row["line"] for row in read_jsonl(Path(f"{folder}/out.jsonl.errors.jsonl"))}
            if reports["jsonl"]["errors"]
            else set()
        )
        kept = [line for line, row in enumerate(values, 1) if json_text(row) == json.dumps(row, ensure_ascii=False)]
        assert [{key: found[line - 1][key] for key in values[line - 1]} for line in kept] == [
            values[line - 1] for line in kept
        ]
        assert set(range(1, len(values) + 1)) - set(kept) == told
