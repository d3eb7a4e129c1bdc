"""Rows without labels: read from files of any format, compared beside the validation rows, counted in the bundle."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from export.bundle import Bundle
from export.cli import export_command, inspect_command
from export.int8 import choose as int8
from export.int8.choose import Int8Search
from export.unlabelled import read_unlabelled
from tests.export.runs import texts
from trainer.contract.errors import InputError
from trainer.contract.inputs import InputSpec

SPEC = InputSpec(text=("text",))


def write_csv(path: Path, rows: list[str]) -> None:
    """A column that is not read, and the text."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "text"], *enumerate(rows)])


def write_jsonl(path: Path, rows: list[str]) -> None:
    """The same, compressed."""
    path.write_bytes(gzip.compress("".join(json.dumps({"id": 1, "text": text}) + "\n" for text in rows).encode()))


def write_parquet(path: Path, rows: list[str]) -> None:
    """The same, with types."""
    pq.write_table(pa.table({"id": list(range(len(rows))), "text": rows}), path)


@pytest.mark.parametrize(
    ("name", "write"), [("a.csv", write_csv), ("a.jsonl.gz", write_jsonl), ("a.parquet", write_parquet)]
)
def test_formats(name: str, write: Callable[[Path, list[str]], None], tmp_path: Path) -> None:
    """Each format gives the texts in the file's order."""
    write(tmp_path / name, ["one", "two words", "three"])
    assert read_unlabelled([tmp_path / name, tmp_path / name], SPEC).texts == ["one", "two words", "three"] * 2


@pytest.mark.parametrize(
    ("name", "content", "where", "found"),
    [
        ("a.csv", b"id,text\n1,good\n2,bad,more\n", "a.csv:3", "expected 2 fields"),
        ("a.csv", b"id,text\n1,good\n2,\n", "a.csv:3", "is empty"),
        ("a.jsonl", b'{"text": "good"}\n\n{"text": 7}\n', "a.jsonl:3", "holds int"),
        ("a.jsonl", b'{"text": "good"}\n{"text"\n', "a.jsonl:2", "Expecting"),
        ("a.tsv", b"id\ttext\n1\tbad \xff byte\n", "a.tsv:2", "not utf-8"),
        ("a.csv", b"id,txt\n1,good\n", "a.csv", "'txt'"),
        ("a.parquet", b"PAR1 and no more", "a.parquet", "arquet"),
        ("a.csv", b"id,text\n", "a.csv", ""),
        ("a.xlsx", b"", "a.xlsx", "a.xlsx"),
    ],
)
def test_a_bad_row_is_named(name: str, content: bytes, where: str, found: str, tmp_path: Path) -> None:
    """What cannot be read is an error with the file, the line and what stands there."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_unlabelled([tmp_path / name], SPEC)
    assert caught.value.details["where"] == str(tmp_path / where)
    assert found in caught.value.details["found"]


def test_null_texts_are_left_out_where_training_left_them_out(tmp_path: Path) -> None:
    """`on_null: drop` counts them; a file with no other row is an error."""
    write_csv(tmp_path / "a.csv", ["one", "", "two"])
    dropping = InputSpec(text=("text",), on_null="drop")
    read = read_unlabelled([tmp_path / "a.csv"], dropping)
    assert (read.texts, read.dropped) == (["one", "two"], 1)
    write_csv(tmp_path / "a.csv", ["", ""])
    with pytest.raises(InputError, match="no row has a text"):
        read_unlabelled([tmp_path / "a.csv"], dropping)


def break_unknown_words(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A graph that is right for every word that the tokenizer knows: what stands for all others is far too large."""
    for table, factor in (("words_quantized", 1), ("words_scale", 50)):
        (held,) = (each for each in graph.graph.initializer if table in each.name)
        values = onnx.numpy_helper.to_array(held).copy()
        values[1] = factor * values[1][::-1]
        held.CopyFrom(onnx.numpy_helper.from_array(values, held.name))
    return graph


