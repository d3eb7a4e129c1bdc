"""What a folder or a glob is read for, and what in it is no input."""

import bz2
import gzip
import lzma
import os
from pathlib import Path
from typing import Any

import fsspec
import pytest

from serve.reading.sources import Reading, find_sources
from tests.serve.helpers import read_csv, score, write_csv
from trainer.contract.errors import InputError

CASES = Path(__file__).parents[3].parent / "shared" / "cases"


def _names(given: Path | str, folder: Path, told: list[str]) -> list[str]:
    return [str(Path(source.name).relative_to(folder)) for source in find_sources([str(given)], Reading(), told.append)]


def test_hidden_files_are_no_input(tmp_path: Path) -> None:
    """Copies of an editor and marks of other tools are left out of folders and globs, and that is said."""
    for name in ("a.csv", ".ipynb_checkpoints/a-checkpoint.csv", "_tmp/b.csv", "_c.csv", "sub/d.csv", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_csv(tmp_path / name, ["x"])
    told: list[str] = []
    assert _names(tmp_path, tmp_path, told) == ["a.csv", "sub/d.csv"]
    assert "4 left out" in told[0]
    assert "notes.txt" in _names(tmp_path / "notes.txt", tmp_path, told)
    assert _names(tmp_path / "**/*.csv", tmp_path, told) == ["a.csv", "sub/d.csv"]
    assert _names(tmp_path / "_*.csv", tmp_path, told) == ["_c.csv"]
    assert len(told) == 2
    with pytest.raises(InputError, match="no input is there") as error:
        find_sources([str(tmp_path / ".ipynb_checkpoints" / "*.jsonl")], Reading())
    assert "name the files themselves" in str(error.value)


def test_outputs_of_an_earlier_job_are_no_input(single: Path, tmp_path: Path) -> None:
    """A second run over the same folder reads what the first one read, though its output and side files lie there."""
    write_csv(tmp_path / "rows.csv", ["one", "", "two"])
    score(single, tmp_path, out=tmp_path / "scored.csv")
    score(single, tmp_path, out=tmp_path / "parts.csv", part_rows=1, window=1)
    report = score(single, tmp_path, out=tmp_path / "again.csv")
    assert report["rows_read"] == 3
    # A folder of parts that is named is read.
    report = score(single, tmp_path / "parts.csv", out=tmp_path / "twice.csv", prefix="new_")
    assert report["rows_read"] == 2


def test_hidden_objects_are_no_input(single: Path, tmp_path: Path) -> None:
    """A folder of parts at a URL is the next job's input, its reports and rejected rows left out."""
    write_csv(tmp_path / "rows.csv", ["one", "", "two"])
    memory = fsspec.filesystem("memory")
    try:
        score(single, tmp_path / "rows.csv", out="memory://kept/data", part_rows=1, window=1, out_format="csv")  # type: ignore[arg-type]
        names = sorted(path.removeprefix("/kept/data/") for path in memory.find("/kept/data"))
        # The address has no suffix: the parts have that of their format.
        assert names == ["_errors/part-00001.jsonl", "_report.json", *(f"part-0000{part}.csv" for part in range(3))]
        report = score(single, "memory://kept/data", out=tmp_path / "out.csv", prefix="new_")  # type: ignore[arg-type]
        assert report["rows_read"] == 2
        report = score(single, "memory://kept/data/**", out=tmp_path / "glob.csv", prefix="new_", format="csv")  # type: ignore[arg-type]
        assert report["rows_read"] == 2
    finally:
        memory.rm("/kept", recursive=True)


def test_signed_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The query of a web address is neither a suffix nor a pattern."""
    monkeypatch.setattr("serve.reading.sources.url_state", lambda _: (1, "x"))
    (source,) = find_sources(["https://host/x.csv.gz?sig=a*b[c]"], Reading())
    assert (source.compression, source.dialect is not None) == ("gzip", True)
    assert source.name.endswith("?sig=a*b[c]")


@pytest.mark.parametrize("packing", ["gzip", "none"])
def test_compression_is_named(single: Path, tmp_path: Path, packing: str) -> None:
    """--compression overrules the suffix, either way."""
    plain = write_csv(tmp_path / "in.csv", ["one"]).read_bytes()
    path = tmp_path / ("rows.csv" if packing == "gzip" else "rows.csv.gz")
    path.write_bytes(gzip.compress(plain, mtime=0) if packing == "gzip" else plain)
    score(single, path, out=tmp_path / "out.csv", compression=packing)
    assert [row["text"] for row in read_csv(tmp_path / "out.csv")] == ["one"]


@pytest.mark.parametrize("limit", [1, 4, 6, 8, 100])
def test_the_first_rows(single: Path, tmp_path: Path, limit: int) -> None:
    """--limit reads the first rows of all inputs together, also across files."""
    for number in range(3):
        write_csv(tmp_path / f"{number}.csv", [f"text {number} {row}" for row in range(4)])
    report = score(single, tmp_path / "?.csv", out=tmp_path / "out.jsonl", limit=limit, window=3)
    assert report["rows_read"] == min(limit, 12)
    score(single, tmp_path / "?.csv", out=tmp_path / "out.parquet", limit=limit)
    assert score(single, tmp_path / "out.parquet", out=tmp_path / "x.csv", limit=1, prefix="n_")["rows_read"] == 1


def test_a_column_of_another_name(single: Path, pair: Path, tmp_path: Path) -> None:
    """--text-column says which column holds the text; of a pair, one for each; the output keeps their names."""
    (tmp_path / "in.csv").write_text("body,other\nfree prize,win\n")
    write_csv(tmp_path / "plain.csv", ["free prize"])
    score(single, tmp_path / "in.csv", out=tmp_path / "out.csv", text_columns=("body",))
    score(single, tmp_path / "plain.csv", out=tmp_path / "plain-out.csv")
    (row,), (plain,) = read_csv(tmp_path / "out.csv"), read_csv(tmp_path / "plain-out.csv")
    assert (row["body"], row["confidence"]) == ("free prize", plain["confidence"])
    assert score(pair, tmp_path / "in.csv", out=tmp_path / "p.csv", text_columns=("body", "other"))["rows_scored"] == 1
    with pytest.raises(InputError, match="another number of columns"):
        score(pair, tmp_path / "in.csv", out=tmp_path / "q.csv", text_columns=("body",))


@pytest.mark.parametrize(
    ("name", "part"),
    [("rows.xlsx", "save its sheet as CSV"), ("rows.json", "jq -c"), ("rows.csv.bz2", ""), ("rows.txt", "")],
)
def test_formats_that_train(single: Path, tmp_path: Path, name: str, part: str) -> None:
    """What training reads is scored, or the error says how to convert it."""
    path = CASES / "formats" / name
    if part:
        with pytest.raises(InputError) as error:
            score(single, path, out=tmp_path / "out.csv")
        assert part in str(error.value)
    else:
        assert score(single, path, out=tmp_path / "out.csv")["rows_scored"] == 1


def test_empty_files_among_good_ones(single: Path, tmp_path: Path) -> None:
    """A part without a byte, as other tools write one of no rows, is left out and told; alone it is refused."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.csv", "c.csv"):
        write_csv(folder / name, ["win"])
    (folder / "b.csv").touch()
    for suffix, pack in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)):
        (folder / f"d.csv.{suffix}").write_bytes(pack(b""))
    (folder / "e.csv.gz").write_bytes(gzip.compress(b"id,text\n3,prize\n"))
    told: list[str] = []
    assert _names(folder, folder, told) == ["a.csv", "c.csv", "e.csv.gz"]
    assert told == ["4 left out: b.csv, d.csv.bz2, d.csv.gz, ... (empty)"]
    assert score(single, folder, out=tmp_path / "out.csv")["rows_scored"] == 3
    with pytest.raises(InputError, match="the file is empty"):
        score(single, folder / "b.csv", out=tmp_path / "none.csv")


