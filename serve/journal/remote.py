"""A folder of parts at a URL, exactly once, with nothing kept on this machine.

URL/part-00000.csv          parts, each put whole when it is full
URL/_errors/part-00000.jsonl    the rejected rows of a part, where it has any
URL/_job.json               the job's identity and how far it is, put first and after each part; gone when all is whole
URL/_report.json            the report, put last: who finds it finds all parts

A share K of N makes the parts K-1, K-1+N, ... of the same set, so N machines without a shared disk make the very
objects of one job; its notes are _job-K-of-N.json and _report-K-of-N.json, and `merge` puts _report.json.

Object stores put an object whole or not at all, and have neither appending nor renaming. What is killed between two
parts begins the part anew and puts the same bytes again. Names that begin with "_" are no data to Arrow, Spark and
DuckDB's globs. No lock: two machines that resume one job do the same work and put the same bytes.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

from serve.journal.notes import append, compare, plain
from serve.journal.state import JobState, ScoredWindow
from serve.journal.store import Store
from serve.journal.work_folder import disk_error
from serve.reading.windows import Window
from serve.writing.text_out import Format
from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.system.files import sha256

_PART = re.compile(r"(?:_errors/)?part-(\d+)\.[a-z0-9.]+")
# What a note of a job under way holds.
_NOTED = ("job", "state", "digests", "bytes")
_NOTE = re.compile(r"_(?:job|report)-(\d+)-of-(\d+)\.json")


@dataclass(frozen=True, kw_only=True)
class RemoteFolder:
    """What a job finds and makes at a URL."""

    store: Store
    part_rows: int
    """Rows read, after which a part is closed."""
    shard: tuple[int, int] | None = None
    """Share K of N; None: all."""

    @property
    def stride(self) -> tuple[int, int]:
        """The first part that is ours, and how many parts on the next one is."""
        return (self.shard[0] - 1, self.shard[1]) if self.shard else (0, 1)

    def note(self, kind: str) -> str:
        """The name of our "job" or "report"."""
        return f"_{kind}-{self.shard[0]}-of-{self.shard[1]}.json" if self.shard else f"_{kind}.json"

    def noted(self) -> dict[str, Any] | None:
        """What the note of the job under way says; None where there is none. Raises ArtifactError for another's."""
        found = self.store.read(self.note("job"))
        if found is not None and not all(isinstance(found.get(name), dict) for name in _NOTED):
            raise ArtifactError(
                f"{self.note('job')} is no note of ours",
                where=self.store.url,
                found=", ".join(sorted(found)) or "nothing in it",
                expected=", ".join(_NOTED),
                do="choose another name; or remove what lies there, if it is not needed",
            )
        return found

    def earlier_job(self) -> dict[str, Any] | None:
        """The identity of the job that is under way here, or that made what is here."""
        found = self.noted() or self.store.read(self.note("report")) or {}
        job = found.get("job")
        return job if isinstance(job, dict) else None

    def finished_report(self, identity: Mapping[str, object]) -> dict[str, Any] | None:
        """The report of an output that this very job made already, or None.

        Raises InputError where another job made it.
        """
        report = self.store.read(self.note("report"))
        if report is None or not isinstance(report.get("job"), dict):
            return None
        compare(report["job"], plain(identity), self.store.url)
        if self.noted() is not None:
            # Killed with only this left to do.
            self.store.remove(self.note("job"))
        return report

    def require_free(self, *, resume: bool) -> None:
        """Raise InputError where a job cannot begin: anything is there that is neither it nor another share of it.

        Nothing a user made is overwritten, and no part of another job is left among ours.
        """
        noted = self.noted()
        if noted is not None and not resume:
            raise InputError(
                "an unfinished job for this output is here",
                where=self.store.url,
                found=f"{noted['state']['read']} rows done",
                do="go on with it by --resume, or remove that folder to begin anew",
            )
        # Whether it is this very job is compared later, by all that its bytes depend on.
        if resume and self.earlier_job() is not None:
            return
        names = self.store.names()
        foreign = sorted(set(names) - self._of_other_shares(names))
        if foreign:
            raise InputError(
                "the output exists already",
                where=self.store.url,
                found=f"{len(foreign)} objects that are not this job's, the first of them {foreign[0]}",
                do="choose another name, or remove them",
            )

    def windows(self, windows: Iterator[Window], state: JobState) -> Iterator[Window]:
        """Those windows that our parts hold, of all from where `state` is on."""
        ours, count = self.stride
        # A note is made at the end of a part of ours, and the windows behind it begin the next part, whosever it is.
        part, rows = (state.part - count + 1 if state.windows else 0), 0
        # Every share counts all windows, its own or not: so all of them end parts at the same rows.
        for window in windows:
            if part % count == ours:
                yield window
            rows += len(window.records)
            if rows >= self.part_rows:
                part, rows = part + 1, 0

    def _of_other_shares(self, names: Mapping[str, int]) -> set[str]:
        """The notes of the other shares of this division, and the parts of those that have one."""
        if self.shard is None:
            return set()
        # A part without a note of the share that would have made it is nobody's of this job.
        notes = {name: int(found[1]) for name in names if (found := _NOTE.fullmatch(name)) and self._other(found)}
        others = {number - 1 for number in notes.values()}
        parts = {name for name in names if (found := _PART.fullmatch(name)) and int(found[1]) % self.shard[1] in others}
        return {*notes, *parts}

    def _other(self, note: re.Match[str]) -> bool:
        return self.shard is not None and int(note[2]) == self.shard[1] and int(note[1]) != self.shard[0]


