"""One scoring job: from what the user asked for to rows in their place."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from export.bundle import Bundle
from serve.journal.remote import RemoteFolder, RemoteParts
from serve.journal.shards import FrameFormat, ShardSink, shard_path, share_of
from serve.journal.state import Target
from serve.journal.work_folder import Journal, disk_error, earlier_job, finished_report
from serve.operations.check import check, require_passed
from serve.operations.progress import Progress
from serve.operations.prometheus import served
from serve.operations.tune import cached, tune
from serve.pipeline import Engine, LocalEngine, Pipeline, Sink
from serve.reading.samples import first_texts
from serve.reading.sources import Reading, Source, find_sources
from serve.reading.windows import Position, Window, read_windows
from serve.scorer import Scorer, ScorerOptions
from serve.scoring.identity import scorer_identity
from serve.scoring.stage import Stage
from serve.writing.formats import make_format, output_format
from serve.writing.layout import ScoreColumns, make_layout, require_columns
from serve.writing.rejects import ErrorBound
from serve.writing.stream import StreamSink
from trainer.contract.errors import InputError

# Bytes of input, as stored, from which on a job is tuned unasked: some 400,000 short texts, ten minutes for a small
# model on two cores, of which tuning takes a few per cent.
LONG_BYTES = 100 * 2**20


@dataclass(frozen=True, kw_only=True)
class ScoreJob:
    """What `python -m serve score` was asked to do.

    on_error: what becomes of a row that cannot be scored, beside its line in the side file: it is left out ("skip"),
        written without scores ("null"), or ends the job ("fail").
    out: a file, "-" for standard output, or a URL (as a str: a Path would mend its slashes), which takes part_rows.
    out_format: by its suffix where None. part_rows: make `out` a folder of parts of about so many rows. shard: score
        share K of N into a file beside `out`. canary: score the bundle's golden rows first, and stop where this machine
        scores them differently. tuned: run with what `tune` finds; None: where the inputs are large (LONG_BYTES),
        unless it is a share of a job or scored on a cluster.
    engine: "local", or "ray" for a Ray cluster (ray_address: which; None: RAY_ADDRESS, else one on this machine).
    """

    bundle: Path
    inputs: tuple[str, ...]
    out: Path | str
    scorer: ScorerOptions = field(default_factory=ScorerOptions)
    reading: Reading = field(default_factory=Reading)
    max_errors: ErrorBound = field(default_factory=ErrorBound)
    on_error: Literal["skip", "null", "fail"] = "skip"
    probabilities: bool = False
    prefix: str = ""
    out_format: str | None = None
    part_rows: int | None = None
    shard: tuple[int, int] | None = None
    tuned: bool | None = None
    canary: bool = True
    resume: bool = False
    quiet: bool = False
    metrics_port: int | None = None
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None

    @property
    def streams(self) -> bool:
        """Whether rows go to standard output."""
        return str(self.out) == "-"

    @property
    def made(self) -> Path:
        """The file or folder that this job makes: the output, or its share of it."""
        return shard_path(Path(self.out), self.shard) if self.shard else Path(self.out)

    @property
    def remote(self) -> bool:
        """Whether the output is at a URL."""
        return "://" in str(self.out)

    @property
    def kind(self) -> str:
        """The output's format."""
        return self.out_format or ("jsonl" if self.streams else output_format(str(self.out)))


def run(job: ScoreJob) -> dict[str, Any]:
    """Score every row of the inputs into the output.

    Returns the report. Raises InputError for what the user gave, and ClassifactError where too many rows were rejected
    or the disk is full; then the work so far is kept for --resume.
    """
    kind = job.kind
    sources = find_sources(job.inputs, job.reading)
    _require_possible(job, sources)
    bundle = Bundle.open(job.bundle)
    with Scorer(bundle, _settings(job, sources, bundle)) as scorer:
        if job.canary:
            require_passed(check(scorer))
        spec, labels = bundle.contract.input, bundle.contract.labels
        peeked = read_windows(sources, spec.columns, job.reading.window)
        first = next(peeked, None)
        # What can be read again is, so that the figures hold all of the reading.
        once = any(source.once for source in sources)
        windows = chain([first] if first else [], peeked) if once else None
        require_columns(sources, first, spec)
        names = ScoreColumns.of(labels, job.prefix, probabilities=job.probabilities)
        layout = make_layout(sources, first, names, kind)
        output = make_format(kind, layout, labels)
        written = FrameFormat(output.head()) if job.shard else output
        target = Target(out=job.made, format=written, part_rows=job.part_rows)
        stage = Stage(
            scorer=scorer,
            layout=layout,
            format=output,
            max_chars=job.reading.max_chars,
            nulls=job.on_error == "null",
        )
        if job.streams:
            rows = windows or read_windows(sources, spec.columns, job.reading.window)
            figures = _piped(job, sources, stage, StreamSink(output), rows)
            return {"out": "standard output", "errors": "standard error", **figures}
        return _kept(job, sources, stage, target, windows)


def _require_possible(job: ScoreJob, sources: list[Source]) -> None:
    """Raise InputError where what was asked for excludes itself."""
    once = any(source.once for source in sources)
    if job.resume and (job.streams or once):
        raise InputError("standard input, standard output and pipes cannot be resumed", do="use files")
    if ((job.streams or job.shard) and job.part_rows is not None) or (job.streams and job.shard):
        raise InputError("standard output, --shard and --part-rows exclude each other", do="choose one of them")
    if job.remote and (job.part_rows is None or job.shard):
        raise InputError(
            "an object store can neither append nor rename, which a single file and a share need to be exactly once",
            where=job.out,
            do="say --part-rows N for a folder of parts, or score into a local file and copy it",
        )
    if job.engine == "ray" and (once or job.shard):
        raise InputError("--engine ray takes neither pipes nor --shard", do="use files, and let Ray divide them")


