"""A folder of parts at a URL, exactly once, with nothing kept on this machine.

URL/part-00000.csv          parts, each put whole when it is full
URL/_errors/part-00000.jsonl    the rejected rows of a part, where it has any
URL/_job.json               the job's identity and how far it is, put first and after each part; gone when all is whole
URL/_report.json            the report, put last: who finds it finds all parts

Object stores put an object whole or not at all, and have neither appending nor renaming. What is killed between two
parts begins the part anew and puts the same bytes again. Names that begin with "_" are no data to Arrow, Spark and
DuckDB's globs. No lock: two machines that resume one job do the same work and put the same bytes.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

from serve.journal.notes import append, compare, plain
from serve.journal.state import Scored, State
from serve.journal.work_folder import disk_error
from serve.reading.sources import url_system
from serve.writing.text_out import Format
from trainer.contract.errors import InputError
from trainer.contract.files import sha256


class RemoteFolder:
    """The objects of one output. Raises InputError where the URL's file system cannot be had."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._system, self._path = url_system(self.url)

    def read(self, name: str) -> dict[str, Any] | None:
        """An object's JSON, or None where there is none."""
        self._system.invalidate_cache()
        if not self._system.exists(f"{self._path}/{name}"):
            return None
        found = json.loads(self._system.cat_file(f"{self._path}/{name}"))
        return found if isinstance(found, dict) else None

    def write(self, name: str, content: Mapping[str, object]) -> None:
        """Put JSON."""
        self._system.makedirs(f"{self._path}/{name}".rpartition("/")[0], exist_ok=True)
        self._system.pipe_file(f"{self._path}/{name}", json.dumps(content, indent=2).encode())

    def put(self, file: Path, name: str) -> None:
        """Put a file."""
        self._system.makedirs(f"{self._path}/{name}".rpartition("/")[0], exist_ok=True)
        self._system.put_file(str(file), f"{self._path}/{name}")

    def remove(self, name: str) -> None:
        """Delete an object."""
        self._system.rm_file(f"{self._path}/{name}")

    def require_free(self, *, resume: bool) -> None:
        """Raise InputError where a job cannot begin: anything is there that is not the job to resume.

        Nothing a user made is overwritten, and no part of another job is left among ours.
        """
        noted = self.read("_job.json")
        if noted is not None and not resume:
            raise InputError(
                "an unfinished job for this output is here",
                where=self.url,
                found=f"{noted['state']['read']} rows done",
                do="go on with it by --resume, or remove that folder to begin anew",
            )
        if resume and self.earlier_job() is not None:
            return
        if self._system.exists(self._path) and (found := self._system.find(self._path)):
            raise InputError(
                "the output exists already",
                where=self.url,
                found=f"{len(found)} objects, the first of them {found[0]}",
                do="choose another name, or remove it",
            )

    def finished_report(self, identity: Mapping[str, object]) -> dict[str, Any] | None:
        """The report of an output that this very job made already, or None.

        Raises InputError where another job made it.
        """
        report = self.read("_report.json")
        if report is None or not isinstance(report.get("job"), dict):
            return None
        compare(report["job"], plain(identity), self.url)
        if self.read("_job.json") is not None:
            # Killed with only this left to do.
            self.remove("_job.json")
        return report

    def earlier_job(self) -> dict[str, Any] | None:
        """The identity of the job that is under way here, or that made what is here."""
        found = self.read("_job.json") or self.read("_report.json") or {}
        job = found.get("job")
        return job if isinstance(job, dict) else None


class RemoteParts:
    """Takes the place of a journal where the output is a URL. A context manager: an error keeps the parts."""

    def __init__(self, folder: RemoteFolder, output: Format, job: dict[str, Any], part_rows: int) -> None:
        self.state = State()
        self.finished: dict[str, Any] | None = None
        self._folder = folder
        self._format = output
        self._part_rows = part_rows
        self._job = job
        self._digests: dict[str, str] = {}
        self._spool = Path(tempfile.mkdtemp(prefix="classifact-"))

    def __enter__(self) -> "RemoteParts":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._spool, ignore_errors=True)
        if isinstance(error, OSError):
            raise disk_error(error, self._folder.url) from error

    @classmethod
    def open(
        cls, folder: RemoteFolder, output: Format, identity: Mapping[str, object], *, part_rows: int, resume: bool
    ) -> "RemoteParts":
        """Begin a job, or go on with the one that was interrupted.

        Raises InputError where the output exists, an unfinished job is in the way, or the job was another one.
        """
        folder.require_free(resume=resume)
        parts = cls(folder, output, plain(identity), part_rows)
        noted = folder.read("_job.json")
        if noted is not None:
            compare(noted["job"], parts._job, folder.url)
            parts.state, parts._digests = State.of(noted["state"]), noted["digests"]
        else:
            # Before the first part: what is put after it is known to be ours.
            parts._note()
        parts._open()
        return parts

    @property
    def rejected(self) -> str:
        """Where the rejected rows are; those of the part that was not put are lost with it, and come again."""
        return f"{self._folder.url}/_errors"

    def append(self, scored: Scored) -> None:
        """Add a window's bytes."""
        for name, content in (("rows", scored.rows), ("errors", scored.errors)):
            with (self._spool / name).open("ab", buffering=0) as file:
                append(file, content)
        self.state = self.state.after(scored)
        if self.state.part_rows >= self._part_rows:
            self._close()

    def commit(self) -> None:
        """Only whole parts are safe."""

    def seal(self, report: Mapping[str, object]) -> None:
        """Put what is left, then the report: the job is whole."""
        if self.state.part_rows or self.state.part == 0:
            self._close()
        parts = {name: digest for name, digest in self._digests.items() if not name.startswith("_")}
        errors = {name: digest for name, digest in self._digests.items() if name.startswith("_")}
        self.finished = {
            "out": self._folder.url,
            "errors": self.rejected if self.state.rejected else None,
            **report,
            "sha256": parts,
            "errors_sha256": errors or None,
        }
        self._folder.write("_report.json", self.finished)
        self._folder.remove("_job.json")

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
        if not self._format.final:
            part_file = self._spool / "part"
            with part_file.open("wb") as file:
                self._format.finish(self._spool / "rows", cast("BinaryIO", file))
        self._put(part_file, part + Path(self._folder.url).suffix)
        if (self._spool / "errors").stat().st_size:
            self._put(self._spool / "errors", f"_errors/{part}.jsonl")
        self.state = replace(self.state, part=self.state.part + 1, part_rows=0)
        self._note()
        self._open()

    def _note(self) -> None:
        self._folder.write("_job.json", {"job": self._job, "state": asdict(self.state), "digests": self._digests})

    def _put(self, file: Path, name: str) -> None:
        self._folder.put(file, name)
        self._digests[name] = sha256(file)
