"""Files that are whole or absent, whatever happens while they are written."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.system.files import (
    atomic_file,
    atomic_folder,
    inside,
    json_line,
    read_json,
    refuse_existing,
    remove_partials,
    sha256,
    write_json,
)


class Boom(Exception):
    """What a test raises inside a block."""


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def killed(code: str, folder: Path) -> None:
    """Run code that says when it is in the middle of writing, and kill it there."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


_KILLED = """
import sys, time
from pathlib import Path
from trainer.contract.system.files import atomic_file, atomic_folder
folder = Path(sys.argv[1])
with {block} as made:
    {write}
    print("writing", flush=True)
    time.sleep(60)
"""


def test_an_error_while_writing_leaves_what_was_there(tmp_path: Path) -> None:
    """A file that fails half-way keeps its earlier content and leaves nothing beside it."""
    path = tmp_path / "state.json"
    path.write_bytes(b"before")

    def write() -> None:
        with atomic_file(path) as file:
            file.write(b"half")
            file.flush()
            assert path.read_bytes() == b"before"
            raise Boom

    with pytest.raises(Boom):
        write()
    assert (names(tmp_path), path.read_bytes()) == (["state.json"], b"before")


def test_a_refusal_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    """What the system does not let us write is told under its own name, not under the hidden one beside it."""
    (tmp_path / "file").touch()
    for block in (atomic_file, atomic_folder):
        with pytest.raises(OSError, match="file") as caught, block(tmp_path / "file" / "page"):
            pass
        assert ".partial" not in str(caught.value)
    with pytest.raises(FileNotFoundError) as missing, atomic_file(tmp_path / "nowhere" / "page"):
        pass
    assert missing.value.filename == str(tmp_path / "nowhere" / "page")


def test_an_error_while_filling_a_folder_leaves_nothing(tmp_path: Path) -> None:
    """A folder that fails half-way never gets its name, and its files are gone."""

    def fill() -> None:
        with atomic_folder(tmp_path / "bundle") as folder:
            (folder / "deep").mkdir()
            (folder / "deep" / "file").write_text("x")
            raise Boom

    with pytest.raises(Boom):
        fill()
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling"])
def test_an_existing_output_is_refused(tmp_path: Path, kind: str) -> None:
    """Nothing a user made is overwritten: not a file, not a folder with something in it, not a link."""
    path = tmp_path / "out"
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
        (path / "mine").touch()
    else:
        path.symlink_to(tmp_path if kind == "link" else tmp_path / "nowhere")
    with pytest.raises(InputError, match="exists already"), atomic_folder(path):
        pytest.fail("the block must not run")
    assert names(tmp_path) == ["out"]


def test_a_file_in_the_way_of_a_folder_is_kept(tmp_path: Path) -> None:
    """A file cannot replace a folder: the folder stays and nothing half-made is left."""
    (tmp_path / "name").mkdir()
    with pytest.raises(OSError, match="directory"), atomic_file(tmp_path / "name") as file:
        file.write(b"x")
    assert names(tmp_path) == ["name"]


def test_an_output_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    """Where another job fills the name first, its files stay."""
    path = tmp_path / "out"

    def race() -> None:
        with atomic_folder(path) as folder:
            (folder / "ours").touch()
            path.mkdir()
            (path / "theirs").touch()

    with pytest.raises(OSError, match="not empty"):
        race()
    assert names(path) == ["theirs"]


