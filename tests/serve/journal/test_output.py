"""A place for rows is looked at before anything is opened, and no row is lost between its parts."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from serve.cli import main
from serve.journal.output import merge
from tests.serve.helpers import read_csv, read_jsonl, score, write_csv
from trainer.contract.errors import InputError


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_what_exists_is_found_first(tmp_path: Path, more: list[str]) -> None:
    """An output that exists is told of before a bundle is opened, by a dry run too."""
    rows = write_csv(tmp_path / "in.csv", ["x"])
    (tmp_path / "out.csv").write_text("precious")
    command = ["score", str(tmp_path / "no bundle"), str(rows), "--out", str(tmp_path / "out.csv"), *more]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "exists already" in result.stderr


@pytest.mark.parametrize("place", ["local", "url"])
def test_parts_of_rejected_rows(single: Path, tmp_path: Path, place: str) -> None:
    """A part whose rows are all without scores holds them, at a URL too."""
    rows = write_csv(tmp_path / "in.csv", [*["fine"] * 30, *[""] * 30, "last"])
    folder = tmp_path / "out.csv"
    out: Any = folder if place == "local" else folder.as_uri()
    report = score(single, rows, out=out, part_rows=30, window=30, on_error="null")
    parts = sorted(folder.glob("part-*.csv"))
    assert [len(read_csv(part)) for part in parts] == [30, 30, 1]
    assert [row["id"] for part in parts for row in read_csv(part)] == [str(row) for row in range(61)]
    assert (report["rows_scored"], report["rows_rejected"]) == (31, 30)


def test_parts_without_a_gap(single: Path, tmp_path: Path) -> None:
    """A part whose rows were all left out is there, with its header, so that a missing number means a loss."""
    rows = write_csv(tmp_path / "in.csv", [*["fine"] * 30, *[""] * 30, "last"])
    score(single, rows, out=tmp_path / "out.csv", part_rows=30, window=30)
    parts = sorted((tmp_path / "out.csv").iterdir())
    assert [(part.name, len(read_csv(part))) for part in parts] == [
        ("part-00000.csv", 30),
        ("part-00001.csv", 0),
        ("part-00002.csv", 1),
    ]


def test_share_of_rejected_rows(single: Path, tmp_path: Path) -> None:
    """A share whose rows are all bad ends well, and the merged output is the undivided one."""
    rows = write_csv(tmp_path / "in.csv", [*["fine"] * 30, *[""] * 30])
    whole, out = tmp_path / "whole.csv", tmp_path / "out.csv"
    score(single, rows, out=whole, window=30)
    for number in (1, 2):
        score(single, rows, out=out, window=30, shard=(number, 2))
    assert merge(out)["rows_rejected"] == 30
    assert out.read_bytes() == whole.read_bytes()
    assert len(read_jsonl(tmp_path / "out.csv.errors.jsonl")) == 30


def test_resume_does_not_overwrite(single: Path, tmp_path: Path) -> None:
    """With --resume an output that no job of ours made is refused too."""
    rows = write_csv(tmp_path / "in.csv", ["x"])
    (tmp_path / "out.csv").write_text("precious")
    with pytest.raises(InputError, match="exists already"):
        score(single, rows, out=tmp_path / "out.csv", resume=True)
    assert (tmp_path / "out.csv").read_text() == "precious"


@pytest.mark.parametrize(("out", "part"), [("", "has no name"), (".", "has no name"), ("made", "is a folder")])
def test_an_output_that_is_no_file(
    single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, part: str
) -> None:
    """A folder, also an empty one, is refused before anything is scored; with parts an empty one is filled."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made").mkdir()
    rows = write_csv(tmp_path / "in.csv", ["win"])
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=part):
        score(single, rows, out=Path(out), out_format="csv")
    assert sorted(tmp_path.iterdir()) == before
    if out == "made":
        score(single, rows, out=Path(out), out_format="csv", part_rows=5)
        assert len(read_csv(tmp_path / "made" / "part-00000.csv")) == 1


def test_names_that_are_no_text(single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files whose names are no UTF-8, or hold a line feed, are read, written, reported and resumed."""
    monkeypatch.chdir(tmp_path)
    given, out = os.fsdecode(b"caf\xe9\n.csv"), os.fsdecode(b"out\xe9.csv")
    write_csv(Path(given), ["win", "", "prize"])
    command = ["score", str(single), given, "--out", out, "--no-canary", "--window", "1", "--quiet"]
    failed = CliRunner().invoke(main, [*command, "--max-errors", "0"])
    assert failed.exit_code == 1
    assert "too many" in failed.output
    done = CliRunner().invoke(main, [*command, "--resume"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["out"] == out
    assert len(read_csv(Path(out))) == 2
    assert read_jsonl(Path(f"{out}.errors.jsonl"))[0]["file"] == given
    assert json.loads(Path(f"{out}.report.json").read_text())["job"]["input 0"][0] == given
