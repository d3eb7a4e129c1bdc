"""What lies at a URL is not ours to touch; shares of a job are one set of parts; a store's refusals are told."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from click.testing import CliRunner
from fsspec.implementations.memory import MemoryFileSystem

from serve.cli import main
from serve.journal.output import merge
from tests.serve import bundles
from tests.serve.helpers import score, write_csv
from trainer.contract.errors import ArtifactError, ClassifactError, InputError

OUT: Any = "memory://bucket/scores.csv"
OPTIONS: dict[str, Any] = {"precision": "int8", "window": 32, "part_rows": 60, "canary": False}


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A store in this process's memory, empty before and after; nobody waits for a second try."""
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    MemoryFileSystem.store.clear()
    yield fsspec.filesystem("memory")
    MemoryFileSystem.store.clear()


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """400 rows, a few of them bad."""
    texts = bundles.texts(400)
    texts[5] = texts[77] = texts[199] = ""
    return write_csv(tmp_path / "in.csv", texts)


def _objects() -> dict[str, bytes]:
    return {name: bytes(file.getvalue()) for name, file in MemoryFileSystem.store.items()}


@pytest.mark.parametrize("name", ["part-00000.csv", "part-00007.csv", "_errors/part-00000.jsonl", "notes.txt"])
@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("shard", [None, (1, 2)])
def test_foreign_objects(
    single: Path, rows: Path, store: Any, name: str, resume: bool, shard: tuple[int, int] | None
) -> None:
    """Where no job of ours lies, whatever lies there is neither overwritten nor left among our parts."""
    store.pipe_file(f"/bucket/scores.csv/{name}", b"precious")
    with pytest.raises(InputError, match="exists already") as error:
        score(single, rows, out=OUT, resume=resume, shard=shard, **OPTIONS)
    assert name in str(error.value)
    assert list(_objects().values()) == [b"precious"]


def test_shares_make_the_undivided_set(single: Path, rows: Path) -> None:
    """Parts of three shares, one of them interrupted and resumed, are the objects that one job puts, byte by byte."""
    expected = score(single, rows, out=OUT, **OPTIONS)
    whole = {name: content for name, content in _objects().items() if "/_report" not in name}
    MemoryFileSystem.store.clear()
    with pytest.raises(InputError, match="no whole shard"):
        merge(OUT)
    score(single, rows, out=OUT, shard=(2, 3), **OPTIONS)
    with pytest.raises(InputError, match="missing") as error:
        merge(OUT)
    assert "1/3, 3/3" in str(error.value)
    put, puts = MemoryFileSystem.put_file, [0]

    def dying(*arguments: Any, **options: Any) -> None:
        puts[0] += 1
        if puts[0] == 3:
            raise KeyboardInterrupt
        put(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryFileSystem, "put_file", dying)
        with pytest.raises(KeyboardInterrupt):
            score(single, rows, out=OUT, shard=(1, 3), **OPTIONS)
    with pytest.raises(InputError, match="unfinished job"):
        score(single, rows, out=OUT, shard=(1, 3), **OPTIONS)
    score(single, rows, out=OUT, shard=(1, 3), resume=True, **OPTIONS)
    score(single, rows, out=OUT, shard=(3, 3), resume=True, **OPTIONS)
    result = CliRunner().invoke(main, ["merge", OUT])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout.splitlines()[-1])
    same = ("sha256", "errors_sha256", "bytes", "rows_read", "rows_scored", "rows_rejected", "tokens", "out", "errors")
    assert {name: report[name] for name in same} == {name: expected[name] for name in same}
    assert {name: content for name, content in _objects().items() if "/_report" not in name} == whole
    # Whoever asks for the undivided job now finds it done.
    assert score(single, rows, out=OUT, resume=True, **OPTIONS)["sha256"] == expected["sha256"]


def test_more_shares_than_parts(single: Path, rows: Path) -> None:
    """A share without a part is whole too."""
    for number in range(1, 10):
        score(single, rows, out=OUT, shard=(number, 9), **OPTIONS)
    assert merge(OUT)["rows_read"] == 400


@pytest.mark.parametrize("damage", ["missing", "was changed", "of no share"])
def test_a_set_that_is_not_whole(single: Path, rows: Path, store: Any, damage: str) -> None:
    """A part that was lost, cut or added is named by `merge`, and no report is put."""
    for number in (1, 2):
        score(single, rows, out=OUT, shard=(number, 2), **OPTIONS)
    part = "/bucket/scores.csv/part-00001.csv"
    if damage == "missing":
        store.rm_file(part)
    elif damage == "was changed":
        store.pipe_file(part, store.cat_file(part)[:-1])
    else:
        store.pipe_file("/bucket/scores.csv/part-00099.csv", b"x")
    with pytest.raises(ArtifactError, match=damage):
        merge(OUT)
    assert not store.exists("/bucket/scores.csv/_report.json")