@pytest.mark.parametrize(
    ("block", "write"),
    [
        ('atomic_file(folder / "out")', 'made.write(b"half"); made.flush()'),
        ('atomic_folder(folder / "out")', '(made / "half").write_text("half")'),
    ],
    ids=["file", "folder"],
)
def test_kill_leaves_nothing_under_the_final_name(tmp_path: Path, block: str, write: str) -> None:
    """After a kill -9 the final name does not exist, and what was left beside it can be cleared."""
    killed(_KILLED.format(block=block, write=write), tmp_path)
    left = names(tmp_path)
    assert len(left) == 1
    assert left[0].startswith(".out.")
    remove_partials(tmp_path)
    assert names(tmp_path) == []


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """A write that the system refuses half-way (here: a limit on file size) keeps the earlier file."""
    path = tmp_path / "state"
    path.write_bytes(b"before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="large"), atomic_file(path) as file:
            file.write(b"x" * 100_000)
        with pytest.raises(OSError, match="large"), atomic_folder(tmp_path / "folder") as folder:
            (folder / "big").write_bytes(b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (names(tmp_path), path.read_bytes()) == (["state"], b"before")


def test_remove_partials_removes_only_what_a_killed_writer_left(tmp_path: Path) -> None:
    """Finished files stay, and a link is removed without what it points to."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / ".a.123.partial").symlink_to(tmp_path / "precious")
    (tmp_path / ".b.123.partial").mkdir()
    (tmp_path / ".b.123.partial" / "file").touch()
    (tmp_path / "kept.partial").touch()
    remove_partials(tmp_path)
    assert names(tmp_path) == ["kept.partial", "precious"]
    assert names(tmp_path / "precious") == ["file"]


def test_finished_files_have_the_users_permissions(tmp_path: Path) -> None:
    """A finished file is as readable as any other of this user, not private like a temporary one."""
    before = os.umask(0o027)
    try:
        write_json(tmp_path / "file.json", {})
        with atomic_folder(tmp_path / "folder") as folder:
            (folder / "x").touch()
    finally:
        os.umask(before)
    assert [oct((tmp_path / name).stat().st_mode & 0o777) for name in ("file.json", "folder")] == ["0o640", "0o750"]


def test_a_folder_appears_whole_with_its_parents(tmp_path: Path) -> None:
    """The parents are made, an empty folder in the way is taken, and the content is all there."""
    path = tmp_path / "runs" / "bundle"
    path.mkdir(parents=True)
    refuse_existing(path)
    with atomic_folder(path) as folder:
        (folder / "onnx").mkdir()
        (folder / "onnx" / "model").write_text("x")
        assert names(path) == []
    assert (path / "onnx" / "model").read_text() == "x"
    assert names(path.parent) == ["bundle"]


@pytest.mark.parametrize(
    "name",
    ["", "..", "../x", "a/../../x", "/etc/passwd", "link/x", "link", "file_link", "ring", "a\0b"],
)
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    """By `..`, by a root, through a link, round a ring of links or with a NUL byte: never out of the folder."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (tmp_path / "secret").touch()
    (folder / "link").symlink_to(tmp_path)
    (folder / "file_link").symlink_to(tmp_path / "secret")
    (folder / "ring").symlink_to(folder / "ring")
    with pytest.raises(ArtifactError, match="leads out"):
        inside(folder, name)


def test_a_name_inside_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sub-folders, links that stay inside and a relative folder are fine, and so is a folder reached by a link."""
    folder = tmp_path / "bundle"
    (folder / "onnx").mkdir(parents=True)
    (folder / "alias").symlink_to(folder / "onnx")
    (tmp_path / "door").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    assert inside(folder, "onnx/model.onnx") == folder / "onnx" / "model.onnx"
    assert inside(folder, "alias/model.onnx") == folder / "alias" / "model.onnx"
    assert inside(Path("door"), "onnx/../x") == Path("door/onnx/../x")


def test_json_has_no_nan(tmp_path: Path) -> None:
    """NaN and infinity, at any depth and of numpy too, become null; another JSON reader can read the file."""
    path = tmp_path / "metrics.json"
    write_json(path, {"a": math.nan, "b": [math.inf, (1.5, -math.inf)], "c": {"d": np.float64("nan")}})
    text = path.read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"a": None, "b": [None, [1.5, None]], "c": {"d": None}}


def test_json_keeps_text_that_is_no_unicode(tmp_path: Path) -> None:
    """A file name with bytes that are no text survives the round, in a file that is valid UTF-8."""
    path = tmp_path / "place.json"
    write_json(path, {"place": "caf\udce9.csv:1", "text": "é😀\\udce9"})
    path.read_text(encoding="utf-8")
    assert read_json(path) == {"place": "caf\udce9.csv:1", "text": "é😀\\udce9"}


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    """A value that is no JSON is an error before the old file is touched."""
    path = tmp_path / "state.json"
    write_json(path, [1])
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert (read_json(path), names(tmp_path)) == ([1], ["state.json"])


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe\xff", b"[" * 100_000])
def test_json_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    """A missing, cut, binary or endlessly nested file is an ArtifactError with its name."""
    path = tmp_path / "manifest.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"manifest\.json is"):
        read_json(path)


def test_the_hash_is_the_files(tmp_path: Path) -> None:
    """SHA-256 in hexadecimal, of the bytes."""
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_line_of_json_moves_no_cursor() -> None:
    """Controls and turns of direction are JSON's own escapes, which readers give back; letters stay letters."""
    text = "\x1b[2J\x9b2J\u202eé\n"
    line = json_line({text: [text]})
    assert line == r'{"\u001b[2J\u009b2J\u202eé\n": ["\u001b[2J\u009b2J\u202eé\n"]}'
    assert json.loads(line) == {text: [text]}