def _kept(
    job: ScoreJob, sources: list[Source], stage: Stage, target: Target, windows: Iterator[Window] | None
) -> dict[str, Any]:
    """Score into a journal, or into parts at a URL."""
    identity = _identity(job, sources, stage.scorer)
    done = finished_report(target, identity) if job.resume and not job.remote else None
    if done is not None:
        return done
    with _journal(job, target, identity) as journal:
        sink: Sink = ShardSink(journal) if job.shard else journal
        if journal.finished is None:
            columns = stage.scorer.bundle.contract.input.columns
            windows = windows or read_windows(sources, columns, job.reading.window, journal.state.position)
            if job.shard:
                windows = share_of(windows, job.shard)
            try:
                figures = _piped(job, sources, stage, sink, windows)
                errors = sink.rejected if job.remote else str(target.errors)
                found = errors if journal.state.rejected else None
                journal.seal(
                    {"out": str(job.out if job.remote else target.out), "errors": found, **figures, "job": identity}
                )
            except OSError as error:
                raise disk_error(error, job.out) from error
        return journal.publish()


def _journal(job: ScoreJob, target: Target, identity: dict[str, object]) -> Journal | RemoteParts:
    if not job.remote or target.part_rows is None:
        return Journal.open(target, identity, resume=job.resume)
    parts = RemoteParts(RemoteFolder(str(job.out)), target.format, target.part_rows)
    parts.begin(identity, resume=job.resume)
    return parts


def _settings(job: ScoreJob, sources: list[Source], bundle: Bundle) -> ScorerOptions:
    """How the scorer runs: as asked for, or as tuned; a resumed job keeps what its rows so far depend on."""
    before = None
    if job.resume:
        before = RemoteFolder(str(job.out)).earlier_job() if job.remote else earlier_job(job.made)
    if before is not None:
        # Not what the cache or the clock say by now. What the user says is compared later.
        session = replace(job.scorer.session, threads=before["threads"])
        return replace(job.scorer, session=session, batch_tokens=job.scorer.batch_tokens or int(before["batch_tokens"]))
    if not (_is_long(job, sources) if job.tuned is None else job.tuned):
        return job.scorer
    found = cached(bundle, job.scorer)
    if found is None:
        if sources[0].once:
            raise InputError("a pipe cannot be tuned on", do="run `python -m serve tune` on a file first")
        say = _silent if job.quiet else _tell
        found = tune(bundle, job.scorer, *first_texts(sources, job.reading, bundle), say=say)
    return found.options(job.scorer)


def _is_long(job: ScoreJob, sources: list[Source]) -> bool:
    """Whether seconds of tuning are a small part of the job. Shards and clusters need settings that are alike."""
    sizes = [source.size or 0 for source in sources]
    return job.engine == "local" and job.shard is None and sum(sizes) >= LONG_BYTES


def _tell(line: str) -> None:
    print(f"tuning: {line.strip()}", file=sys.stderr)


def _silent(_: str) -> None:
    pass


def _piped(
    job: ScoreJob, sources: list[Source], stage: Stage, sink: Sink, windows: Iterator[Window]
) -> dict[str, object]:
    progress = Progress(quiet=job.quiet, sizes=[source.size for source in sources])
    bound = ErrorBound(rows=0, share=0.0) if job.on_error == "fail" else job.max_errors
    session = stage.scorer.session
    local = nullcontext(LocalEngine(stage, windows))
    opened = local if job.engine == "local" else _ray_engine(job, sources, stage, sink.state.position)
    with opened as engine, stop_on_sigterm() as stop, served(job.metrics_port, lambda: sink.state):
        pipeline = Pipeline(engine=engine, sink=sink, progress=progress, stop=stop, max_errors=bound)
        return {**pipeline.run(), "precision": session.precision, "provider": session.provider}


def _ray_engine(job: ScoreJob, sources: list[Source], stage: Stage, start: Position) -> AbstractContextManager[Engine]:
    try:
        from serve.scoring.ray_engine import Inputs, Work, opened
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        raise InputError("--engine ray needs Ray", do="pip install 'classifact[ray]'") from None
    scorer = stage.scorer
    work = Work(
        # A relative path is another one for a process that begins elsewhere.
        bundle=job.bundle.absolute(),
        options=replace(
            job.scorer,
            session=replace(job.scorer.session, precision=scorer.session.precision, threads=scorer.threads),
            batch_tokens=scorer.batch_tokens,
        ),
        layout=stage.layout,
        kind=job.kind,
        max_chars=stage.max_chars,
        nulls=stage.nulls,
        canary=job.canary,
        identity=scorer_identity(scorer),
    )
    inputs = Inputs(sources=sources, columns=scorer.bundle.contract.input.columns, size=job.reading.window, start=start)
    return opened(work, inputs, address=job.ray_address, workers=job.scorer.workers)


@contextmanager
def stop_on_sigterm() -> Iterator[threading.Event]:
    """An event that SIGTERM sets while the block runs, where this is the thread that signals reach."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


def _identity(job: ScoreJob, sources: list[Source], scorer: Scorer) -> dict[str, object]:
    """All that the output's bytes depend on: what a resumed job must have in common with the one before."""
    return {
        **scorer_identity(scorer),
        **asdict(job.reading),
        "probabilities": job.probabilities,
        "nulls": job.on_error == "null",
        "prefix": job.prefix,
        "part_rows": job.part_rows,
        "shard": job.shard,
        "output": job.kind,
        "inputs": len(sources),
        **{f"input {number}": [source.name, source.size, source.modified] for number, source in enumerate(sources)},
    }
