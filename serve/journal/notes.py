"""A file of notes, each of which is there whole or not at all, and a lock: what a journal is made of."""

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from trainer.contract.errors import InputError
from trainer.contract.system.files import json_line
from trainer.contract.system.locks import hold


def append(file: IO[bytes], content: bytes) -> None:
    """Write all of `content` to an unbuffered file, which may take it in pieces."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def note(file: IO[bytes], content: Mapping[str, Any]) -> None:
    """Append a note and make it safe."""
    append(file, _line(content))
    # What a note speaks of was synced before it: a note that is there is true.
    os.fsync(file.fileno())


def read_notes(path: Path) -> list[dict[str, Any]]:
    """The notes up to the first that a kill tore."""
    notes: list[dict[str, Any]] = []
    for line in path.read_bytes().splitlines(keepends=True):
        # The check finds a torn line and also one that is whole in length and holds what lay on the disk before.
        check, _, text = line.rstrip(b"\n").partition(b" ")
        if not line.endswith(b"\n") or check != f"{zlib.crc32(text):08x}".encode():
            break
        notes.append(json.loads(text))
    return notes


def truncate_notes(file: IO[bytes], notes: list[dict[str, Any]]) -> None:
    """Cut off what lies beyond the notes: a torn line would swallow the next one."""
    os.truncate(file.fileno(), sum(len(_line(content)) for content in notes))


def lock(folder: Path, out: Path) -> IO[bytes]:
    """Hold a folder until the returned file is closed or the process ends, however it ends.

    Raises InputError where another process holds it.
    """
    try:
        return hold(folder / "lock")
    except BlockingIOError:
        raise InputError(
            "another process is writing this output", where=out, do="wait for it, or choose another output"
        ) from None


def plain(content: Mapping[str, object]) -> dict[str, Any]:
    """What `content` reads back as from JSON: tuples are lists."""
    # Identities are compared as they are kept: a tuple would differ from the list that it became.
    read: dict[str, Any] = json.loads(json_line(dict(content)))
    return read


def compare(before: Mapping[str, Any], now: Mapping[str, Any], where: Path | str) -> None:
    """Raise InputError naming the first thing in which two jobs differ."""
    # Keys of both: one that another version had, or has not yet, is a difference as well.
    for key in (*before, *now):
        if before.get(key) != now.get(key):
            raise InputError(
                f"the job to resume was another one: {key} differs",
                where=where,
                found=now.get(key),
                expected=before.get(key),
                do="give the same bundle, inputs and settings, or choose another output",
            )


def _line(content: Mapping[str, Any]) -> bytes:
    # A file's name need not be text: what is none of it becomes an escape of JSON's own, and reads back as it was.
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, allow_nan=False).encode("utf-8", "backslashreplace")
    return b"%08x %s\n" % (zlib.crc32(text), text)