class RemoteParts:
    """Takes the place of a journal where the output is a URL. A context manager: an error keeps the parts."""

    def __init__(self, folder: RemoteFolder, output: Format, job: dict[str, Any]) -> None:
        self.state = JobState(part=folder.stride[0])
        self.finished: dict[str, Any] | None = None
        self._folder = folder
        self._format = output
        self._job = job
        self._digests: dict[str, str] = {}
        self._bytes: dict[str, int] = {}
        # A part in the making; it may be lost, since it is made again.
        self._spool = Path(tempfile.mkdtemp(prefix="classifact-"))

    @classmethod
    def open(
        cls, folder: RemoteFolder, output: Format, identity: Mapping[str, object], *, resume: bool
    ) -> "RemoteParts":
        """Begin a job, or go on with the one that was interrupted.

        Raises InputError where the output exists, an unfinished job is in the way, or the job was another one.
        """
        folder.require_free(resume=resume)
        parts = cls(folder, output, plain(identity))
        noted = folder.noted()
        if noted is not None:
            compare(noted["job"], parts._job, folder.store.url)
            parts.state, parts._digests, parts._bytes = JobState.of(noted["state"]), noted["digests"], noted["bytes"]
        else:
            # Before the first part: what is put after it is known to be ours.
            parts._note()
        parts._open()
        return parts

    def __enter__(self) -> "RemoteParts":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._spool, ignore_errors=True)
        if isinstance(error, KeyboardInterrupt):
            error.add_note("the parts that were put are kept: the same command with --resume goes on")
        if isinstance(error, OSError):
            raise disk_error(error, self._folder.store.url) from error

    @property
    def rejected(self) -> str:
        """Where the rejected rows are; those of the part that was not put are lost with it, and come again."""
        return f"{self._folder.store.url}/_errors"

    def append(self, scored: ScoredWindow) -> None:
        """Add a window's bytes."""
        for name, content in (("rows", scored.rows), ("errors", scored.errors)):
            with (self._spool / name).open("ab", buffering=0) as file:
                append(file, content)
        self.state = self.state.after(scored)
        if self.state.part_rows >= self._folder.part_rows:
            self._close()

    def commit(self) -> None:
        """Only whole parts are safe."""

    def seal(self, report: Mapping[str, object]) -> None:
        """Put what is left, then the report: the job is whole."""
        # No empty part follows a full one; but a job of no rows has one part, with its columns.
        if self.state.part_rows or self.state.part == 0:
            self._close()
        parts = {name: digest for name, digest in self._digests.items() if not name.startswith("_")}
        errors = {name: digest for name, digest in self._digests.items() if name.startswith("_")}
        self.finished = {
            "out": self._folder.store.url,
            "errors": self.rejected if self.state.errors_bytes else None,
            **report,
            "sha256": parts,
            "errors_sha256": errors or None,
            "bytes": self._bytes,
        }
        # First the report, then the note goes: between the two the job is whole, and `finished_report` tidies up.
        self._folder.store.write(self._folder.note("report"), self.finished)
        self._folder.store.remove(self._folder.note("job"))

    def publish(self) -> dict[str, Any]:
        """The report. Everything has its name already."""
        return dict(self.finished or {})

    def _open(self) -> None:
        """Begin a part."""
        (self._spool / "rows").write_bytes(self._format.head())
        (self._spool / "errors").write_bytes(b"")

    def _close(self) -> None:
        """Put a part and its errors, then note that it is there."""
        part, part_file = f"part-{self.state.part:05d}", self._spool / "rows"
        # Parquet has its footer at the end, and is made of the spool as a whole.
        if not self._format.final:
            part_file = self._spool / "part"
            with part_file.open("wb") as file:
                self._format.finish(self._spool / "rows", cast("BinaryIO", file))
        self._put(part_file, part + self._format.suffix)
        if (self._spool / "errors").stat().st_size:
            self._put(self._spool / "errors", f"_errors/{part}.jsonl")
        self.state = replace(self.state, part=self.state.part + self._folder.stride[1], part_rows=0)
        self._note()
        self._open()

    def _note(self) -> None:
        note = {"job": self._job, "state": asdict(self.state), "digests": self._digests, "bytes": self._bytes}
        self._folder.store.write(self._folder.note("job"), note)

    def _put(self, file: Path, name: str) -> None:
        self._folder.store.put(file, name)
        self._digests[name], self._bytes[name] = sha256(file), file.stat().st_size
