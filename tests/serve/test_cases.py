"""Inputs that other tools lost, invented or garbled (../shared/cases): what scoring makes of each."""

import bz2
import gzip
import json
import lzma
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serve.journal.output import merge
from serve.reading.sources import InputSource
from tests.serve.helpers import read_csv, read_jsonl, score
from trainer.contract.errors import InputError

REPOSITORY = Path(__file__).parents[2]
CASES = Path(__file__).parents[2].parent / "shared" / "cases"


def _errors(out: Path) -> list[tuple[int, str]]:
    return [(row["line"], row["reason"]) for row in read_jsonl(out.with_name(f"{out.name}.errors.jsonl"))]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_parquet_window_of_bad_rows(single: Path, tmp_path: Path, suffix: str) -> None:
    """A window in which no row survives is error rows, and the rest is scored."""
    pq.write_table(pa.table({"text": [None] * 4 + ["a", "b"], "n": range(6)}), tmp_path / "in.parquet")
    out = tmp_path / f"out.{suffix}"
    report = score(single, tmp_path / "in.parquet", out=out, window=4)
    assert (report["rows_scored"], report["reasons"]) == (2, {"null_text": 4})
    report = score(single, tmp_path / "in.parquet", out=tmp_path / f"all.{suffix}", window=4, on_error="null")
    if suffix == "parquet":
        assert pq.read_table(tmp_path / "all.parquet").column("n").to_pylist() == list(range(6))


def test_parquet_columns_of_one_name(single: Path, tmp_path: Path) -> None:
    """Two columns of one name are refused, as in CSV: whoever asks for it would get either."""
    with pytest.raises(InputError, match="two columns have one name"):
        score(single, CASES / "parquet_columns" / "dup.parquet", out=tmp_path / "out.csv")


def test_hidden_copies_are_not_scored_twice(single: Path, tmp_path: Path) -> None:
    """A folder's .ipynb_checkpoints adds no row."""
    assert score(single, CASES / "hidden_files" / "data", out=tmp_path / "out.csv")["rows_read"] == 2


def test_blank_lines_keep_their_place(single: Path, tmp_path: Path) -> None:
    """Blank lines of a file of one column are null texts, so that scores pasted back by position fit."""
    out = tmp_path / "out.csv"
    score(single, CASES / "blank_lines" / "rows.csv", out=out, on_error="null")
    assert [row["text"] != "" for row in read_csv(out)] == [True, False, True, False, True]
    assert _errors(out) == [(3, "null_text"), (5, "null_text")]


def test_invisible_texts_are_null(single: Path, tmp_path: Path) -> None:
    """Texts of which nothing is seen are error rows; three dots and an emoji are texts."""
    out = tmp_path / "out.csv"
    score(single, CASES / "odd_text" / "invis.csv", out=out)
    assert [row["id"] for row in read_csv(out)] == ["7", "8"]
    assert {reason for _, reason in _errors(out)} == {"null_text"}


@pytest.mark.parametrize(
    ("name", "part"),
    [("utf16.csv", "utf-16"), ("utf16lf.csv", "utf-16"), ("semi.csv", "delimiter ';'"), ("sep.csv", "delimiter ';'")],
)
def test_other_encodings_and_delimiters_are_named(single: Path, tmp_path: Path, name: str, part: str) -> None:
    """UTF-16 is known by its first bytes, another delimiter by the header; each says what to do."""
    with pytest.raises(InputError) as error:
        score(single, CASES / "odd_text" / name, out=tmp_path / "out.csv")
    assert part in str(error.value)
    if name.startswith("utf"):
        assert score(single, CASES / "odd_text" / name, out=tmp_path / "out.csv", encoding="utf-16")["rows_scored"]