def test_links_of_a_folder(tmp_path: Path) -> None:
    """A link to a file is read, one to a folder (also in a ring) is told, one that leads nowhere is an error."""
    folder, told = tmp_path / "in", list[str]()
    folder.mkdir()
    write_csv(tmp_path / "elsewhere.csv", ["x"])
    (folder / "a.csv").symlink_to(tmp_path / "elsewhere.csv")
    (folder / "ring").symlink_to(folder)
    assert _names(folder, folder, told) == ["a.csv"]
    assert _names(folder / "*", folder, told) == ["a.csv"]
    assert all("1 left out: ring" in line for line in told)
    (folder / "b.csv").symlink_to(tmp_path / "gone.csv")
    for given in (folder, folder / "*.csv"):
        with pytest.raises(InputError, match="leads nowhere") as error:
            find_sources([str(given)], Reading())
        assert "gone.csv" in str(error.value)


def test_a_folder_that_cannot_be_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder below the input that may not be read is an error: its rows would be missing without a word."""
    (tmp_path / "closed").mkdir()
    write_csv(tmp_path / "a.csv", ["x"])
    scan = os.scandir

    def refusing(path: str) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(InputError, match="cannot be read") as error:
        find_sources([str(tmp_path)], Reading())
    assert "closed" in str(error.value)
