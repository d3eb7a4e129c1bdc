"""Shares of a job, joined, are the bytes of the undivided job."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from serve.cli import main
from serve.journal.output import merge
from serve.journal.shards import parse_shard, shard_path
from tests.serve import bundles
from tests.serve.helpers import score, write_csv
from trainer.contract.errors import ArtifactError, ClassifactError, InputError


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """300 rows, some of them bad."""
    texts = bundles.texts(300)
    texts[3] = texts[50] = texts[51] = texts[299] = ""
    return write_csv(tmp_path / "in.csv", texts)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("count", [1, 3])
def test_merged_shards_are_the_undivided_job(single: Path, rows: Path, tmp_path: Path, suffix: str, count: int) -> None:
    """int8 scores of N shards, merged, have the bytes of one job, and so have the rejected rows."""
    whole, out = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    expected = score(single, rows, out=whole, precision="int8", window=32, probabilities=True)
    for number in range(1, count + 1):
        score(single, rows, out=out, precision="int8", window=32, probabilities=True, shard=(number, count))
    report = merge(out)
    assert out.read_bytes() == whole.read_bytes()
    assert Path(report["errors"]).read_bytes() == Path(expected["errors"]).read_bytes()
    assert {name: report[name] for name in ("rows_read", "rows_scored", "rows_rejected", "tokens", "sha256")} == {
        name: expected[name] for name in ("rows_read", "rows_scored", "rows_rejected", "tokens", "sha256")
    }


def test_more_shards_than_windows(single: Path, rows: Path, tmp_path: Path) -> None:
    """A share without a window is whole too."""
    whole = score(single, rows, out=tmp_path / "whole.csv", window=200)
    for number in (1, 2, 3):
        score(single, rows, out=tmp_path / "out.csv", window=200, shard=(number, 3))
    assert merge(tmp_path / "out.csv")["sha256"] == whole["sha256"]


def _two(single: Path, rows: Path, out: Path, **second: object) -> None:
    score(single, rows, out=out, window=32, shard=(1, 2))
    score(single, rows, out=out, shard=(2, 2), **{"window": 32, **second})


def test_missing_shard(single: Path, rows: Path, tmp_path: Path) -> None:
    """A merge without all shards names the missing ones and writes nothing."""
    out = tmp_path / "out.csv"
    with pytest.raises(InputError, match="no shard"):
        merge(out)
    score(single, rows, out=out, window=32, shard=(2, 3))
    with pytest.raises(InputError, match="missing") as error:
        merge(out)
    assert "1/3, 3/3" in str(error.value)
    assert not out.exists()


def test_shards_of_different_jobs(single: Path, rows: Path, tmp_path: Path) -> None:
    """A shard that was scored with another setting is refused, and the setting is named."""
    _two(single, rows, tmp_path / "out.csv", precision="int8")
    with pytest.raises(InputError, match="precision differs"):
        merge(tmp_path / "out.csv")


def test_shards_of_different_machines(
    single: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard that another kind of processor scored is refused: int8 scores differ between instruction sets."""
    out = tmp_path / "out.csv"
    score(single, rows, out=out, window=32, shard=(1, 2))
    monkeypatch.setattr("serve.scoring.identity.instruction_set", lambda: "ANOTHER")
    score(single, rows, out=out, window=32, shard=(2, 2))
    with pytest.raises(InputError, match="instruction_set differs"):
        merge(out)
    assert not out.exists()


def test_changed_shard(single: Path, rows: Path, tmp_path: Path) -> None:
    """A shard of which a byte was changed is refused."""
    out = tmp_path / "out.csv"
    _two(single, rows, out)
    path = shard_path(out, (2, 2))
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(ArtifactError, match="was changed"):
        merge(out)
    assert not out.exists()


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "-1/2", "1/0"])
def test_bad_shard(single: Path, rows: Path, tmp_path: Path, text: str) -> None:
    """A share that cannot be is a usage error."""
    with pytest.raises(ValueError, match="K/N"):
        parse_shard(text)
    command = ["score", str(single), str(rows), "--out", str(tmp_path / "out.csv"), "--shard", text]
    assert CliRunner().invoke(main, command).exit_code == 2


def test_commands(single: Path, rows: Path, tmp_path: Path) -> None:
    """`--shard` and `merge` work as commands, and a shard's job can be repeated with --resume."""
    out = tmp_path / "out.csv"
    for shard in ("1/2", "2/2", "2/2"):
        command = ["score", str(single), str(rows), "--out", str(out), "--shard", shard, "--resume", "--quiet"]
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
    result = CliRunner().invoke(main, ["merge", str(out)])
    assert result.exit_code == 0, result.output
    assert "296 rows of 2 shards" in result.output


@pytest.mark.parametrize("place", ["file", "url"])
def test_shares_without_a_scored_row(single: Path, tmp_path: Path, place: str) -> None:
    """Each share may hold rejected rows alone, but a job of them is refused as the undivided one is, unless allowed."""
    if place == "url":
        pytest.importorskip("tenacity")  # URLs take the extra `remote`.
    rows = write_csv(tmp_path / "in.csv", [""] * 8)
    out: Any = tmp_path / "out.csv" if place == "file" else (tmp_path / "out.csv").as_uri()
    parts = {} if place == "file" else {"part_rows": 4}
    for number in (1, 2):
        score(single, rows, out=out, window=4, shard=(number, 2), **parts)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ClassifactError, match="no row could be scored") as error:
        merge(out)
    assert "8 null_text" in str(error.value)
    result = CliRunner().invoke(main, ["merge", str(out), "--max-errors", "7"])
    assert (result.exit_code, "too many rows" in result.output or "no row" in result.output) == (1, True)
    assert CliRunner().invoke(main, ["merge", str(out), "--max-errors", "some"]).exit_code == 2
    assert sorted(tmp_path.rglob("*")) == before
    result = CliRunner().invoke(main, ["merge", str(out), "--max-errors", "100%"])
    assert result.exit_code == 0
    assert json.loads(result.stdout.splitlines()[-1])["reasons"] == {"null_text": 8}
