"""A journal says no more than the disk keeps through a loss of power; and nobody's links are followed."""

import os
import shutil
from pathlib import Path

import pytest

from serve.journal import earlier, work_folder
from serve.writing.rejects import ErrorBound
from tests.serve import bundles
from tests.serve.helpers import score, write_csv
from trainer.contract.errors import ClassifactError, InputError


class _Disk:
    """A trace of what a job asks of the disk, and which names of a folder a loss of power could still take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trace: list[tuple[str, str]] = []
        self.unsafe: dict[str, set[str]] = {}
        fsync, replace, opened, rmtree = os.fsync, Path.replace, os.open, shutil.rmtree

        def synced(handle: int) -> None:
            path = str(Path(f"/proc/self/fd/{handle}").readlink())
            fsync(handle)
            self.trace.append(("sync", path))
            if Path(path).is_dir():
                self.unsafe.pop(path, None)
            elif Path(path).name == "journal":
                self.noted()

        def renamed(path: Path, target: Path) -> Path:
            found = replace(path, target)
            if Path(target).name.endswith(".done"):
                # The work may go only once everything has its name for good.
                assert not self.unsafe.get(str(Path(target).parent)), self.unsafe
            self.trace.append(("rename", str(target)))
            self.unsafe.setdefault(str(Path(target).parent), set()).add(Path(target).name)
            return found

        def made(path: object, flags: int, *more: int, **options: int) -> int:
            new = flags & os.O_CREAT and not os.path.exists(path)  # type: ignore[arg-type]  # noqa: PTH110
            handle = opened(path, flags, *more, **options)  # type: ignore[arg-type]
            if new:
                self.unsafe.setdefault(str(Path(str(path)).parent), set()).add(Path(str(path)).name)
            return handle

        def removed(path: Path, **options: bool) -> None:
            self.trace.append(("remove", str(path)))
            rmtree(path, **options)

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(Path, "replace", renamed)
        monkeypatch.setattr(os, "open", made)
        monkeypatch.setattr(shutil, "rmtree", removed)

    def noted(self) -> None:
        """A note speaks of rows and parts: each must be named by its folder."""
        for folder, names in self.unsafe.items():
            if ".job" in folder:
                assert not {name for name in names if name.startswith(("rows-", "part-", "errors"))}, (folder, names)


@pytest.mark.parametrize("part_rows", [None, 60])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_order_of_syncs(
    single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, part_rows: int | None
) -> None:
    """Folders are synced after each name that a note speaks of, and the output's folder before the work goes."""
    monkeypatch.setattr(work_folder, "COMMIT_SECONDS", 0.0)
    texts = bundles.texts(200)
    texts[7] = ""
    rows = write_csv(tmp_path / "in.csv", texts)
    out = tmp_path / f"out{suffix}"
    disk = _Disk(monkeypatch)
    score(single, rows, out=out, window=32, part_rows=part_rows, canary=False)
    monkeypatch.undo()
    assert ("rename", str(out)) in disk.trace
    renamed = disk.trace.index(("rename", str(out)))
    assert ("sync", str(tmp_path)) in disk.trace[
        renamed : disk.trace.index(("remove", str(tmp_path / f".{out.name}.done")))
    ]
    # The work folder is named before anything in it is noted.
    first = next(index for index, (what, path) in enumerate(disk.trace) if path.endswith(f".{out.name}.job/journal"))
    assert ("sync", str(tmp_path)) in disk.trace[:first]


@pytest.mark.parametrize("name", ["", "journal", "rows-00000", "errors.jsonl", "lock", "parts"])
@pytest.mark.parametrize("resume", [False, True])
def test_planted_links(single: Path, tmp_path: Path, name: str, resume: bool) -> None:
    """A work folder that is a link, or holds one, is refused, and what the link leads to is untouched."""
    rows = write_csv(tmp_path / "in.csv", ["x"])
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    work = tmp_path / ".out.csv.job"
    if not name:
        work.symlink_to(precious)
    else:
        work.mkdir()
        (work / name).symlink_to(precious if name == "parts" else precious / "file")
    with pytest.raises(InputError, match="a link"):
        score(single, rows, out=tmp_path / "out.csv", resume=resume)
    assert [(path.name, path.read_text()) for path in precious.iterdir()] == [("file", "mine")]


@pytest.mark.parametrize("name", ["journal", "rows-00000", "errors.jsonl", "lock"])
@pytest.mark.parametrize("resume", [False, True])
def test_links_planted_after_the_look(
    single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, resume: bool
) -> None:
    """A link that is put into the work folder after it was looked through is not written through, nor cut."""
    rows = write_csv(tmp_path / "in.csv", [*["x"] * 4, ""])
    work = tmp_path / ".out.csv.job"
    if resume:
        with pytest.raises(ClassifactError, match="too many"):
            score(single, rows, out=tmp_path / "out.csv", window=2, max_errors=ErrorBound.parse("0"))
        (work / name).rename(tmp_path / "precious")
    else:
        work.mkdir()
        (tmp_path / "precious").write_text("mine")
    (work / name).symlink_to(tmp_path / "precious")
    before = (tmp_path / "precious").read_bytes()
    monkeypatch.setattr(earlier, "require_own_folder", lambda _: None)
    with pytest.raises((InputError, OSError), match="link"):
        score(single, rows, out=tmp_path / "out.csv", resume=resume, window=2)
    assert (tmp_path / "precious").read_bytes() == before


def test_planted_second_name(single: Path, tmp_path: Path) -> None:
    """A file of the work folder that has another name elsewhere is refused as a link is."""
    (tmp_path / "mine").write_text("mine")
    (tmp_path / ".out.csv.job").mkdir()
    (tmp_path / ".out.csv.job" / "errors.jsonl").hardlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match="a link"):
        score(single, write_csv(tmp_path / "in.csv", ["x"]), out=tmp_path / "out.csv")
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_users_folder_of_the_same_name(single: Path, tmp_path: Path) -> None:
    """A folder that happens to be called as finished work is, and holds something else, is kept."""
    (tmp_path / ".out.csv.done").mkdir()
    (tmp_path / ".out.csv.done" / "diary.txt").write_text("mine")
    with pytest.raises(InputError, match="is none"):
        score(single, write_csv(tmp_path / "in.csv", ["x"]), out=tmp_path / "out.csv")
    assert (tmp_path / ".out.csv.done" / "diary.txt").read_text() == "mine"


def test_a_place_that_cannot_be_written(single: Path, tmp_path: Path) -> None:
    """An output below a file is an error in our form, not a traceback."""
    rows = write_csv(tmp_path / "in.csv", ["x"])
    with pytest.raises(InputError, match="cannot be written"):
        score(single, rows, out=rows / "out.csv")
