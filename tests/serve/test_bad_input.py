"""Bad rows become error rows with line and reason; bad files, bundles and outputs are refused and lose nothing."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from serve.cli import main
from serve.journal.state import JobState
from serve.writing.rejects import ErrorBound
from tests.serve import bundles
from tests.serve.helpers import read_csv, read_jsonl, score, write_csv
from trainer.contract.errors import ArtifactError, ClassifactError, InputError

REPOSITORY = Path(__file__).parents[2]


def _errors(out: Path) -> list[tuple[int, str]]:
    return [(row["line"], row["reason"]) for row in read_jsonl(out.with_name(f"{out.name}.errors.jsonl"))]


def test_bad_csv_rows(single: Path, tmp_path: Path) -> None:
    """Null text, bytes that are no text, a missing field, an open quote and an endless text: each names its line."""
    rows = [b"id,text", b"1,fine", b"2,", b"3,caf\xe9", b"4", b"5," + b"x" * 200, b'6,"open', b"7,last"]
    (tmp_path / "in.csv").write_bytes(b"\n".join(rows) + b"\n")
    out = tmp_path / "out.csv"
    report = score(single, tmp_path / "in.csv", out=out, max_chars=100)
    assert _errors(out) == [
        (3, "null_text"),
        (4, "invalid_encoding"),
        (5, "field_count"),
        (6, "too_long"),
        (7, "broken_csv"),
    ]
    assert [row["id"] for row in read_csv(out)] == ["1", "7"]
    assert (report["rows_read"], report["rows_scored"], report["rows_rejected"]) == (7, 2, 5)
    raw = read_jsonl(tmp_path / "out.csv.errors.jsonl")[1]["raw"]
    assert raw == "3,caf\\xe9\n"


def test_bad_json_rows(single: Path, tmp_path: Path) -> None:
    """A broken line, a line that is no object, a text that is a number, half a surrogate pair: each names its line."""
    lines = ['{"text": "fine"}', '{"text": ', "[1]", '{"text": 5}', '{"text": "\\ud800"}', '{"other": "x"}']
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    out = tmp_path / "out.jsonl"
    score(single, tmp_path / "in.jsonl", out=out)
    expected = ["broken_json", "not_object", "not_text", "invalid_unicode", "null_text"]
    assert _errors(out) == list(zip(range(2, 7), expected, strict=True))
    assert len(read_jsonl(out)) == 1


def test_bad_parquet_rows(single: Path, tmp_path: Path) -> None:
    """Nulls and bytes that are no UTF-8 in a Parquet text column are error rows with their row's number."""
    data = pa.array([b"fine", None, b"caf\xe9", b"last"], pa.binary())
    column = pa.Array.from_buffers(pa.string(), 4, data.buffers())
    pq.write_table(pa.table({"text": column, "n": [1, 2, 3, 4]}), tmp_path / "in.parquet")
    out = tmp_path / "out.parquet"
    score(single, tmp_path / "in.parquet", out=out)
    assert _errors(out) == [(2, "null_text"), (3, "invalid_encoding")]
    assert pq.read_table(out).column("n").to_pylist() == [1, 4]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["score", "BUNDLE", "", "--out", "out.csv"], 1, "an input has no name"),
        (["score", "BUNDLE", "in.csv", "--out", ""], 1, "the output has no name"),
        (["score", "BUNDLE", "in.csv", "--out", os.devnull], 1, "a device"),
        (["score", "no-bundle", "in.csv", "--out", "out.xyz"], 1, "the output's format is unknown"),
        (["score", "no-bundle", "in.csv", "--out", "out.xyz", "--dry-run"], 1, "the output's format is unknown"),
        (["score", "BUNDLE", "in.csv", "--out", "out.csv", "--encoding", "nope"], 2, "unknown encoding"),
        (["score", "BUNDLE", "in.csv", "--out", "out.csv", "--device", "cpu:0"], 2, "unknown device"),
        (["merge", ""], 1, "the output has no name"),
        (["merge", "/"], 1, "the output has no name"),
        (["predict", "BUNDLE", "--text", "fine", "--text", " "], 1, "text 2"),
        (["explain", "BUNDLE", "--text", "fine", "--text", " "], 1, "text 2"),
    ],
)
def test_empty_names_and_odd_options_are_told(
    single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, said: str
) -> None:
    """A variable of the shell that is empty, a device, an option that cannot be: one error, and nothing is made."""
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "in.csv", ["fine"])
    result = CliRunner().invoke(main, [str(single) if word == "BUNDLE" else word for word in words])
    assert (result.exit_code, said in result.stderr) == (code, True), result.output
    assert os.listdir(tmp_path) == ["in.csv"]


