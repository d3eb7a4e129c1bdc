"""Columns are passed through as they came, with their types where the input has types."""

import datetime
import decimal
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.serve import bundles
from tests.serve.helpers import read_csv, read_jsonl, score, write_csv
from trainer.contract.errors import InputError

NASTY = ['say "hi"', "a,b", "two\nlines", "carriage\rreturn", "tab\there", " spaces ", "ünï çödé 🎉", "x\r\ny"]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_nasty_text_survives(single: Path, tmp_path: Path, suffix: str) -> None:
    """Quotes, delimiters, line breaks and any script come out as they went in."""
    rows = write_csv(tmp_path / "in.csv", NASTY)
    out = tmp_path / f"out.{suffix}"
    score(single, rows, out=out)
    if suffix == "parquet":
        found = pq.read_table(out).column("text").to_pylist()
    elif suffix == "jsonl":
        found = [row["text"] for row in read_jsonl(out)]
    else:
        found = [row["text"] for row in read_csv(out, "\t" if suffix == "tsv" else ",")]
    assert found == NASTY


def _table(rows: int = 50) -> pa.Table:
    day = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    return pa.table(
        {
            "small": pa.array(range(rows), pa.int16()),
            "text": pa.array(bundles.texts(rows)).dictionary_encode(),
            "when": pa.array([day] * rows, pa.timestamp("ns", "UTC")),
            "there": pa.array([day] * rows, pa.timestamp("ms", "+01:00")),
            "price": pa.array([decimal.Decimal("1.50")] * rows, pa.decimal128(10, 2)),
            "tags": pa.array([["a", None]] * rows, pa.list_(pa.string())),
            "blob": pa.array([b"\xff\x00"] * rows, pa.binary()),
            "none": pa.array([None] * rows, pa.float32()),
        }
    )


def test_parquet_keeps_types(single: Path, tmp_path: Path) -> None:
    """Parquet to Parquet keeps every column's type and values; ours are a dictionary and float32."""
    table = _table()
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=7)
    score(single, tmp_path / "in.parquet", out=tmp_path / "out.parquet", window=16)
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.select(table.column_names).equals(table)
    assert found.schema.field("prediction").type == pa.dictionary(pa.int32(), pa.string())
    assert found.schema.field("confidence").type == pa.float32()


def test_parquet_to_text(single: Path, tmp_path: Path) -> None:
    """Types that text files lack are written as text: times, decimals, bytes as base64, lists as JSON."""
    pq.write_table(_table(3), tmp_path / "in.parquet")
    score(single, tmp_path / "in.parquet", out=tmp_path / "out.jsonl")
    row = read_jsonl(tmp_path / "out.jsonl")[2]
    assert (row["small"], row["price"], row["tags"], row["blob"], row["none"]) == (2, "1.50", ["a", None], "/wA=", None)
    assert row["when"] == "2026-01-02T03:04:05.000000000Z"
    # The oldest Arrow that we promise knows no zone that is an offset.
    assert row["there"] in ("2026-01-02T04:04:05.000+01:00", "2026-01-02T03:04:05.000Z")
    score(single, tmp_path / "in.parquet", out=tmp_path / "out.csv")
    assert read_csv(tmp_path / "out.csv")[2]["tags"] == '["a", null]'


