"""One scoring job: from what the user asked for to rows in their place."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from export.bundle import Bundle
from serve.job_cascade import CascadeOptions, JobCascade
from serve.journal.output import Destination, open_output
from serve.operations.check import check, require_passed
from serve.operations.progress import JobProgress
from serve.operations.prometheus import served
from serve.operations.tune import cached, tune
from serve.pipeline import Pipeline, stop_on_sigterm
from serve.reading.columns import MAX_COLUMNS
from serve.reading.samples import first_texts, rows_of_inputs
from serve.reading.sources import InputSource, Reading, find_sources
from serve.reading.texts import reading_from
from serve.reading.windows import InputPosition, Window, read_windows
from serve.scorer import Scorer
from serve.scoring.engine import Engine, LocalEngine
from serve.scoring.identity import how_scored, scorer_identity
from serve.scoring.settings import ScorerOptions
from serve.scoring.window_scorer import WindowScorer
from serve.writing.formats import make_format, output_format
from serve.writing.layout import AddedColumns, make_layout, require_columns
from serve.writing.rejects import ErrorBound
from trainer.contract.errors import InputError, UsageError
from trainer.contract.labels import LabelSpace
from trainer.contract.redact import redacted
from trainer.contract.system.installed import own_version
from trainer.contract.system.progress import Progress

# Bytes of input, as stored, from which on a job is tuned unasked: some 400,000 short texts, ten minutes for a small
# model on two cores, of which tuning takes a few per cent.
LONG_BYTES = 100 * 2**20
# What parts and journals mean. A job that another layout began is not gone on with.
JOURNAL_LAYOUT = 4


@dataclass(frozen=True, kw_only=True)
class ScoreJob:
    """What `classifact score` was asked to do."""

    bundle: Path
    inputs: tuple[str, ...]
    """Files, globs, folders, URLs, or "-" for standard input."""
    out: Path | str
    """A file, "-" for standard output, or a URL (as a str: a Path would mend its slashes), which takes part_rows."""
    scorer: ScorerOptions = field(default_factory=ScorerOptions)
    reading: Reading = field(default_factory=Reading)
    max_errors: ErrorBound = field(default_factory=ErrorBound)
    on_error: Literal["skip", "null", "fail"] = "skip"
    """A row that cannot be scored is listed in the side file; it is also left out ("skip"), written without scores
    ("null"), or the end of the job ("fail").
    """
    probabilities: bool = False
    top_k: int | None = None
    """Also the so many most likely labels of each row."""
    prefix: str = ""
    """Before the names of the columns that scoring adds."""
    out_format: str | None = None
    """By the suffix of `out` where None."""
    part_rows: int | None = None
    """Make `out` a folder of parts of about so many rows."""
    shard: tuple[int, int] | None = None
    """Score share K of N into a file beside `out`."""
    tuned: bool | None = None
    """Run with what `tune` finds; None: where `is_tuned` says so."""
    canary: bool = True
    """Score the bundle's golden rows first, and stop where this machine scores them differently."""
    resume: bool = False
    quiet: bool = False
    metrics_port: int | None = None
    """Where the job tells how far it is, for Prometheus; 0: a free port, which is told."""
    metrics_host: str = "127.0.0.1"
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    """Which Ray cluster; RAY_ADDRESS, else one on this machine, where None."""
    cascade: CascadeOptions = field(default_factory=CascadeOptions)
    """What was asked about the bundle's student."""

    @property
    def kind(self) -> str:
        """The output's format. Raises InputError where its name says none that we write."""
        return output_format(str(self.out), self.out_format)

    def added(self, labels: LabelSpace, *, scored_by: bool) -> AddedColumns:
        """The columns that scoring adds. scored_by: whether one says who answered."""
        return AddedColumns.of(
            labels,
            self.prefix,
            probabilities=self.probabilities,
            nulls=self.on_error == "null",
            top_k=self.top_k,
            scored_by=scored_by,
        )

    @property
    def destination(self) -> Destination:
        """Where the rows go."""
        return Destination(
            out=self.out, part_rows=self.part_rows, shard=self.shard, resume=self.resume, quiet=self.quiet
        )


