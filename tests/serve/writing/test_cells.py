"""A column that the model does not read never costs a scorable row: it widens, is kept aside, or loses one cell."""

import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serve.reading.columns import Kind
from tests.serve.helpers import read_csv, read_jsonl, score
from trainer.contract.errors import InputError

REPOSITORY = Path(__file__).parents[3]


def _jsonl(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _piped(bundle: Path, rows: Path, out: Path, *more: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "serve", "score", str(bundle), "-", "--format", "jsonl", "--out", str(out)]
    done = subprocess.run(
        [*command, "--window", "1", "--quiet", *more],
        cwd=REPOSITORY,
        input=rows.read_bytes(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], "int"),
        ([1, 1.5, None], "float"),
        ([2**53 + 1, 0.5], "text"),
        ([2**60, 0.5], "float"),
        ([2**64], "text"),
        ([True, False], "bool"),
        ([True, 1], "text"),
        ([1, "a"], "text"),
        ([None], "text"),
        ([[1]], "text"),
    ],
)
def test_the_narrowest_kind_that_loses_no_digit(values: list[object], kind: str) -> None:
    """Whole numbers widen to floating point where each stays itself, else to text; other mixtures are text."""
    found = Kind()
    for value in values:
        found.add(value)
    assert found.name == kind


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_late_numbers_and_late_keys_cost_nothing(single: Path, tmp_path: Path, suffix: str) -> None:
    """A price that is 1.5 and a key that appears in a later window are columns of every row, whatever the window."""
    rows: list[object] = [{"text": "a", "price": 1}, {"text": "b", "price": 1.5}, {"text": "c", "late": "x"}]
    out = tmp_path / f"out.{suffix}"
    report = score(single, _jsonl(tmp_path / "in.jsonl", rows), out=out, window=1)
    assert (report["rows_scored"], report["errors"], report["status"]) == (3, None, "done")
    found = pq.read_table(out).to_pylist() if suffix == "parquet" else read_csv(out)
    assert [str(row["price"] or "") for row in found] == (
        ["1.0", "1.5", ""] if suffix == "parquet" else ["1", "1.5", ""]
    )
    assert found[2]["late"] == "x"


def test_a_pipe_keeps_late_keys_aside_and_lists_misfit_cells(single: Path, tmp_path: Path) -> None:
    """Of a pipe, which is read once, late keys go into one JSON column; a cell that does not fit is null and listed."""
    rows: list[object] = [{"text": "a", "n": 1}, {"text": "b", "n": "many", "late": [1]}, {"text": "c", "n": 3}]
    out = tmp_path / "out.parquet"
    report = _piped(single, _jsonl(tmp_path / "in.jsonl", rows), out)
    assert (report["rows_scored"], report["rows_rejected"], report["cells_left_out"]) == (3, 0, 1)
    assert (report["status"], report["cell_reasons"]) == ("done with rejects", {"type_changed": 1})
    found = pq.read_table(out)
    assert found.column("n").to_pylist() == [1, None, 3]
    assert found.column("other_columns").to_pylist() == [None, '{"late": [1]}', None]
    (line,) = read_jsonl(tmp_path / "out.parquet.errors.jsonl")
    assert (line["line"], line["column"], line["reason"]) == (2, "n", "type_changed")
    assert "many" in line["raw"]


def test_half_surrogate_pairs_cost_a_cell(single: Path, tmp_path: Path) -> None:
    """Half a surrogate pair in a column that is passed on leaves the cell out; nested it is JSON's escape."""
    rows: list[object] = [{"text": "a", "x": "\ud800", "deep": {"k": "\ud801"}}]
    for suffix in ("csv", "parquet"):
        out = tmp_path / f"out.{suffix}"
        report = score(single, _jsonl(tmp_path / "in.jsonl", rows), out=out)
        assert (report["rows_scored"], report["cell_reasons"]) == (1, {"invalid_unicode": 1})
        (row,) = read_csv(out) if suffix == "csv" else pq.read_table(out).to_pylist()
        assert not row["x"]
        assert json.loads(row["deep"]) == {"k": "\ud801"}


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_bytes_that_are_no_text_cost_only_their_cell(single: Path, tmp_path: Path, kind: str) -> None:
    """A byte that is no UTF-8 in another column than the text is written as an escape and listed; the row is scored."""
    lines = {
        "csv": b"name,text\ncaf\xe9,good text\nx,caf\xe9\n",
        "jsonl": b'{"name": "caf\xe9", "text": "good text"}\n{"name": "x", "text": "caf\xe9"}\n',
    }
    path = tmp_path / f"in.{kind}"
    path.write_bytes(lines[kind])
    report = score(single, path, out=tmp_path / "out.csv", on_error="null")
    assert (report["rows_scored"], report["reasons"]) == (1, {"invalid_encoding": 1})
    assert report["cell_reasons"] == {"invalid_encoding": 1}
    found = read_csv(tmp_path / "out.csv")
    assert [row["name"] for row in found] == ["caf\\xe9", "x"]
    assert [row["error"] for row in found] == ["", "invalid_encoding"]
    told = read_jsonl(tmp_path / "out.csv.errors.jsonl")
    assert [row.get("column") for row in told] == ["name", None]


