"""Where a job's rows go: `open_output` looks once which of standard output, a file, a share or a URL it is."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from serve.journal.earlier import earlier_job, finished_report, require_free
from serve.journal.remote import RemoteFolder, RemoteParts
from serve.journal.remote_merge import merge_parts
from serve.journal.shards import FrameFormat, ShardJournal, merge_files, shard_path, share_of
from serve.journal.state import JobState, JobTarget, ScoredWindow
from serve.journal.store import Store
from serve.journal.work_folder import Journal
from serve.reading.windows import Window
from serve.writing.rejects import ErrorBound
from serve.writing.stream import StreamSink
from serve.writing.text_out import Format
from trainer.contract.errors import InputError, UsageError
from trainer.contract.redact import redacted


@dataclass(frozen=True, kw_only=True)
class Destination:
    """What the user said of the output; the fields are those of `ScoreJob`."""

    out: Path | str
    part_rows: int | None = None
    shard: tuple[int, int] | None = None
    resume: bool = False
    quiet: bool = False


class Sink(Protocol):
    """What takes windows, in order. A context manager: an error keeps what can be gone on with."""

    state: JobState
    """How far the job is."""
    finished: dict[str, Any] | None
    """The report, once the job is whole."""

    @property
    def rejected(self) -> str:
        """Where the rejected rows are until the job is whole."""

    def append(self, scored: ScoredWindow) -> None:
        """Add a window's bytes."""

    def commit(self) -> None:
        """Make what was appended safe."""

    def seal(self, report: Mapping[str, object]) -> None:
        """Make the output whole. To the report go where it lies and its digests."""

    def publish(self) -> dict[str, Any]:
        """Give the output its name and return the report."""

    def __enter__(self) -> "Sink": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Output(Protocol):
    """A place for rows."""

    def require_free(self) -> None:
        """Raise InputError where a job cannot begin: the output exists, or an unfinished job lies in the way."""

    def earlier_job(self) -> dict[str, Any] | None:
        """The identity of the job that is under way here, or that made what is here."""

    def finished_report(self, identity: Mapping[str, object]) -> dict[str, Any] | None:
        """The report of an output that this very job made already. Raises InputError where another job made it."""

    def begin(self, output: Format, identity: Mapping[str, object]) -> Sink:
        """Begin a job, or go on with the one that was interrupted. Raises InputError as `require_free`."""

    def share(self, windows: Iterator[Window], state: JobState) -> Iterator[Window]:
        """Those windows that are scored for this output, of all from where `state` is on."""


def open_output(wanted: Destination) -> Output:
    """The place that was asked for. Raises UsageError where what was asked for excludes itself."""
    # Asked here and nowhere else; whoever comes after holds an `Output`.
    stream, remote = str(wanted.out) == "-", "://" in str(wanted.out)
    if stream and wanted.resume:
        raise UsageError("standard output cannot be resumed", do="name a file with --out")
    if stream and (wanted.shard or wanted.part_rows is not None):
        raise UsageError("standard output takes neither --shard nor --part-rows", do="name a file with --out")
    if not stream:
        _require_name(wanted.out)
    if not remote and wanted.shard and wanted.part_rows is not None:
        raise UsageError(
            "--shard and --part-rows exclude each other for a file",
            do="leave out --part-rows, or say a URL: a share is then every N-th part",
        )
    if stream:
        return _Stream(wanted)
    if not remote:
        return _Share(wanted, wanted.shard) if wanted.shard else _File(wanted, Path(wanted.out))
    if wanted.part_rows is None:
        raise UsageError(
            "an object store can neither append nor rename, which a single file needs to be exactly once",
            where=redacted(str(wanted.out)),
            do="say --part-rows N for a folder of parts, or score into a local file and copy it",
        )
    return _Url(wanted, wanted.part_rows)


