"""Parts at a URL are those that a local job makes, each once, wherever it was interrupted."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from click.testing import CliRunner
from fsspec.implementations.memory import MemoryFileSystem

from serve.cli import main
from serve.writing.rejects import ErrorBound
from tests.serve import bundles
from tests.serve.helpers import read_jsonl, score, write_csv
from trainer.contract.errors import ClassifactError, InputError

URL = "memory://bucket/scores"
# Of 200 rows.
THREE_PARTS: dict[str, Any] = {"precision": "int8", "window": 32, "part_rows": 96, "canary": False}


@pytest.fixture
def store() -> Iterator[Any]:
    """A store in this process's memory, empty before and after."""
    system = fsspec.filesystem("memory")
    MemoryFileSystem.store.clear()
    yield system
    MemoryFileSystem.store.clear()


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """200 rows, a few of them bad."""
    texts = bundles.texts(200)
    texts[5] = texts[77] = texts[199] = ""
    return write_csv(tmp_path / "in.csv", texts)


def _objects(system: Any, url: str) -> dict[str, bytes]:
    """Name to bytes of all that lies at a URL, but the report, which tells of times."""
    root = url.removeprefix("memory:/")
    found = {name.removeprefix(root): system.cat_file(name) for name in system.find(root)}
    assert not any("_job.json" in name for name in found)
    report = json.loads(found.pop("/_report.json"))
    assert report["rows_read"] == 200
    return found


def _undisturbed(single: Path, rows: Path, store: Any) -> dict[str, bytes]:
    """What a job that nothing disturbs leaves at the URL."""
    score(single, rows, out=f"{URL}.csv", **THREE_PARTS)  # type: ignore[arg-type]
    return _objects(store, f"{URL}.csv")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_parts_are_those_of_a_local_job(single: Path, rows: Path, tmp_path: Path, store: Any, suffix: str) -> None:
    """Each part has the bytes of the local part, the rejected rows are those of the local side file, in order."""
    local = tmp_path / f"out{suffix}"
    options: dict[str, Any] = {"precision": "int8", "window": 32, "part_rows": 60}
    expected = score(single, rows, out=local, **options)
    report = score(single, rows, out=URL + suffix, **options)  # type: ignore[arg-type]
    found = _objects(store, URL + suffix)
    parts = {name.removeprefix("/"): content for name, content in found.items() if "_errors" not in name}
    assert parts == {path.name: path.read_bytes() for path in local.iterdir()}
    assert report["sha256"] == expected["sha256"]
    errors = b"".join(found[name] for name in sorted(found) if "_errors" in name)
    assert errors == (tmp_path / f"out{suffix}.errors.jsonl").read_bytes()


