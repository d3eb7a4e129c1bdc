"""Files that are whole or absent: written beside, synced, renamed."""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.visible import HIDDEN

PARTIAL = ".partial"


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open `path` for binary writing; it appears, whole and synced, only when the block ends without an error."""
    partial = _beside(path)
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        # Where the file could not be made, its removal fails too, and would be told instead.
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        _tell_of(path, partial, error)
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Fill a new folder that takes the name `path` only when the block ends without an error.

    Raises InputError where `path` exists and is not an empty folder.
    """
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path)
    try:
        partial.mkdir()
        yield partial
        # Files before the folder's own name: what is renamed must not lose its content with the power.
        for folder, _, names in os.walk(partial):
            for name in names:
                _sync(Path(folder) / name)
            sync_folder(Path(folder))
        partial.replace(path)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        _tell_of(path, partial, error)
        raise
    sync_folder(path.parent)


def refuse_existing(path: Path) -> None:
    """Raise InputError where `path` exists, unless it is an empty folder: nothing a user made is overwritten."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError("the output is no file but a device or a pipe", where=path, do="name a file that is not there")
    if path.is_symlink() or (path.exists() and not (path.is_dir() and not any(path.iterdir()))):
        raise InputError(
            "the output exists already", where=path, do="choose another name, or remove it yourself if it is not needed"
        )


def remove_partials(folder: Path) -> None:
    """Delete what a killed writer left in a folder that only one process writes to."""
    for path in folder.glob(f".*{PARTIAL}"):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def write_json(path: Path, content: object) -> None:
    """Write `content` as indented JSON, atomically. NaN and infinity become null: they are not JSON."""
    with atomic_file(path) as file:
        file.write(json_bytes(finite(content), indent=2) + b"\n")


def json_line(content: object) -> str:
    """`content` as JSON on one line, for a log or for standard output. NaN and infinity become null; what would move a
    terminal's cursor is written as JSON's own escape.
    """
    return HIDDEN.sub(lambda found: json.dumps(found[0], allow_nan=False)[1:-1], json_bytes(finite(content)).decode())


def finite(content: object) -> object:
    """The same with NaN and infinity as None, at any depth: JSON has neither."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    # True of infinities and NaN alone, and quicker than asking for both.
    if isinstance(content, float) and content - content != 0:
        return None
    return content


def json_bytes(content: object, *, indent: int | None = None) -> bytes:
    """JSON in UTF-8, on one line where `indent` is None.

    Half of a surrogate pair (of a file name that is no text, say) is written as JSON's own escape, which readers give
    back as it was. Raises ValueError for NaN and infinity.
    """
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace")


def read_json(path: Path) -> Any:
    """Read a JSON file that Classifact wrote. Raises ArtifactError where it is missing or is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ArtifactError(
            f"{path.name} is missing", where=path.parent, do="check the path; is this the right folder?"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{path.name} is not JSON", where=path, found=str(error), do="restore it, or make the folder again"
        ) from None


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        # In pieces: weights may be larger than memory.
        return hashlib.file_digest(file, "sha256").hexdigest()


def inside(folder: Path, name: str) -> Path:
    """`folder / name`, refusing a name that leads out of the folder, by `..`, by a root or through a link."""
    path = folder / name
    # A name with a NUL byte is none (ValueError), and links in a ring lead nowhere (RuntimeError, later OSError).
    with contextlib.suppress(ValueError, OSError, RuntimeError):
        if name and path.resolve().is_relative_to(folder.resolve()):
            return path
    raise ArtifactError(
        "a file name leads out of its folder",
        where=folder,
        found=repr(name),
        do="do not use this folder: it was tampered with",
    )


def _beside(path: Path) -> Path:
    """A name in the same folder that no other process uses, so that renaming it to `path` is one step for the disk.

    Made by plain open and mkdir, so that what is finished has the permissions that this user's other files have.
    """
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}{PARTIAL}")


def _tell_of(path: Path, partial: Path, error: BaseException) -> None:
    """Let the system's refusal of a partial file name the file that was asked for: nobody knows the other name."""
    if isinstance(error, OSError) and str(error.filename) == str(partial):
        error.filename = str(path)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make the names in a folder safe: a synced file that its folder does not name yet is lost with the power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