def run(job: ScoreJob) -> dict[str, Any]:
    """Score every row of the inputs into the output.

    Returns the report. Raises InputError for what the user gave, and ClassifactError where too many rows were rejected
    or the disk is full; then the work so far is kept for --resume.
    """
    # What needs no bundle comes first: a name that is taken must not cost minutes of tuning and proving.
    started = _now()
    output = open_output(job.destination)
    lines = Progress(quiet=job.quiet)
    sources = find_sources(job.inputs, job.reading, lines.say)
    output.require_free()
    require_feasible(job, sources)
    bundle = reading_from(Bundle.open(job.bundle), job.reading.text_columns)
    before = output.earlier_job()
    with Scorer(bundle, _settings(job, sources, bundle, before)) as scorer:
        # Also where the job only resumes: it may go on on another machine.
        if job.canary:
            prove(scorer)
        progress = JobProgress(lines, [source.size for source in sources])
        count = partial(rows_of_inputs, sources, bundle.contract.input.columns, job.reading.window)
        cascade = JobCascade.of(scorer, job.cascade, count, before, job.scorer.agreement)
        stage, peeked = _first_look(job, sources, scorer, cascade, progress)
        identity = _identity(job, sources, scorer, cascade)
        done = output.finished_report(identity)
        if done is not None:
            return done
        with output.begin(stage.format, identity) as sink, stop_on_sigterm() as stop:
            # Killed after its last row, a job has only its output to move.
            if sink.finished is None:
                start = sink.state.position
                windows = peeked or read_windows(sources, bundle.contract.input.columns, job.reading.window, start)
                with (
                    _engine(job, sources, stage, output.share(windows, sink.state), start) as engine,
                    served(job.metrics_port, lambda: sink.state, job.metrics_host),
                ):
                    pipeline = Pipeline(
                        engine=engine,
                        sink=sink,
                        progress=progress,
                        stop=stop,
                        max_errors=ErrorBound(rows=0, share=0.0) if job.on_error == "fail" else job.max_errors,
                        whole=job.shard is None,
                        **({} if cascade is None else {"watch": cascade.watch}),
                    )
                    figures = pipeline.run()
                if progress.is_long:
                    progress.say("making the output whole")
                about = {"version": own_version(), "started": started, "ended": _now()}
                told = {"drift": stage.drift(sink.state), "cascade": cascade and cascade.figures(sink.state)}
                sink.seal({**about, **figures, **how_scored(scorer), **told, "job": identity})
            return sink.publish()


def _now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def prove(scorer: Scorer) -> None:
    """Raise GateError where this machine does not give the scores that the bundle was accepted on."""
    require_passed(check(scorer))


def require_feasible(job: ScoreJob, sources: list[InputSource]) -> None:
    """Raise InputError where the output's name says no format, or the inputs do not allow what was asked for."""
    output_format(str(job.out), job.out_format)
    once = any(source.once for source in sources)
    if job.resume and once:
        # The rows so far are gone from the pipe, and with them the place to go on from.
        raise UsageError("standard input and pipes cannot be resumed", do="use files")
    if job.engine == "ray" and (once or job.shard):
        raise UsageError("--engine ray takes neither pipes nor --shard", do="use files, and let Ray divide them")


