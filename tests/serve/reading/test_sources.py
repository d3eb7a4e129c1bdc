"""Inputs of every kind: folders, globs, pipes, compressed files and URLs."""

import gzip
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.serve import bundles
from tests.serve.helpers import read_csv, read_jsonl, score, write_csv
from trainer.contract.errors import InputError

REPOSITORY = Path(__file__).parents[3]
TEXTS = bundles.texts(40)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of files in several formats, compressed and not, with rows 0 to 39, and one file that is no input."""
    path = tmp_path / "inputs"
    (path / "sub").mkdir(parents=True)
    write_csv(path / "a.csv", TEXTS[:10])
    plain = write_csv(tmp_path / "b.csv", TEXTS[10:20]).read_bytes()
    (path / "b.csv.gz").write_bytes(gzip.compress(plain[:50]) + gzip.compress(plain[50:]))
    lines = "".join(json.dumps({"id": str(row), "text": text}) + "\n" for row, text in enumerate(TEXTS[20:30]))
    with pa.CompressedOutputStream(str(path / "c.jsonl.zst"), "zstd") as file:
        file.write(lines.encode())
    table = pa.table({"id": [str(row) for row in range(10)], "text": TEXTS[30:]})
    pq.write_table(table, path / "sub" / "d.parquet")
    (path / "README.txt").write_text("not an input")
    return path


def test_folder(single: Path, folder: Path, tmp_path: Path) -> None:
    """A folder's files are one job, by name, whatever their format and compression."""
    score(single, folder, out=tmp_path / "out.csv")
    assert [row["text"] for row in read_csv(tmp_path / "out.csv")] == TEXTS


def test_glob(single: Path, folder: Path, tmp_path: Path) -> None:
    """A glob names its matches in order."""
    score(single, folder / "[ab].csv*", out=tmp_path / "out.csv")
    assert [row["text"] for row in read_csv(tmp_path / "out.csv")] == TEXTS[:20]


@pytest.mark.parametrize("suffix", ["csv.gz", "jsonl.zst"])
def test_compressed_file_cut_short(single: Path, folder: Path, tmp_path: Path, suffix: str) -> None:
    """A compressed file that ends early is an error that names it, not a shorter output."""
    path = next(folder.glob(f"*.{suffix}"))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="cannot be read to its end") as error:
        score(single, path, out=tmp_path / "out.csv")
    assert path.name in str(error.value)
    assert not (tmp_path / "out.csv").exists()


def _serve(arguments: list[str], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "serve", "score", *arguments],
        cwd=REPOSITORY,
        input=stdin,
        capture_output=True,
        check=False,
    )


def test_standard_input_to_standard_output(single: Path, tmp_path: Path) -> None:
    """Rows from standard input go to standard output and nothing else does; errors and the report are beside."""
    rows = write_csv(tmp_path / "in.csv", [*TEXTS[:5], ""])
    arguments = [str(single), "-", "--format", "csv", "--out", "-"]
    done = _serve(arguments, rows.read_bytes())
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["text"] for row in found] == TEXTS[:5]
    lines = done.stderr.decode().splitlines()
    assert json.loads(lines[0])["reason"] == "null_text"
    assert json.loads(lines[-1])["rows_rejected"] == 1
    done = _serve([*arguments, "--out-format", "tsv", "--quiet"], rows.read_bytes())
    # What users wrote is not put into the log of whoever asked for silence.
    assert b"null_text" not in b"".join(done.stderr.splitlines(keepends=True)[:-1])
    assert json.loads(done.stderr.splitlines()[-1])["reasons"] == {"null_text": 1}
    assert done.stdout.startswith(b"id\ttext\tprediction\tconfidence\n")


def test_standard_output_takes_no_parquet(single: Path, tmp_path: Path) -> None:
    """Parquet to standard output, a resumed pipe and an unknown format of standard input are refused."""
    rows = str(write_csv(tmp_path / "in.csv", ["x"]))
    for arguments in (
        [str(single), rows, "--out", "-", "--out-format", "parquet"],
        [str(single), rows, "--out", "-", "--resume"],
        [str(single), "-", "--out", str(tmp_path / "out.csv")],
        [str(single), rows, "--out", "-", "--part-rows", "5"],
    ):
        done = _serve(arguments, b"")
        # Where only the format of standard input is missing, the line may be right for a file.
        assert done.returncode == (1 if "out.csv" in arguments[-1] else 2), arguments
        assert done.stdout == b""


def test_named_pipe(single: Path, tmp_path: Path) -> None:
    """A pipe with a name is read once, from its first byte to its last."""
    pipe = tmp_path / "rows.csv"
    os.mkfifo(pipe)
    content = io.StringIO("text\nfirst\nlast\n").getvalue().encode()
    writer = threading.Thread(target=lambda: pipe.write_bytes(content))
    writer.start()
    score(single, pipe, out=tmp_path / "out.csv")
    writer.join()
    assert [row["text"] for row in read_csv(tmp_path / "out.csv")] == ["first", "last"]


def test_urls(single: Path, folder: Path, tmp_path: Path) -> None:
    """URLs of any fsspec file system are read: a file, a glob, a folder."""
    memory = fsspec.filesystem("memory")
    for path in folder.rglob("*.*"):
        memory.pipe(f"/bucket/{path.relative_to(folder)}", path.read_bytes())
    try:
        for number, url in enumerate(("memory://bucket/a.csv", "memory://bucket/[a]*.csv", "memory://bucket")):
            out = tmp_path / f"{number}.jsonl"
            score(single, url, out=out)  # type: ignore[arg-type]
            assert [row["text"] for row in read_jsonl(out)] == (TEXTS if number == 2 else TEXTS[:10])
        with pytest.raises(InputError, match="cannot be opened"):
            score(single, "memory://bucket/none.csv", out=tmp_path / "out.csv")  # type: ignore[arg-type]
    finally:
        memory.rm("/bucket", recursive=True)


def test_many_small_files(single: Path, tmp_path: Path) -> None:
    """Files smaller than a window keep their order and lines."""
    for number in range(12):
        write_csv(tmp_path / f"{number:02d}.csv", [TEXTS[number], ""])
    report = score(single, tmp_path / "*.csv", out=tmp_path / "out.jsonl")
    assert [row["text"] for row in read_jsonl(tmp_path / "out.jsonl")] == TEXTS[:12]
    errors = read_jsonl(tmp_path / "out.jsonl.errors.jsonl")
    assert [(Path(row["file"]).name, row["line"]) for row in errors] == [(f"{n:02d}.csv", 3) for n in range(12)]
    assert report["rows_read"] == 24
