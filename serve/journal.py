"""Exactly once: rows, errors and a journal in a work folder beside the output, which gets its name last.

.OUT.job/rows       the output so far, appended to       .OUT.job/errors.jsonl   the rejected rows so far
.OUT.job/journal    the job's identity, then a line after every so many windows: what is safely on disk

After a kill, what lies beyond the last whole journal line is cut off, and the job goes on from there.
"""

import contextlib
import fcntl
import json
import os
import shutil
import time
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, cast

from serve.outputs import Format
from serve.records import Position
from trainer.contract.errors import ClassifactError, InputError
from trainer.contract.files import atomic_file, read_json, refuse_existing, sha256, write_json

# A sync costs milliseconds; a kill costs at most this much work twice.
_COMMIT_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class State:
    """How far a job is. Counts of rows; bytes of the two files; tokens as the model saw them."""

    position: Position = field(default_factory=Position)
    windows: int = 0
    read: int = 0
    scored: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    distinct: int = 0
    rows_cut: int = 0
    tokens: int = 0
    tokens_cut: int = 0
    padded_tokens: int = 0
    rows_bytes: int = 0
    errors_bytes: int = 0


class Journal:
    """The work folder of one output, held by one process at a time. A context manager: an error keeps the work."""

    def __init__(self, out: Path, folder: Path, lock: IO[bytes]) -> None:
        self.out = out
        self.state = State()
        self.folder = folder
        self._lock = lock
        self._safe = State()
        self._finished: dict[str, Any] | None = None
        self._committed = time.monotonic()
        self._rows = self._open("rows")
        self._errors = self._open("errors.jsonl")
        self._log = self._open("journal")

    @classmethod
    def open(cls, out: Path, identity: Mapping[str, object], head: bytes, *, resume: bool) -> "Journal":
        """Begin a job, or go on with the one that was interrupted.

        Raises InputError where the output exists, another process writes it, an unfinished job is in the way, or the
        job to resume was another one.
        """
        folder = work_folder(out)
        if not folder.exists():
            refuse_existing(out)
            refuse_existing(errors_path(out))
        folder.mkdir(parents=True, exist_ok=True)
        lock = _locked(folder, out)
        journal = cls(out, folder, lock)
        try:
            journal._begin(identity, head, resume=resume)
        except BaseException:
            journal._close()
            raise
        return journal

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self.folder.exists():
            with contextlib.suppress(OSError):
                self.commit()
            if self._safe.windows == 0:
                # Nothing to go on with: leave nothing behind.
                shutil.rmtree(self.folder, ignore_errors=True)
        self._close()

    @property
    def finished(self) -> dict[str, Any] | None:
        """The report of a job that was killed after its last row and before its output had its name."""
        return self._finished

    def append(self, rows: bytes, errors: bytes, state: State) -> None:
        """Add a window's bytes; `state` is how far the job is with them."""
        _write(self._rows, rows)
        _write(self._errors, errors)
        self.state = replace(
            state,
            rows_bytes=self.state.rows_bytes + len(rows),
            errors_bytes=self.state.errors_bytes + len(errors),
        )
        if time.monotonic() - self._committed >= _COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Make everything appended so far safe."""
        if self.state == self._safe:
            return
        os.fsync(self._rows.fileno())
        os.fsync(self._errors.fileno())
        self._note({"state": asdict(self.state)})
        self._safe, self._committed = self.state, time.monotonic()

    def seal(self, output: Format, report: Mapping[str, object]) -> dict[str, Any]:
        """Make the output of the appended rows and note that the job is whole; returns the report with digests."""
        self.commit()
        if not output.final:
            with atomic_file(self.folder / "final") as file:
                output.finish(self.folder / "rows", cast("BinaryIO", file))
        made = self.folder / ("rows" if output.final else "final")
        whole = {**report, "file": made.name, "sha256": sha256(made)}
        whole["errors_sha256"] = sha256(self.folder / "errors.jsonl") if self.state.errors_bytes else None
        self._note({"finished": whole})
        self._finished = whole
        return whole

    def publish(self) -> dict[str, Any]:
        """Give the sealed output its name; repeats harmlessly after a kill at any instant."""
        report = dict(self._finished or {})
        made = self.folder / str(report.pop("file"))
        errors = self.folder / "errors.jsonl"
        if made.exists():
            refuse_existing(self.out)
            if self.state.errors_bytes and errors.exists():
                errors.replace(errors_path(self.out))
            write_json(report_path(self.out), report)
            made.replace(self.out)
        shutil.rmtree(self.folder)
        return report

    def _begin(self, identity: Mapping[str, object], head: bytes, *, resume: bool) -> None:
        lines = _whole_lines(self.folder / "journal")
        states = [line["state"] for line in lines if "state" in line]
        if not states:
            self._start(identity, head)
            return
        if not resume:
            raise InputError(
                "an unfinished job for this output is here",
                where=self.folder,
                found=f"{states[-1]['read']} rows done",
                do="go on with it by --resume, or remove that folder to begin anew",
            )
        _compare(lines[0]["job"], json.loads(json.dumps(identity)), self.folder)
        last = states[-1]
        self.state = self._safe = State(**{**last, "position": Position(**last["position"])})
        self._finished = next((line["finished"] for line in lines if "finished" in line), None)
        if self._finished is None:
            os.truncate(self.folder / "rows", self.state.rows_bytes)
            os.truncate(self.folder / "errors.jsonl", self.state.errors_bytes)
            # A torn last line would swallow the next one.
            os.truncate(self.folder / "journal", sum(len(_line(line)) for line in lines))

    def _start(self, identity: Mapping[str, object], head: bytes) -> None:
        for file in (self._rows, self._errors, self._log):
            os.truncate(file.fileno(), 0)
        self._note({"job": dict(identity)})
        self.state = self._safe = State(rows_bytes=len(head))
        _write(self._rows, head)

    def _note(self, content: dict[str, Any]) -> None:
        _write(self._log, _line(content))
        os.fsync(self._log.fileno())

    def _open(self, name: str) -> IO[bytes]:
        # Unbuffered and appending: nothing is written later than we say, and a cut file goes on at its end.
        return (self.folder / name).open("ab", buffering=0)

    def _close(self) -> None:
        for file in (self._rows, self._errors, self._log, self._lock):
            file.close()


def work_folder(out: Path) -> Path:
    """Where the unfinished work of an output lies."""
    return out.parent / f".{out.name}.job"


def errors_path(out: Path) -> Path:
    """The side file of rejected rows."""
    return out.with_name(f"{out.name}.errors.jsonl")


def report_path(out: Path) -> Path:
    """The report beside an output."""
    return out.with_name(f"{out.name}.report.json")


def finished_report(out: Path, identity: Mapping[str, object]) -> dict[str, Any] | None:
    """The report of an output that this very job made already, or None."""
    if not out.exists() or not report_path(out).exists() or work_folder(out).exists():
        return None
    report = read_json(report_path(out))
    if not isinstance(report, dict) or not isinstance(report.get("job"), dict):
        return None
    _compare(report["job"], json.loads(json.dumps(identity)), out)
    return report


def _compare(before: Mapping[str, Any], now: Mapping[str, Any], where: Path) -> None:
    """Raise InputError naming the first thing in which two jobs differ."""
    for key in (*before, *now):
        if before.get(key) != now.get(key):
            raise InputError(
                f"the job to resume was another one: {key} differs",
                where=where,
                found=now.get(key),
                expected=before.get(key),
                do="give the same bundle, inputs and settings, or choose another output",
            )


def _locked(folder: Path, out: Path) -> IO[bytes]:
    lock = (folder / "lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise InputError(
            "another process is writing this output", where=out, do="wait for it, or choose another output"
        ) from None
    return lock


def _write(file: IO[bytes], content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def _line(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(content, ensure_ascii=False, sort_keys=True)
    return f"{zlib.crc32(text.encode()):08x} {text}\n".encode()


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The journal's lines up to the first that a kill tore."""
    lines: list[dict[str, Any]] = []
    for raw in path.read_bytes().splitlines(keepends=True):
        check, _, text = raw.rstrip(b"\n").partition(b" ")
        if not raw.endswith(b"\n") or check != f"{zlib.crc32(text):08x}".encode():
            break
        lines.append(json.loads(text))
    return lines


def disk_error(error: OSError, out: Path) -> ClassifactError:
    """A full disk in our form: what is safe, and how to go on."""
    return ClassifactError(
        "the output cannot be written",
        where=error.filename or out,
        found=error.strerror,
        do="make room, then run the same command with --resume: what was scored is kept",
    )