def test_shares_of_different_jobs(single: Path, rows: Path) -> None:
    """Shares of jobs with different settings are not one set, and differently divided ones do not meet."""
    score(single, rows, out=OUT, shard=(1, 2), **OPTIONS)
    score(single, rows, out=OUT, shard=(2, 2), **{**OPTIONS, "part_rows": 50})
    with pytest.raises(InputError, match="part_rows differs"):
        merge(OUT)
    with pytest.raises(InputError, match="exists already"):
        score(single, rows, out=OUT, shard=(3, 3), **OPTIONS)
    with pytest.raises(InputError, match="exists already"):
        score(single, rows, out=OUT, resume=True, **OPTIONS)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    "content", [b"{}", b'{"job": {}}', b'{"job": {"threads": 1}, "state": "odd"}', b"[1]", b"\xff"]
)
def test_a_note_that_is_none_of_ours(single: Path, rows: Path, store: Any, content: bytes, resume: bool) -> None:
    """A `_job.json` of somebody else's is an error that names it, and is kept, as all beside it."""
    store.pipe_file("/bucket/scores.csv/_job.json", content)
    with pytest.raises(ClassifactError, match=r"no note of ours|exists already|is not JSON"):
        score(single, rows, out=OUT, resume=resume, **OPTIONS)
    assert _objects() == {"/bucket/scores.csv/_job.json": content}


@pytest.mark.parametrize(("place", "left_out"), [("file", "reasons"), ("url", "cascade")])
def test_a_report_of_another_version(
    single: Path, rows: Path, tmp_path: Path, store: Any, place: str, left_out: str
) -> None:
    """Shares that another version scored are not summed wrongly: the error says which version to merge with."""
    out: Any = OUT if place == "url" else tmp_path / "out.csv"
    options = OPTIONS if place == "url" else {**OPTIONS, "part_rows": None}
    for number in (1, 2):
        score(single, rows, out=out, shard=(number, 2), **options)
    name = "/bucket/scores.csv/_report-1-of-2.json"
    path = tmp_path / "out.csv.shard-1-of-2.report.json"
    report = json.loads(store.cat_file(name) if place == "url" else path.read_bytes())
    old = json.dumps({**{key: report[key] for key in report if key != left_out}, "version": "0.0.9"}).encode()
    store.pipe_file(name, old) if place == "url" else path.write_bytes(old)
    with pytest.raises(ArtifactError, match="cannot be merged") as error:
        merge(out)
    assert f"version 0.0.9, without {left_out}" in str(error.value)


@pytest.mark.parametrize("failures", [2, 100])
def test_a_store_that_fails(
    single: Path, rows: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failures: int
) -> None:
    """A call that fails is tried again, so often and no more, and told of; then it is an error that can be resumed."""
    put, count = MemoryFileSystem.put_file, [0]

    class TheirError(Exception):
        """What no library shares."""

    def failing(*arguments: Any, **options: Any) -> None:
        count[0] += 1
        if 1 < count[0] <= failures + 1:
            raise TheirError("at https://host/x?sig=SECRET: slow down")
        put(*arguments, **options)

    monkeypatch.setattr(MemoryFileSystem, "put_file", failing)
    if failures == 2:
        assert score(single, rows, out=OUT, **OPTIONS)["rows_read"] == 400
        assert "try 2 of 5" in caplog.messages[0]
        assert len(caplog.messages) == 2
    else:
        with pytest.raises(ClassifactError, match="could not be put") as error:
            score(single, rows, out=OUT, **OPTIONS)
        assert "TheirError" in str(error.value)
        assert "--resume" in str(error.value)
        assert count[0] == 1 + 5
        assert "SECRET" not in str(error.value) + caplog.text
        monkeypatch.undo()
        assert score(single, rows, out=OUT, resume=True, **OPTIONS)["rows_read"] == 400


def test_a_refusal_is_not_tried_again(single: Path, rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What asking again does not mend, such as a missing permission, ends the job at once."""
    count = [0]

    def refused(*_: Any, **__: Any) -> None:
        count[0] += 1
        raise PermissionError("Access Denied")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", refused)
    with pytest.raises(ClassifactError, match="could not be put"):
        score(single, rows, out=OUT, **OPTIONS)
    assert count == [1]


def test_a_note_that_is_none(single: Path, rows: Path, store: Any) -> None:
    """A torn note is named, not a traceback."""
    store.pipe_file("/bucket/scores.csv/_job.json", b'{"job": ')
    with pytest.raises(ArtifactError, match="is not JSON"):
        score(single, rows, out=OUT, resume=True, **OPTIONS)
