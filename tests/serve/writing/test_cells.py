"""A column that the model does not read never costs a scorable row: it widens, is kept aside, or loses one cell."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

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