def test_rows_show_what_the_validation_rows_do_not(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An int8 file that is wrong for words of which no validation row holds any passes without --rows, and fails its
    agreement with rows that hold some: exit 3, both counts told, nothing left.
    """
    real = int8.quantize
    monkeypatch.setattr(int8, "quantize", lambda *given: break_unknown_words(real(*given)))
    words = texts(80, 30)
    write_csv(tmp_path / "rows.csv", [f"{text} ☃ ☂ ☄ ☯ {text} ♞ ♜" for text in words])
    # Nothing to be repaired: each product would be tried alone.
    monkeypatch.setattr(Int8Search, "_repair", lambda _search, trial: trial)
    arguments = [str(run), "--quiet", "--no-timing", "--min-agreement", "0.9", "--max-drop", "0.1"]
    passed = CliRunner().invoke(export_command, [*arguments, "--out", str(tmp_path / "passed")])
    assert passed.exit_code == 0, passed.stderr
    failed = CliRunner().invoke(
        export_command, [*arguments, "--out", str(tmp_path / "failed"), "--rows", str(tmp_path / "rows.csv")]
    )
    assert failed.exit_code == 3
    assert "120 validation rows and 80 rows without labels" in failed.stderr
    assert "label agreement 0." in failed.stderr
    # The metric is that of the validation rows, on which nothing changed.
    assert "drops by" not in failed.stderr
    assert not (tmp_path / "failed").exists()


def test_the_bundle_tells_which_rows_were_compared(run: Path, tmp_path: Path) -> None:
    """Manifest, table, card and `inspect` count both kinds of rows; the metric is that of an export without --rows."""
    write_csv(tmp_path / "a.csv", texts(70, seed=1))
    write_parquet(tmp_path / "b.parquet", texts(30, seed=2))
    arguments = [str(run), "--quiet", "--no-timing", "--precision", "fp32"]
    alone = CliRunner().invoke(export_command, [*arguments, "--out", str(tmp_path / "alone")])
    files = ["--rows", str(tmp_path / "a.csv"), "--rows", str(tmp_path / "b.parquet")]
    both = CliRunner().invoke(export_command, [*arguments, "--out", str(tmp_path / "both"), *files])
    assert both.exit_code == 0, both.stderr
    first, second = (Bundle.open(tmp_path / name).graph("fp32").parity for name in ("alone", "both"))
    assert (first.rows, first.unlabelled_rows) == (120, 0)
    assert (second.rows, second.unlabelled_rows) == (120, 100)
    assert (second.torch_value, second.drop_low, second.drop_high) == (
        first.torch_value,
        first.drop_low,
        first.drop_high,
    )
    inspected = CliRunner().invoke(inspect_command, [str(tmp_path / "both")])
    for text in (both.stdout, inspected.stdout, (tmp_path / "both" / "README.md").read_text()):
        assert "120 validation rows and 100 rows without labels" in text
    assert json.loads(inspected.stdout.splitlines()[-1])["graphs"]["fp32"]["unlabelled_rows"] == 100
    assert "without labels" not in alone.stdout


def test_a_bad_file_ends_the_export_before_it_begins(run: Path, tmp_path: Path) -> None:
    """Exit 1 with the row's place, before torch has scored a row; a missing file is named."""
    (tmp_path / "rows.csv").write_text('text\ngood\n"never closed\n')
    arguments = [str(run), "--no-timing", "--out", str(tmp_path / "bundle")]
    result = CliRunner().invoke(export_command, [*arguments, "--rows", str(tmp_path / "rows.csv")])
    assert result.exit_code == 1
    assert "rows.csv:3" in result.stderr
    assert "torch on" not in result.stderr
    missing = CliRunner().invoke(export_command, [*arguments, "--rows", str(tmp_path / "none.csv")])
    assert missing.exit_code == 1
    assert "none.csv" in missing.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv"]