@pytest.mark.parametrize("done", [False, True])
def test_death_at_every_object(
    single: Path, rows: Path, store: Any, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    """A job that ends before or after each of its objects is put, and is resumed, leaves what one that was not does."""
    expected = _undisturbed(single, rows, store)
    moments = 0
    while True:
        MemoryFileSystem.store.clear()
        died = _die_at(moments, monkeypatch, done=done)
        try:
            score(single, rows, out=f"{URL}.csv", **THREE_PARTS)  # type: ignore[arg-type]
        except KeyboardInterrupt:
            assert died == [True]
            monkeypatch.undo()
            score(single, rows, out=f"{URL}.csv", resume=True, **THREE_PARTS)  # type: ignore[arg-type]
        assert _objects(store, f"{URL}.csv") == expected
        if not died:
            break
        moments += 1
    # A note, three parts, two of them with errors, a note after each, the report, and the note taken away.
    assert moments == 1 + 3 + 2 + 3 + 1 + 1


@pytest.mark.parametrize("moment", range(11))
def test_two_that_do_one_job(
    single: Path, rows: Path, store: Any, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """A job that another machine resumes and ends before the so-manyth change of the first leaves the same objects."""
    expected = _undisturbed(single, rows, store)
    MemoryFileSystem.store.clear()
    changes = list[str]()

    def shared(name: str, change: Any) -> Any:
        def changed(*arguments: Any, **given: Any) -> Any:
            changes.append(name)
            if len(changes) == moment + 1:
                score(single, rows, out=f"{URL}.csv", resume=True, **THREE_PARTS)  # type: ignore[arg-type]
            change(*arguments, **given)

        return changed

    for name in ("put_file", "pipe_file", "rm_file"):
        monkeypatch.setattr(MemoryFileSystem, name, shared(name, getattr(MemoryFileSystem, name)))
    score(single, rows, out=f"{URL}.csv", **THREE_PARTS)  # type: ignore[arg-type]
    assert len(changes) > 11
    assert _objects(store, f"{URL}.csv") == expected


def _die_at(moment: int, monkeypatch: pytest.MonkeyPatch, *, done: bool) -> list[bool]:
    """End the process, as far as a test can, before or after the so-manyth change of the store."""
    count, died = [0], list[bool]()
    monkeypatch.undo()

    def deadly(change: Any) -> Any:
        def changed(*arguments: Any, **options: Any) -> Any:
            count[0] += 1
            last = count[0] == moment + 1
            if last:
                died.append(True)
            if done or not last:
                change(*arguments, **options)
            if last:
                raise KeyboardInterrupt

        return changed

    for name in ("put_file", "pipe_file", "rm_file"):
        monkeypatch.setattr(MemoryFileSystem, name, deadly(getattr(MemoryFileSystem, name)))
    return died


@pytest.mark.usefixtures("store")
def test_resume_and_refusals(single: Path, multi: Path, rows: Path) -> None:
    """An unfinished job is not begun over, is resumed by the same job only, and once whole is left as it is."""
    out: Any = f"{URL}.csv"
    options: dict[str, Any] = {"window": 32, "part_rows": 60}
    with pytest.raises(ClassifactError, match="too many rows"):
        score(single, rows, out=out, max_errors=ErrorBound.parse("1"), **options)
    with pytest.raises(InputError, match="unfinished job"):
        score(single, rows, out=out, **options)
    with pytest.raises(InputError, match="precision differs"):
        score(single, rows, out=out, resume=True, precision="int8", **options)
    with pytest.raises(InputError, match="differs"):
        score(multi, rows, out=out, resume=True, **options)
    report = score(single, rows, out=out, resume=True, **options)
    assert (report["rows_read"], report["rows_scored"], report["rows_rejected"]) == (200, 197, 3)
    assert score(single, rows, out=out, resume=True, **options)["sha256"] == report["sha256"]
    with pytest.raises(InputError, match="exists already"):
        score(single, rows, out=out, **options)


def test_single_file_at_a_url(single: Path, rows: Path, store: Any) -> None:
    """A single file is refused, as a share of one is, and a folder of parts is named as the way."""
    for options in ({}, {"shard": (1, 2)}):
        with pytest.raises(InputError) as error:
            score(single, rows, out=f"{URL}.csv", **options)  # type: ignore[arg-type]
        assert "--part-rows" in str(error.value)
    assert store.find("/") == []


def test_unknown_store(single: Path, rows: Path) -> None:
    """A URL whose driver is not installed names it."""
    with pytest.raises(InputError, match="URL cannot be opened"):
        score(single, rows, out="nowhere://bucket/out.csv", part_rows=50)  # type: ignore[arg-type]


def test_command(single: Path, rows: Path, tmp_path: Path) -> None:
    """`--out URL --part-rows N` works as a command, to any file system that fsspec has."""
    url = (tmp_path / "store" / "out.jsonl").as_uri()
    command = ["score", str(single), str(rows), "--out", url, "--part-rows", "100", "--quiet", "--resume"]
    for _ in range(2):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1])["errors"] == f"{url}/_errors"
    # One window is a whole part.
    assert len(read_jsonl(tmp_path / "store" / "out.jsonl" / "part-00000.jsonl")) == 197