def test_multi_label_lists(multi: Path, tmp_path: Path) -> None:
    """Several labels are lists in Parquet, as long as their confidences."""
    score(multi, write_csv(tmp_path / "in.csv", bundles.texts(30)), out=tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    assert pa.types.is_list(found.schema.field("predictions").type)
    assert found.schema.field("confidences").type == pa.list_(pa.float32())
    rows = found.to_pylist()
    assert all(len(row["predictions"]) == len(row["confidences"]) for row in rows)
    assert all(confidence >= 0.5 for row in rows for confidence in row["confidences"])


def _write_jsonl(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_json_rows_keep_their_own_columns(single: Path, tmp_path: Path) -> None:
    """JSON lines to JSON lines passes every row's own keys and values through, half surrogate pairs too."""
    rows = [{"text": "a", "x": {"deep": [1, 2.5, None]}}, {"y": "\ud800 half", "text": "b"}]
    source = _write_jsonl(tmp_path / "in.jsonl", list(rows))
    score(single, source, out=tmp_path / "out.jsonl")
    found = read_jsonl(tmp_path / "out.jsonl")
    assert [{key: row[key] for key in want} for row, want in zip(found, rows, strict=True)] == rows


def test_json_to_parquet_types(single: Path, tmp_path: Path) -> None:
    """JSON's numbers and booleans keep their type in Parquet, nested values become JSON text, and what a later window
    brings is known before the first is written.
    """
    rows: list[object] = [{"text": "a", "n": 1, "f": 1, "b": True, "deep": {"k": [1]}, "gone": None}]
    rows += [{"text": "b", "n": 2, "f": 1.5}, {"text": "c", "new": 1}, {"text": "d", "f": 2, "deep": "plain"}]
    source = _write_jsonl(tmp_path / "in.jsonl", rows)
    report = score(single, source, out=tmp_path / "out.parquet", window=1)
    assert (report["rows_scored"], report["cells_left_out"], report["status"]) == (4, 0, "done")
    found = pq.read_table(tmp_path / "out.parquet")
    kinds = [str(found.schema.field(name).type) for name in ("n", "f", "b", "deep", "new")]
    assert kinds == ["int64", "double", "bool", "string", "int64"]
    assert found.column("deep").to_pylist() == ['{"k": [1]}', None, None, "plain"]
    assert found.column("f").to_pylist() == [1.0, 1.5, None, 2.0]
    assert found.column("new").to_pylist() == [None, None, 1, None]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("options", [{}, {"keep": ("more", "id")}])
def test_a_key_of_json_lines_that_parquet_lacks_is_null_there(
    single: Path, tmp_path: Path, suffix: str, options: dict[str, Any]
) -> None:
    """Parquet beside JSON lines with a key more: rows of Parquet have no value in that column, and no row is lost."""
    pq.write_table(pa.table({"id": [7], "text": ["x"]}), tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").write_text('{"id": 8, "text": "y", "more": 1}\n', encoding="utf-8")
    out = tmp_path / f"out.{suffix}"
    score(single, tmp_path / "b.jsonl", tmp_path / "a.parquet", out=out, **options)
    if suffix == "parquet":
        found = pq.read_table(out).to_pylist()
    else:
        found = read_csv(out) if suffix == "csv" else read_jsonl(out)
    assert [(str(row["id"]), str(row.get("more") or "")) for row in found] == [("8", "1"), ("7", "")]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_clash_names_the_prefix(single: Path, tmp_path: Path, suffix: str) -> None:
    """An input column with the name of one of ours is an error that names --prefix, and a prefix helps."""
    rows = tmp_path / "in.csv"
    rows.write_text("text,confidence\nhello,high\n")
    with pytest.raises(InputError) as error:
        score(single, rows, out=tmp_path / f"out.{suffix}")
    assert "--prefix" in str(error.value)
    assert not (tmp_path / f"out.{suffix}").exists()
    report = score(single, rows, out=tmp_path / f"out.{suffix}", prefix="model_")
    assert report["rows_scored"] == 1


def test_inputs_of_several_formats(single: Path, tmp_path: Path) -> None:
    """Files of several formats are one job, in the order they were named."""
    texts = bundles.texts(30)
    write_csv(tmp_path / "a.csv", texts[:10])
    _write_jsonl(tmp_path / "b.jsonl", [{"id": row, "text": text} for row, text in enumerate(texts[10:20], 10)])
    pq.write_table(pa.table({"text": texts[20:], "id": list(range(20, 30))}), tmp_path / "c.parquet")
    inputs = [tmp_path / name for name in ("a.csv", "b.jsonl", "c.parquet")]
    for suffix in ("csv", "jsonl", "parquet"):
        score(single, *inputs, out=tmp_path / f"out.{suffix}")
    expected = list(map(str, range(30)))
    assert [row["id"] for row in read_csv(tmp_path / "out.csv")] == expected
    assert [str(row["id"]) for row in read_jsonl(tmp_path / "out.jsonl")] == expected
    assert pq.read_table(tmp_path / "out.parquet").column("id").to_pylist() == expected


def test_inputs_that_do_not_fit_together(single: Path, tmp_path: Path) -> None:
    """Files with different columns are refused, naming file and column."""
    write_csv(tmp_path / "a.csv", ["x"])
    (tmp_path / "b.csv").write_text("text,other\nx,y\n")
    with pytest.raises(InputError) as error:
        score(single, tmp_path / "a.csv", tmp_path / "b.csv", out=tmp_path / "out.csv")
    assert "b.csv" in str(error.value)


def test_header_alone(single: Path, tmp_path: Path) -> None:
    """A file with a header and no rows gives an output with a header and no rows."""
    (tmp_path / "in.csv").write_text("id,text\n")
    report = score(single, tmp_path / "in.csv", out=tmp_path / "out.csv")
    assert report["rows_read"] == 0
    assert (tmp_path / "out.csv").read_text() == "id,text,prediction,confidence\n"
    score(single, tmp_path / "in.csv", out=tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


def _odd_columns() -> dict[str, tuple[pa.Array, object]]:
    """Column to values of two rows, the second null, and to the first as JSON."""
    far, zone = pa.array([2**50, None], pa.timestamp("s")), pa.timestamp("us", "Mars/Phobos")
    pairs = [pa.array([1, None]), pa.array([2, None])]
    same = pa.StructArray.from_arrays(pairs, names=["a", "a"], mask=pa.array([False, True]))
    return {
        "far": (far, "35680317-09-25T18:57:04.000"),
        "far_utc": (pa.array([2**50, None], pa.timestamp("s", "UTC")), "35680317-09-25T18:57:04.000Z"),
        "far_day": (pa.array([2**30, None], pa.int32()).view(pa.date32()), "2941775-04-07"),
        "no_time": (pa.array([10**8, None], pa.int32()).view(pa.time32("ms")), "100000000"),
        "no_zone": (pa.array([1, None], zone), "1970-01-01T00:00:00.000001Z"),
        "in_lists": (pa.array([[1, None], None], pa.list_(zone)), ["1970-01-01T00:00:00.000001Z", None]),
        "ids": (pa.array([b"0123456789abcdef", None], pa.uuid()), "30313233-3435-3637-3839-616263646566"),
        "truth": (pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, None], pa.int8())), True),
        "same_name": (same, [["a", 1], ["a", 2]]),
        "bytes": (pa.array([b"\xff" * 15, None], pa.binary_view()), "/" * 20),
        "words": (pa.array(["long enough for a view", None], pa.string_view()), "long enough for a view"),
        "views": (pa.array([[0.1, 2.5], None], pa.list_view(pa.float32())), [0.1, 2.5]),
    }


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_odd_types_of_parquet(single: Path, tmp_path: Path, suffix: str) -> None:
    """Years of eight digits, unknown time zones, ids, views and fields of one name are written as what they are."""
    pytest.importorskip("pyarrow", minversion="18")  # Before it there are no ids, and Parquet holds no views.
    odd = _odd_columns()
    # A null text is rejected: the rest is taken out of views, which Arrow cannot do by itself.
    columns = {name: pa.concat_arrays([values, values[1:]]) for name, (values, _) in odd.items()}
    pq.write_table(pa.table({"text": pa.array(["a", "b", None], pa.string_view()), **columns}), tmp_path / "in.parquet")
    out = tmp_path / f"out.{suffix}"
    report = score(single, tmp_path / "in.parquet", out=out)
    assert (report["rows_scored"], report["cells_left_out"]) == (2, 0)
    if suffix == "parquet":
        found = pq.read_table(out)
        assert pq.read_table(tmp_path / "in.parquet").slice(0, 2).column("far").equals(found.column("far"))
        assert found.column("words").to_pylist() == ["long enough for a view", None]
        assert not any("view" in str(field.type) for field in found.schema)
        return
    first, second = read_jsonl(out) if suffix == "jsonl" else read_csv(out)
    for name, (_, expected) in odd.items():
        value = first[name] if suffix == "jsonl" or isinstance(expected, str) else json.loads(first[name])
        assert (value, second[name] or None) == (expected, None), name


_TREE = pa.struct({"a": pa.int64(), "b": pa.list_(pa.string())})


@pytest.mark.parametrize(
    ("one", "other", "wider"),
    [
        (pa.array([255], pa.uint8()), pa.array([-1], pa.int8()), pa.int16()),
        (pa.array([2**32 - 1], pa.uint32()), pa.array([-1], pa.int8()), pa.int64()),
        (pa.array([2**64 - 1], pa.uint64()), pa.array([-1]), None),
        (pa.array([2**31 - 1], pa.int32()), pa.array([0.5]), pa.float64()),
        (pa.array([2**53 + 1]), pa.array([0.5]), None),
        (pa.array([Decimal("12345678.9")]), pa.array([Decimal("0.123")]), pa.decimal128(11, 3)),
        (pa.array([Decimal("9" * 30)]), pa.array([Decimal("0." + "9" * 30)]), pa.decimal256(60, 30)),
        (pa.array([[1]], pa.list_(pa.int8())), pa.array([[2**40]], pa.list_(pa.int64())), pa.list_(pa.int64())),
        (pa.array([{"a": 1, "b": None}]), pa.array([{"a": None, "b": ["x"]}]), _TREE),
        (pa.array([{"a": 1}]), pa.array([{"b": 1}]), None),
        (pa.array([[1]]), pa.array([1]), None),
        (pa.array([1]), pa.array(["1"]), None),
    ],
)
def test_parts_whose_types_differ(
    single: Path, tmp_path: Path, one: pa.Array, other: pa.Array, wider: pa.DataType | None
) -> None:
    """Parquet parts unite where no value is lost, in either order, at any depth; else the column is named."""
    for name, values in (("a", one), ("b", other)):
        pq.write_table(pa.table({"text": ["win"], "x": values}), tmp_path / f"{name}.parquet")
    inputs = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    if wider is None:
        with pytest.raises(InputError, match="different types") as error:
            score(single, *inputs, out=tmp_path / "out.parquet", canary=False)
        assert "x: " in str(error.value)
        return
    for number, given in enumerate((inputs, inputs[::-1])):
        out = tmp_path / f"{number}.parquet"
        score(single, *given, out=out, canary=False)
        found = pq.read_table(out).column("x")
        # Parquet has its own name for what is in a list.
        assert str(found.type).replace("element:", "item:") == str(wider)
        assert found.to_pylist() == [*one.to_pylist(), *other.to_pylist()][:: 1 - 2 * number]