def test_too_many_errors_end_the_job(single: Path, tmp_path: Path) -> None:
    """Past --max-errors the job ends with the counts, leaves no output, and goes on once the bound is raised."""
    write_csv(tmp_path / "in.csv", ["fine", "", "fine", ""] * 20)
    out = tmp_path / "out.csv"
    with pytest.raises(ClassifactError) as error:
        score(single, tmp_path / "in.csv", out=out, max_errors=ErrorBound.parse("3"), window=8)
    assert "4 of 8 rows" in str(error.value)
    assert not out.exists()
    report = score(single, tmp_path / "in.csv", out=out, max_errors=ErrorBound.parse("50%"), window=8, resume=True)
    assert (report["rows_scored"], report["rows_rejected"]) == (40, 40)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_rejected_rows_as_nulls(single: Path, tmp_path: Path, suffix: str) -> None:
    """With on_error null every record is a row of the output: without scores, with the columns that could be read."""
    lines = ['{"text": "fine", "n": 1}', '{"text": "", "n": 2}', "broken", '{"text": "x", "n": "odd"}', '{"text": "y"}']
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    out = tmp_path / f"out.{suffix}"
    score(single, tmp_path / "in.jsonl", out=out, on_error="null", probabilities=True, window=2)
    if suffix == "csv":
        found = [{key: value or None for key, value in row.items()} for row in read_csv(out)]
    else:
        found = read_jsonl(out) if suffix == "jsonl" else pq.read_table(out).to_pylist()
    scored = [True, False, False, True, True]
    assert [row["prediction"] is not None for row in found] == scored
    assert [row["p_spam"] is not None for row in found] == scored
    assert [row["confidence"] is not None for row in found] == scored
    assert [str(row.get("n")) for row in found] == ["1", "2", "None", "odd", "None"]
    assert [row.get("text") for row in found][0::4] == ["fine", "y"]
    # An empty field of a table may also be a row without labels: the reason tells them apart.
    assert [row["error"] for row in found] == [None, "null_text", "broken_json", None, None]


def test_first_bad_row_ends_the_job(single: Path, tmp_path: Path) -> None:
    """With on_error fail the first row that cannot be scored ends the job."""
    write_csv(tmp_path / "in.csv", ["fine", ""])
    with pytest.raises(ClassifactError, match="too many rows"):
        score(single, tmp_path / "in.csv", out=tmp_path / "out.csv", on_error="fail")


@pytest.mark.parametrize(("bound", "exceeded"), [("0", True), ("1", False), ("10%", False), ("9%", True)])
def test_error_bounds(bound: str, exceeded: bool) -> None:
    """One bad row of ten is over 0 and over 9 %, and is not over 1 nor over 10 %."""
    assert ErrorBound.parse(bound).exceeded(JobState(read=10, rejected=1)) is exceeded