def test_a_header_in_the_middle_is_an_error_row(single: Path, tmp_path: Path) -> None:
    """Where two files were joined, the second header is no row to score."""
    out = tmp_path / "out.csv"
    score(single, CASES / "header_again" / "score.csv", out=out)
    assert [row["id"] for row in read_csv(out)] == ["1", "2"]
    assert _errors(out) == [(3, "header_again")]


def test_half_beside_a_long_number(single: Path, tmp_path: Path) -> None:
    """0.5 beside 2^53+1 fits no number of Parquet's: both are kept as text, digit by digit."""
    score(single, CASES / "json_to_parquet" / "mix.jsonl", out=tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").column("n").to_pylist() == ["9007199254740993", "0.5"]


def test_single_floats_are_short(single: Path, tmp_path: Path) -> None:
    """A float32 of 0.1 is 0.1 in text, also inside lists, and a float16 too; doubles keep all digits."""
    row = {
        "x": pa.array([0.1], pa.float32()),
        "h": pa.array([0.1], pa.float16()),
        "y": pa.array([0.1 + 0.2]),
        "z": pa.array([[0.1, None]], pa.list_(pa.float32())),
    }
    pq.write_table(pa.table({"text": ["a"], **row}), tmp_path / "in.parquet")
    score(single, tmp_path / "in.parquet", out=tmp_path / "out.csv")
    (found,) = read_csv(tmp_path / "out.csv")
    assert [found[name] for name in "xhyz"] == ["0.1", "0.1", "0.30000000000000004", "[0.1, null]"]


def test_a_part_whose_column_is_null(single: Path, tmp_path: Path) -> None:
    """A column that is null in one Parquet part takes its type from the others; widths of numbers unite; order too."""
    parts = [CASES / "null_part" / name for name in ("p1.parquet", "p2.parquet")]
    for inputs in (parts, parts[::-1]):
        out = tmp_path / f"{inputs[0].stem}.parquet"
        assert score(single, *inputs, out=out)["rows_rejected"] == 0
        assert not any(pa.types.is_null(field.type) for field in pq.read_schema(out))
    pq.write_table(pa.table({"text": ["a"], "n": pa.array([1], pa.int8())}), tmp_path / "a.parquet")
    pq.write_table(
        pa.table({"n": pa.array([2**40]), "text": pa.array(["b"], pa.large_string())}), tmp_path / "b.parquet"
    )
    score(single, tmp_path / "a.parquet", tmp_path / "b.parquet", out=tmp_path / "ab.parquet")
    assert pq.read_table(tmp_path / "ab.parquet").column("n").to_pylist() == [1, 2**40]
    pq.write_table(pa.table({"text": ["a"], "n": ["x"]}), tmp_path / "c.parquet")
    with pytest.raises(InputError, match="different types"):
        score(single, tmp_path / "a.parquet", tmp_path / "c.parquet", out=tmp_path / "ac.parquet")


def test_types_inside_of_types(single: Path, tmp_path: Path) -> None:
    """Dictionaries, nanoseconds, bytes and decimals inside lists and structs are passed through, typed or as text."""
    words = pa.array(["a", "b", "a"]).dictionary_encode()
    times = pa.array([1, 2, 3], pa.int64()).cast(pa.timestamp("ns"))
    offsets = pa.array([0, 2, 3], pa.int32())
    pairs = pa.MapArray.from_arrays(offsets, pa.array(["k", "l", "m"]), pa.array([b"\xff", b"\x00", None]))
    table = pa.table(
        {
            "text": ["one", "two"],
            "words": pa.ListArray.from_arrays(offsets, words),
            "times": pa.ListArray.from_arrays(offsets, times),
            "held": pa.StructArray.from_arrays([words[:2], pa.array([b"\xff", None])], ["w", "b"]),
            "pairs": pairs,
            "fixed": pa.array([[1, 2], None], pa.list_(pa.int8(), 2)),
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    score(single, tmp_path / "in.parquet", out=tmp_path / "out.parquet", window=1)
    found = pq.read_table(tmp_path / "out.parquet").select(table.column_names)
    assert found.to_pylist() == pq.read_table(tmp_path / "in.parquet").to_pylist()
    score(single, tmp_path / "in.parquet", out=tmp_path / "out.jsonl")
    row = read_jsonl(tmp_path / "out.jsonl")[0]
    assert (row["words"], row["held"], row["fixed"]) == (["a", "b"], {"w": "a", "b": "/w=="}, [1, 2])
    assert row["times"][0].startswith("1970-01-01T00:00:00.000000001")
    assert row["pairs"] == [["k", "/w=="], ["l", "AA=="]]
    score(single, tmp_path / "in.parquet", out=tmp_path / "out.csv", window=1)
    assert json.loads(read_csv(tmp_path / "out.csv")[1]["held"]) == {"w": "b", "b": None}


def test_strict_and_the_last_line(single: Path, tmp_path: Path) -> None:
    """A job that rejected a row says so in its last line with exit 0; with --strict it exits 3, its output kept."""
    (tmp_path / "in.csv").write_text("id,text\n1,fine\n2,\n")

    def call(out: str, *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "serve", "score", str(single), str(tmp_path / "in.csv"), "--quiet"]
        return subprocess.run(
            [*command, "--out", str(tmp_path / out), *more], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )

    done, strict = call("a.csv"), call("b.csv", "--strict")
    assert (done.returncode, strict.returncode) == (0, 3)
    for each in (done, strict):
        assert json.loads(each.stdout.splitlines()[-1])["status"] == "done with rejects"
        assert "1 row rejected" in each.stdout
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()
    assert "done, with rejects" in strict.stderr
    assert call("c.csv", "--strict", "--limit", "1").returncode == 0


def test_a_share_of_bad_rows_finishes(single: Path, tmp_path: Path) -> None:
    """A share whose windows hold bad rows alone is done, and the merged output is that of the undivided job."""
    (tmp_path / "in.csv").write_text("id,text\n" + "1,fine\n2,\n" * 4)
    score(single, tmp_path / "in.csv", out=tmp_path / "one.csv", window=1)
    for share in (1, 2):
        score(single, tmp_path / "in.csv", out=tmp_path / "two.csv", window=1, shard=(share, 2))
    assert merge(tmp_path / "two.csv")["status"] == "done with rejects"
    assert (tmp_path / "two.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()


def test_damage_in_the_middle_of_a_compressed_file(single: Path, tmp_path: Path) -> None:
    """A gzip, bzip2 or xz file that is damaged in the middle is an error that names it, not a traceback."""
    rows = "id,text\n" + "".join(f"{row},free prize {row * row}\n" for row in range(5000))
    for suffix, pack in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)):
        packed = bytearray(pack(rows.encode()))
        packed[len(packed) // 2 : len(packed) // 2 + 20] = b"\x00" * 20
        path = tmp_path / f"in.csv.{suffix}"
        path.write_bytes(bytes(packed))
        with pytest.raises(InputError, match="cannot be read to its end") as error:
            score(single, path, out=tmp_path / f"{suffix}.csv", window=64)
        assert path.name in str(error.value)


def test_each_parquet_input_is_looked_at_once(single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any scoring each Parquet input is opened once for its columns; then once to be read."""
    for number in range(3):
        pq.write_table(pa.table({"text": ["a", "b"]}), tmp_path / f"{number}.parquet")
    opened: list[str] = []
    before = InputSource.open_raw

    def counting(source: InputSource) -> BinaryIO:
        opened.append(Path(source.name).name)
        return before(source)

    monkeypatch.setattr(InputSource, "open_raw", counting)
    score(single, tmp_path / "*.parquet", out=tmp_path / "out.csv")
    # The first is also looked into for its first window.
    assert sorted(Counter(opened).items()) == [("0.parquet", 3), ("1.parquet", 2), ("2.parquet", 2)]