def test_a_later_column_of_our_name_costs_a_cell(single: Path, tmp_path: Path) -> None:
    """JSON lines to JSON lines: a later row's own `prediction` gives way to ours and is listed."""
    rows: list[object] = [{"text": "a"}, {"text": "b", "prediction": "mine"}]
    report = score(single, _jsonl(tmp_path / "in.jsonl", rows), out=tmp_path / "out.jsonl", window=1)
    assert (report["rows_scored"], report["cell_reasons"]) == (2, {"column_clash": 1})
    assert "mine" in read_jsonl(tmp_path / "out.jsonl.errors.jsonl")[0]["raw"]


@pytest.mark.parametrize("source", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_columns_are_kept_by_name(single: Path, tmp_path: Path, source: str, suffix: str) -> None:
    """--keep passes the named columns through, in that order; an empty one none; a misspelt one is told."""
    path = _jsonl(tmp_path / "in.jsonl", [{"a": 1, "text": "x", "b": 2}, {"a": 3, "text": "y", "b": 4}])
    if source != "jsonl":
        score(single, path, out=tmp_path / f"first.{source}", prefix="old_")
        path = tmp_path / f"first.{source}"
    for keep in (("b", "a"), ()):
        out = tmp_path / f"{len(keep)}.{suffix}"
        score(single, path, out=out, keep=keep)
        if suffix == "parquet":
            found: list[Any] = pq.read_table(out).to_pylist()
        else:
            found = read_csv(out) if suffix == "csv" else read_jsonl(out)
        assert [list(row) for row in found] == [[*keep, "prediction", "confidence"]] * 2
        assert not keep or [str(row["b"]) for row in found] == ["2", "4"]
    with pytest.raises(InputError, match="no column 'bb' to keep"):
        score(single, path, out=tmp_path / f"none.{suffix}", keep=("bb",))


def test_a_first_window_of_broken_rows(single: Path, tmp_path: Path) -> None:
    """JSON lines that begin with broken lines are scored from the first sound one on, and the broken ones listed."""
    (tmp_path / "in.jsonl").write_text("broken\n{\n" + '{"text": "a", "n": 1}\n')
    for suffix in ("jsonl", "csv", "parquet"):
        report = score(single, tmp_path / "in.jsonl", out=tmp_path / f"out.{suffix}", window=2)
        assert (report["rows_scored"], report["reasons"]) == (1, {"broken_json": 2})


def test_bare_nan_is_no_json(single: Path, tmp_path: Path) -> None:
    """NaN and infinity, at any depth, are null in JSON; a table keeps them as numbers."""
    (tmp_path / "in.jsonl").write_text('{"text": "a", "x": NaN, "y": -Infinity, "z": [NaN, 1.5]}\n')
    score(single, tmp_path / "in.jsonl", out=tmp_path / "out.jsonl")
    line = (tmp_path / "out.jsonl").read_text()
    found = json.loads(line, parse_constant=lambda _: pytest.fail("a bare constant"))
    assert (found["x"], found["y"], found["z"]) == (None, None, [None, 1.5])
    score(single, tmp_path / "in.jsonl", out=tmp_path / "out.csv")
    row = read_csv(tmp_path / "out.csv")[0]
    assert (row["x"], row["y"], row["z"]) == ("NaN", "-Infinity", "[null, 1.5]")
    score(single, tmp_path / "in.jsonl", out=tmp_path / "out.parquet")
    assert str(pq.read_table(tmp_path / "out.parquet").column("x").to_pylist()) == "[nan]"


INFINITE = [math.inf, 1.0, -math.inf]
LOST = {
    "plain": pa.array(INFINITE),
    "half": pa.array(np.array(INFINITE, np.float16)),  # pyarrow before 21 takes halves from numpy alone.
    "deep": pa.array(
        [[{"k": [value, None]}] for value in INFINITE], pa.list_(pa.struct({"k": pa.list_(pa.float32())}))
    ),
    "pairs": pa.array([[("a", value)] for value in INFINITE], pa.map_(pa.string(), pa.float64())),
    "fixed": pa.array([[value, 0.0] for value in INFINITE], pa.list_(pa.float64(), 2)),
    "words": pa.array(INFINITE).dictionary_encode(),
}


@pytest.mark.parametrize("name", LOST)
@pytest.mark.parametrize("keep", [None, ("x",)])
def test_infinity_of_parquet_is_listed_where_it_is_lost(
    single: Path, tmp_path: Path, name: str, keep: tuple[str, ...] | None
) -> None:
    """Of Parquet too: infinity is null in JSON lines at any depth, in a table inside of a cell; each cell is told."""
    table = pa.table({"text": ["a", "b", "c"], "x": LOST[name]})
    pq.write_table(table, tmp_path / "in.parquet")
    for suffix in ("jsonl", "csv", "parquet"):
        out = tmp_path / f"out.{suffix}"
        report = score(single, tmp_path / "in.parquet", out=out, keep=keep)
        lost = suffix == "jsonl" or (suffix == "csv" and pa.types.is_nested(LOST[name].type))
        assert report["cell_reasons"] == ({"not_json": 2} if lost else {})
        if lost:
            told = read_jsonl(out.with_name(f"{out.name}.errors.jsonl"))
            assert [(row["line"], row["column"], row["reason"]) for row in told] == [
                (1, "x", "not_json"),
                (3, "x", "not_json"),
            ]


@pytest.mark.parametrize("keep", [None, ("x", "half")])
def test_json_rows_to_json_lines(single: Path, tmp_path: Path, keep: tuple[str, ...] | None) -> None:
    """With --keep and without: infinity is null and listed, half a surrogate pair is written as JSON's own escape."""
    (tmp_path / "in.jsonl").write_text(
        '{"text": "a", "x": [Infinity], "half": "\\ud800"}\n{"text": "b", "x": -Infinity}\n'
    )
    report = score(single, tmp_path / "in.jsonl", out=tmp_path / "out.jsonl", keep=keep)
    assert report["cell_reasons"] == {"not_json": 2}
    found = read_jsonl(tmp_path / "out.jsonl")
    assert [row["x"] for row in found] == [[None], None]
    assert found[0]["half"] == "\ud800"


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_late_key_can_be_kept(single: Path, tmp_path: Path, suffix: str) -> None:
    """--keep of a key that only the second file of JSON lines has is no misspelling, whatever the output."""
    for name, row in (("a", '{"text": "a"}'), ("b", '{"text": "b", "late": 1}')):
        (tmp_path / f"{name}.jsonl").write_text(f"{row}\n", encoding="utf-8")
    inputs, out = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"], tmp_path / f"out.{suffix}"
    assert score(single, *inputs, out=out, keep=("late",))["rows_scored"] == 2
    with pytest.raises(InputError, match="no column 'lat' to keep"):
        score(single, *inputs, out=tmp_path / f"other.{suffix}", keep=("lat",))


def test_late_infinity_is_listed(single: Path, tmp_path: Path) -> None:
    """What a pipe's later rows bring along is JSON, which has no infinity: null there, and told."""
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n{"text": "b", "late": Infinity}\n')
    report = _piped(single, tmp_path / "in.jsonl", tmp_path / "out.csv")
    assert report["cell_reasons"] == {"not_json": 1}
    assert read_csv(tmp_path / "out.csv")[1]["other_columns"] == '{"late": null}'


def test_bytes_of_parquet_that_are_no_text(single: Path, tmp_path: Path) -> None:
    """A text of Parquet that is no UTF-8, also inside a list, is written as escapes and listed, as it is of CSV."""
    data = pa.array([b"caf\xe9", b"fine", None], pa.binary())
    words = pa.Array.from_buffers(pa.string(), 3, data.buffers())
    offsets = pa.array([0, 1, 2, 3], pa.int32())
    lists = pa.ListArray.from_arrays(offsets, words)
    pq.write_table(pa.table({"text": ["a", "b", "c"], "x": words, "y": lists}), tmp_path / "in.parquet")
    report = score(single, tmp_path / "in.parquet", out=tmp_path / "out.jsonl")
    assert (report["rows_scored"], report["cell_reasons"]) == (3, {"invalid_encoding": 2})
    found = read_jsonl(tmp_path / "out.jsonl")
    assert [(row["x"], row["y"]) for row in found][::2] == [("caf\\xe9", ["caf\\xe9"]), (None, [None])]
    assert [row["column"] for row in read_jsonl(tmp_path / "out.jsonl.errors.jsonl")] == ["x", "y"]
    assert score(single, tmp_path / "in.parquet", out=tmp_path / "out.parquet")["cell_reasons"] == {}


def test_numbers_that_become_text_stay_numbers(single: Path, tmp_path: Path) -> None:
    """Parquet beside CSV to Parquet: numbers become text, infinity and NaN too, by the words that readers know."""
    pq.write_table(pa.table({"text": ["a"] * 3, "x": [math.inf, math.nan, 1.5]}), tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text("text,x\nb,2\n")
    score(single, tmp_path / "a.parquet", tmp_path / "b.csv", out=tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").column("x").to_pylist() == ["Infinity", "NaN", "1.5", "2"]


@pytest.mark.parametrize("pipe", [False, True])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_keys_without_end(
    single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, pipe: bool
) -> None:
    """Keys that are as many as the rows do not fill memory: the first are columns, the others JSON in one column."""
    monkeypatch.setattr("serve.reading.columns.MAX_COLUMNS", 3)
    rows: list[object] = [{"text": "a", f"id{row}": row} for row in range(6)]
    path = _jsonl(tmp_path / "in.jsonl", rows)
    if pipe:
        os.mkfifo(tmp_path / "pipe.jsonl")
        writer = threading.Thread(target=(tmp_path / "pipe.jsonl").write_bytes, args=(path.read_bytes(),))
        writer.start()
        path = tmp_path / "pipe.jsonl"
    out = tmp_path / f"out.{suffix}"
    report = score(single, path, out=out)
    found = pq.read_table(out).to_pylist() if suffix == "parquet" else read_csv(out)
    assert (report["rows_scored"], report["cells_left_out"]) == (6, 0)
    assert list(found[0]) == ["text", "id0", "id1", "other_columns", "prediction", "confidence"]
    assert [row["other_columns"] or None for row in found] == [
        None,
        None,
        *(f'{{"id{row}": {row}}}' for row in (2, 3, 4, 5)),
    ]
    if not pipe:
        score(single, path, out=tmp_path / f"kept.{suffix}", keep=("id5",))
        kept = (
            pq.read_table(tmp_path / f"kept.{suffix}").to_pylist()
            if suffix == "parquet"
            else read_csv(tmp_path / "kept.csv")
        )
        assert str(kept[5]["id5"]) == "5"


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_cells_that_are_nested_too_deeply(single: Path, tmp_path: Path, suffix: str) -> None:
    """Lists and objects that are nested beyond any reader cost a cell, at any depth that Python parses, and no row."""
    deep = {depth: "[" * depth + "1" + "]" * depth for depth in (150, 250, 900)}
    lines = [f'{{"text": "win", "x": {value}, "y": {{"k": {value}}}}}' for value in deep.values()]
    # Rejected rows are told of too.
    lines.append(f'{{"text": "", "x": {deep[900]}}}')
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    out = tmp_path / f"out.{suffix}"
    report = score(single, tmp_path / "in.jsonl", out=out, on_error="null")
    assert (report["rows_scored"], report["cell_reasons"]) == (3, {"not_json": 4})
    rows = (
        pq.read_table(out).to_pylist() if suffix == "parquet" else read_csv(out) if suffix == "csv" else read_jsonl(out)
    )
    assert [bool(row["x"]) for row in rows] == [True, False, False, False]
    assert rows[0]["x"] in (deep[150], json.loads(deep[150]))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_key_that_no_column_can_have(single: Path, tmp_path: Path, suffix: str) -> None:
    """A key with half a surrogate pair cannot name a column of a table: its values are kept as JSON."""
    (tmp_path / "in.jsonl").write_text('{"text": "win", "\\ud800": 5}\n')
    out = tmp_path / f"out.{suffix}"
    score(single, tmp_path / "in.jsonl", out=out)
    (row,) = pq.read_table(out).to_pylist() if suffix == "parquet" else read_csv(out)
    assert json.loads(row["other_columns"]) == {"\ud800": 5}


def test_a_column_is_kept_once(single: Path, tmp_path: Path) -> None:
    """--keep that names a column twice would write two columns of one name, and is refused."""
    with pytest.raises(InputError, match="'x' twice"):
        score(single, _jsonl(tmp_path / "in.jsonl", [{"text": "a", "x": 1}]), out=tmp_path / "o.csv", keep=("x", "x"))
