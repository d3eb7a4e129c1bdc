"""Exactly once: rows, errors and a journal in a work folder beside the output, which gets its name last.

.OUT.job/rows-00000     the rows so far of each part, appended to; one part unless the output is a folder of parts
.OUT.job/errors.jsonl   the rejected rows so far
.OUT.job/parts/         parts that are whole
.OUT.job/journal        the job's identity, then a line after every so many windows: what is safely on disk

After a kill, what lies beyond the last whole journal line is cut off, and the job goes on from there.
"""

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, cast

from serve.journal.earlier import noted_states, require_free
from serve.journal.notes import append, compare, lock, note, plain, read_notes, truncate_notes
from serve.journal.own import make_folder, open_own, remove_own
from serve.journal.state import JobState, JobTarget, ScoredWindow
from serve.writing.text_out import Format
from trainer.contract.errors import ClassifactError
from trainer.contract.system.files import (
    atomic_file,
    refuse_existing,
    remove_partials,
    sha256,
    sync_folder,
    write_json,
)

# A sync costs milliseconds; a kill costs at most this much work twice.
COMMIT_SECONDS = 1.0


class Journal:
    """The work folder of one output, held by one process at a time. A context manager: an error keeps the work."""

    def __init__(self, target: JobTarget, output: Format, files: contextlib.ExitStack) -> None:
        self.state = JobState()
        self.folder = target.work
        self.finished: dict[str, Any] | None = None
        self._target = target
        self._format = output
        self._safe = JobState()
        self._committed = time.monotonic()
        self._rows: IO[bytes] | None = None
        # All that is open, and closed together: with the lock another process may go on at once.
        self._files = files
        files.callback(self._close_rows)
        self._errors = files.enter_context(open_own(self.folder / "errors.jsonl"))
        self._log = files.enter_context(open_own(self.folder / "journal"))

    @classmethod
    def open(cls, target: JobTarget, output: Format, identity: Mapping[str, object], *, resume: bool) -> "Journal":
        """Begin a job, or go on with the one that was interrupted.

        Raises InputError where the output exists, another process writes it, an unfinished job is in the way, or the
        job to resume was another one.
        """
        remove_own(target.done)
        require_free(target, resume=resume)
        make_folder(target.work)
        with contextlib.ExitStack() as files:
            files.enter_context(lock(target.work, target.out))
            journal = cls(target, output, files)
            journal._begin(identity)
            journal._files = files.pop_all()
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
        self._files.close()
        if isinstance(error, KeyboardInterrupt) and self.folder.exists():
            error.add_note(f"{self._safe.read:,} rows are kept: the same command with --resume goes on")
        if isinstance(error, OSError):
            raise disk_error(error, self._target.out) from error

    @property
    def rejected(self) -> str:
        """Where the rejected rows are until the job is whole."""
        return str(self.folder / "errors.jsonl")

    def append(self, scored: ScoredWindow) -> None:
        """Add a window's bytes."""
        if self._rows is None:
            raise RuntimeError("the journal is sealed")
        append(self._rows, scored.rows)
        append(self._errors, scored.errors)
        self.state = self.state.after(scored)
        if self._part_is_full():
            self._next_part()
        elif time.monotonic() - self._committed >= COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Make everything appended so far safe."""
        if self.state == self._safe or self._rows is None:
            return
        os.fsync(self._rows.fileno())
        os.fsync(self._errors.fileno())
        note(self._log, {"state": asdict(self.state)})
        self._safe, self._committed = self.state, time.monotonic()

    def seal(self, report: Mapping[str, object]) -> None:
        """Make the output of the appended rows and note that the job is whole, with its digests."""
        self.commit()
        parts = range(self.state.part + 1)
        if self._target.part_rows is not None and self.state.part and not self.state.part_rows:
            # The last window closed a part: no empty one follows it.
            parts = range(self.state.part)
        for part in parts:
            self._make(part)
        digests = {self._name(part): sha256(self.folder / "parts" / self._name(part)) for part in parts}
        whole = {
            "out": str(self._target.out),
            "errors": str(self._target.errors) if self.state.errors_bytes else None,
            **report,
            "sha256": digests if self._target.part_rows is not None else digests[self._name(0)],
            "errors_sha256": sha256(self.folder / "errors.jsonl") if self.state.errors_bytes else None,
        }
        # The parts must have their names on disk before the journal says that they have.
        sync_folder(self.folder / "parts")
        # Everything is made in the work folder, so that a kill leaves nothing half-made outside it.
        write_json(self.folder / "report.json", whole)
        note(self._log, {"finished": whole})
        self.finished = whole

    def publish(self) -> dict[str, Any]:
        """Give the sealed output its name and return the report; repeats harmlessly after a kill at any instant."""
        parts, errors, report = (self.folder / name for name in ("parts", "errors.jsonl", "report.json"))
        single = self._target.part_rows is None
        made = parts / self._name(0) if single else parts
        if made.exists():
            refuse_existing(self._target.out)
            # Of another size: it was moved before a kill, and what lies here now is a new one.
            moved = [(errors, self._target.errors)] if 0 < self.state.errors_bytes == errors.stat().st_size else []
            moved += [(report, self._target.report)] if report.exists() else []
            for _, place in moved:
                refuse_existing(place)
            for file, place in (*moved, (made, self._target.out)):
                file.replace(place)
        # What has its name must have it after a power loss too, before its work folder goes.
        sync_folder(self._target.out.parent)
        # In one step, so that a half-removed folder is never taken for a job.
        self.folder.replace(self._target.done)
        shutil.rmtree(self._target.done)
        return dict(self.finished or {})

    def _begin(self, identity: Mapping[str, object]) -> None:
        notes = read_notes(self.folder / "journal")
        states = noted_states(notes)
        self.finished = next((entry["finished"] for entry in notes if "finished" in entry), None)
        if self.finished is None:
            (self.folder / "parts").mkdir(exist_ok=True)
            remove_partials(self.folder / "parts")
        if not states:
            for file in (self._errors, self._log):
                os.truncate(file.fileno(), 0)
            sync_folder(self.folder)
            note(self._log, {"job": dict(identity)})
            self.state = JobState(rows_bytes=self._open_part(0))
            # A job of no rows is whole too.
            self._safe = self.state
            return
        compare(notes[0]["job"], plain(identity), self.folder)
        self.state = self._safe = JobState.of(states[-1])
        if self.finished is None:
            truncate_notes(self._log, notes)
            os.truncate(self._errors.fileno(), self.state.errors_bytes)
            for part in range(self.state.part):
                self._make(part)
            self._rows = self._reopened()
            if self._part_is_full():
                self._next_part()

    def _part_is_full(self) -> bool:
        return self._target.part_rows is not None and self.state.part_rows >= self._target.part_rows

    def _next_part(self) -> None:
        """Close a part: what follows goes into the next one, and the journal says so before the part is made."""
        self.commit()
        closed = self.state.part
        self.state = replace(self.state, part=closed + 1, part_rows=0, rows_bytes=self._open_part(closed + 1))
        self.commit()
        self._make(closed)

    def _open_part(self, part: int) -> int:
        """Begin a part's file; returns its bytes."""
        self._close_rows()
        self._rows = open_own(self.folder / f"rows-{part:05d}")
        os.truncate(self._rows.fileno(), 0)
        head = self._format.head()
        append(self._rows, head)
        # A synced file that its folder does not name is lost with the power.
        sync_folder(self.folder)
        return len(head)

    def _reopened(self) -> IO[bytes]:
        """The current part's file as it was when the journal last noted it."""
        rows = self.folder / f"rows-{self.state.part:05d}"
        made = self.folder / "parts" / self._name(self.state.part)
        # Killed while the job was sealed: the part was made, and is made again.
        if made.exists() and self._format.final:
            made.replace(rows)
        made.unlink(missing_ok=True)
        # Through the opened file: at its path a link might lie by now.
        file = open_own(rows)
        os.truncate(file.fileno(), self.state.rows_bytes)
        return file

    def _make(self, part: int) -> None:
        """Turn a part's appended rows into the part, if that is not done yet."""
        rows, made = self.folder / f"rows-{part:05d}", self.folder / "parts" / self._name(part)
        if self._format.final:
            # Once renamed, the rows are the part.
            if rows.exists():
                rows.replace(made)
                sync_folder(made.parent)
            return
        if not made.exists():
            with atomic_file(made) as file:
                self._format.finish(rows, cast("BinaryIO", file))
        if part < self.state.part:
            rows.unlink(missing_ok=True)

    def _name(self, part: int) -> str:
        return f"part-{part:05d}{self._format.suffix}"

    def _close_rows(self) -> None:
        if self._rows is not None:
            self._rows.close()


def disk_error(error: OSError, out: Path | str) -> ClassifactError:
    """A full disk, a store that refuses, or work that was taken away, in our form: what is safe, and how to go on."""
    room = "make room, then run the same command with --resume: what was scored is kept"
    left = "find out what removed it; the same command with --resume goes on with what is left, or begins anew"
    return ClassifactError(
        "the output cannot be written",
        where=error.filename or out,
        found=error.strerror or str(error),
        do=left if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE) else room,
    )