# What each method gives stands at `Output`.
class _Stream:
    """Standard output, which cannot be gone on with."""

    def __init__(self, wanted: Destination) -> None:
        self._quiet = wanted.quiet

    def require_free(self) -> None:
        """Always."""

    def earlier_job(self) -> None:
        """Nothing is kept."""

    def finished_report(self, identity: Mapping[str, object]) -> None:
        """Nothing is kept."""

    def begin(self, output: Format, identity: Mapping[str, object]) -> Sink:  # noqa: ARG002  Nothing is compared.
        """A sink that writes each window as it comes."""
        return StreamSink(output, quiet=self._quiet)

    def share(self, windows: Iterator[Window], state: JobState) -> Iterator[Window]:  # noqa: ARG002  Frames say where.
        """All of them."""
        return windows


class _File:
    """A file, or a folder of parts, that a journal makes."""

    def __init__(self, wanted: Destination, out: Path) -> None:
        self._target = JobTarget(out=out, part_rows=wanted.part_rows)
        self._resume = wanted.resume

    def require_free(self) -> None:
        """Raise InputError where the output, or an unfinished job of it, is in the way."""
        require_free(self._target, resume=self._resume)

    def earlier_job(self) -> dict[str, Any] | None:
        """What the journal of an interrupted job says it ran with."""
        # Without --resume an earlier job is in the way, and says nothing of how this one should run.
        return earlier_job(self._target.out) if self._resume else None

    def finished_report(self, identity: Mapping[str, object]) -> dict[str, Any] | None:
        """The report of a job that only had to be published, or was."""
        return finished_report(self._target, identity) if self._resume else None

    def begin(self, output: Format, identity: Mapping[str, object]) -> Sink:
        """A journal beside the output."""
        return Journal.open(self._target, output, identity, resume=self._resume)

    def share(self, windows: Iterator[Window], state: JobState) -> Iterator[Window]:  # noqa: ARG002  Frames say where.
        """All of them."""
        return windows


class _Share(_File):
    """A file of frames beside the output, which `merge` joins with the others."""

    def __init__(self, wanted: Destination, shard: tuple[int, int]) -> None:
        # Its own file with its own journal: shares know nothing of each other until they are merged.
        super().__init__(wanted, shard_path(Path(wanted.out), shard))
        self._shard = shard

    def begin(self, output: Format, identity: Mapping[str, object]) -> Sink:
        """A journal of frames: the bytes that `merge` puts together."""
        return ShardJournal.open(self._target, FrameFormat(output.head()), identity, resume=self._resume)

    def share(self, windows: Iterator[Window], state: JobState) -> Iterator[Window]:  # noqa: ARG002  Frames say where.
        """Every N-th."""
        return share_of(windows, self._shard)


class _Url:
    """Parts at a URL, or a share of them."""

    def __init__(self, wanted: Destination, part_rows: int) -> None:
        self._folder = RemoteFolder(store=Store(str(wanted.out)), part_rows=part_rows, shard=wanted.shard)
        self._resume = wanted.resume

    def require_free(self) -> None:
        """Raise InputError where parts, or anything that is not ours, lie at the URL."""
        self._folder.require_free(resume=self._resume)

    def earlier_job(self) -> dict[str, Any] | None:
        """What the note at the URL says that the job ran with."""
        return self._folder.earlier_job() if self._resume else None

    def finished_report(self, identity: Mapping[str, object]) -> dict[str, Any] | None:
        """The report at the URL, where the job is done."""
        return self._folder.finished_report(identity) if self._resume else None

    def begin(self, output: Format, identity: Mapping[str, object]) -> Sink:
        """Parts that are put as they fill, a note after each."""
        return RemoteParts.open(self._folder, output, identity, resume=self._resume)

    def share(self, windows: Iterator[Window], state: JobState) -> Iterator[Window]:
        """Those of the parts that this share has, behind what is put already."""
        return self._folder.windows(windows, state)


def _require_name(out: Path | str) -> None:
    if not Path(out).name:
        raise InputError("the output has no name", found=repr(str(out)), do="name a file")


def merge(out: Path | str, max_errors: ErrorBound | None = None) -> dict[str, Any]:
    """Join the shares of an output, or check that they are one set at a URL; returns the report.

    max_errors: of all rows. None: each share had its own bound, and only a set without a scored row is refused.
    """
    _require_name(out)
    # Each share was held to a bound when it was scored.
    bound = max_errors or ErrorBound(rows=sys.maxsize)
    return merge_parts(str(out), bound) if "://" in str(out) else merge_files(Path(out), bound)