def test_nothing_to_score(single: Path, tmp_path: Path) -> None:
    """A job in which every row is bad fails, however few they are."""
    write_csv(tmp_path / "in.csv", ["", ""])
    with pytest.raises(ClassifactError, match="no row could be scored"):
        score(single, tmp_path / "in.csv", out=tmp_path / "out.csv")
    report = score(single, tmp_path / "in.csv", out=tmp_path / "all.csv", max_errors=ErrorBound.parse("100%"))
    assert (report["rows_rejected"], report["status"]) == (2, "done with rejects")


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("in.csv", b"", "the file is empty"),
        ("in.jsonl", b"", "the input holds no row"),
        ("in.parquet", b"no parquet", "the file is not Parquet"),
        ("in.csv", b"id,txt\n1,a\n", "did you mean 'txt'?"),
        ("in.jsonl", b'{"txt": "a"}\n', "did you mean 'txt'?"),
        ("in.xyz", b"id,text\n", "--format"),
        ("in.csv.gz", b"not gzip", "cannot be read to its end"),
    ],
)
def test_bad_files(single: Path, tmp_path: Path, name: str, content: bytes, part: str) -> None:
    """A file that cannot be a job's input is refused with what to do, and leaves nothing behind."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        score(single, tmp_path / name, out=tmp_path / "out.csv")
    assert part in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_missing_input(single: Path, tmp_path: Path) -> None:
    """A path, a glob and a folder that lead to nothing are errors that name them."""
    for missing in (tmp_path / "no.csv", tmp_path / "*.csv", tmp_path):
        with pytest.raises(InputError) as error:
            score(single, missing, out=tmp_path / "out.csv")
        assert str(missing) in str(error.value)


def test_existing_output_is_kept(single: Path, tmp_path: Path) -> None:
    """An output that exists is refused and keeps its content."""
    rows = write_csv(tmp_path / "in.csv", ["x"])
    (tmp_path / "out.csv").write_text("precious")
    with pytest.raises(InputError, match="exists already"):
        score(single, rows, out=tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "precious"


def test_flipped_byte(single: Path, tmp_path: Path) -> None:
    """A bundle with one flipped byte is not scored with, and the file is named."""
    broken = tmp_path / "bundle"
    shutil.copytree(single, broken)
    data = bytearray((broken / "onnx" / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (broken / "onnx" / "model.onnx").write_bytes(data)
    with pytest.raises(ArtifactError) as error:
        score(broken, write_csv(tmp_path / "in.csv", ["x"]), out=tmp_path / "out.csv")
    assert "model.onnx" in str(error.value)


def test_width_of_the_graph(single: Path, tmp_path: Path) -> None:
    """A graph with another number of outputs than labels is refused."""
    broken = tmp_path / "bundle"
    shutil.copytree(single, broken)
    given = bundles.contract()
    labels = type(given.labels)(names=("ham", "spam"))
    config = json.loads((broken / "config.json").read_text())
    config["id2label"] = {"0": "ham", "1": "spam"}
    (broken / "config.json").write_text(json.dumps(config))
    bundles.reseal(broken, type(given)(labels=labels, input=given.input, encoding=given.encoding))
    with pytest.raises(ArtifactError, match=r"does not fit|another shape"):
        score(broken, write_csv(tmp_path / "in.csv", ["x"]), out=tmp_path / "out.csv")


def test_full_disk(single: Path, tmp_path: Path) -> None:
    """When no more can be written the job says so, names --resume, and with room ends with the bytes it would have
    had.
    """
    rows = write_csv(tmp_path / "in.csv", bundles.texts(400))
    expected = score(single, rows, out=tmp_path / "whole.csv", window=16)["sha256"]
    command = [sys.executable, "-m", "serve", "score", str(single), str(rows), "--out", str(tmp_path / "out.csv")]
    command += ["--precision", "fp32", "--device", "cpu", "--window", "16", "--quiet"]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    failed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, preexec_fn=limit, check=False)
    assert failed.returncode == 1
    assert "--resume" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (tmp_path / "out.csv").exists()
    done = subprocess.run([*command, "--resume"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["sha256"] == expected