def _first_look(
    job: ScoreJob, sources: list[InputSource], scorer: Scorer, cascade: JobCascade | None, progress: JobProgress
) -> tuple[WindowScorer, Iterator[Window] | None]:
    """What every window goes through, by what the first one shows; and the windows, where they can be read only once.

    What can be read again is, so that the figures hold all of the reading.
    """
    spec, labels = scorer.bundle.contract.input, scorer.labels
    peeked = read_windows(sources, spec.columns, job.reading.window)
    first = next(peeked, None)
    require_columns(sources, first, spec)
    names = job.added(labels, scored_by=cascade is not None and cascade.options.scored_by)
    if cascade is not None and job.probabilities:
        progress.say("probabilities of the student's rows are its own, scaled to be like the encoder's")
    layout = make_layout(sources, first, names, job.kind, progress.look)
    once = any(source.once for source in sources)
    if layout.rest is not None and not once:
        progress.say(f"more than {MAX_COLUMNS:,} keys: the later ones are JSON in the column {layout.rest!r}")
    stage = WindowScorer(
        scorer=scorer,
        layout=layout,
        format=make_format(job.kind, layout, labels),
        max_chars=job.reading.max_chars,
        nulls=names.error is not None,
        auditing=None if cascade is None else cascade.audited,
    )
    return stage, chain([first] if first else [], peeked) if once else None


def _settings(
    job: ScoreJob, sources: list[InputSource], bundle: Bundle, before: dict[str, Any] | None
) -> ScorerOptions:
    """How the scorer runs: as asked for, or as tuned; a resumed job keeps what its rows so far depend on."""
    if before is not None:
        # Not what the cache or the clock say by now. What the user says is compared later.
        session = replace(job.scorer.session, threads=before.get("threads", job.scorer.session.threads))
        return replace(job.scorer, session=session, batch_tokens=job.scorer.batch_tokens or before.get("batch_tokens"))
    if not is_tuned(job, sources):
        return job.scorer
    found = cached(bundle, job.scorer)
    if found is None:
        if sources[0].once:
            raise UsageError("a pipe cannot be tuned on", do="run `classifact tune` on a file first")
        progress = Progress(quiet=job.quiet)
        texts, pairs = first_texts(sources, job.reading, bundle)
        found = tune(bundle, job.scorer, texts, pairs, say=lambda line: progress.say(f"tuning: {line.strip()}"))
    return found.options(job.scorer)


def is_tuned(job: ScoreJob, sources: list[InputSource]) -> bool:
    """Whether the job runs as tuned: as asked, else where seconds of tuning are a small part of it."""
    # Shards and clusters need settings that are alike.
    long = sum(source.size or 0 for source in sources) >= LONG_BYTES
    return job.engine == "local" and job.shard is None and long if job.tuned is None else job.tuned


def _engine(
    job: ScoreJob, sources: list[InputSource], stage: WindowScorer, windows: Iterator[Window], start: InputPosition
) -> AbstractContextManager[Engine]:
    """What scores the windows: this process, or a cluster, which reads them itself."""
    if job.engine == "local":
        return nullcontext(LocalEngine(stage, windows))
    try:
        from serve.scoring.ray_engine import Inputs, Work, opened_engine
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
        auditing=stage.auditing,
        prove=prove if job.canary else None,
        identity=scorer_identity(scorer),
        text_columns=job.reading.text_columns,
    )
    inputs = Inputs(sources=sources, columns=scorer.bundle.contract.input.columns, size=job.reading.window, start=start)
    return opened_engine(work, inputs, address=job.ray_address, workers=job.scorer.workers)


def _identity(
    job: ScoreJob, sources: list[InputSource], scorer: Scorer, cascade: JobCascade | None
) -> dict[str, object]:
    """All that the output's bytes depend on: what a resumed job must have in common with the one before."""
    return {
        **scorer_identity(scorer),
        **asdict(job.reading),
        "probabilities": job.probabilities,
        "top_k": job.top_k,
        "journal": JOURNAL_LAYOUT,
        "nulls": job.on_error == "null",
        "prefix": job.prefix,
        "part_rows": job.part_rows,
        "shard": job.shard,
        "output": job.kind,
        **({} if cascade is None else cascade.identity()),
        "inputs": len(sources),
        **{
            # Without secrets: the note of a job lies where others may read it.
            f"input {number}": [redacted(source.name), source.size, source.modified]
            for number, source in enumerate(sources)
        },
    }
