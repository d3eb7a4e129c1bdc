"""What a job would take: a sample is read, tokenized and scored for a few seconds, and nothing is written."""

import time
from dataclasses import asdict, dataclass

import numpy as np

from export.bundle import Bundle
from serve.job import ScoreJob, is_tuned, require_feasible
from serve.journal.output import open_output
from serve.operations.tune import cached
from serve.reading.samples import count_rows, good_texts
from serve.reading.sources import InputSource, find_sources
from serve.reading.texts import reading_from
from serve.reading.windows import Window, read_windows
from serve.scorer import Scorer
from serve.writing.layout import make_layout, require_columns
from trainer.contract.system.progress import duration

_SAMPLE_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """A job's size and time, from a sample of its first rows. Shares are 0 to 1."""

    sampled_rows: int
    rejected_share: float
    tokens_per_row: float
    truncated_share: float
    padding_share: float
    """Of the tokens that the model would compute."""
    rows_per_second: float
    rows: int | None
    """Of all inputs, or of the share; None where the size of one is unknown."""
    seconds: float | None
    """None where `rows` is."""
    cost: float | None
    """In the currency of the price; None where no price was given."""
    coverage: float | None = None
    """Of the sample, by the student; None without --agreement."""


def forecast(job: ScoreJob, price_per_hour: float | None) -> Forecast:
    """Read and score the first window. Raises InputError as the job would, also where its output exists."""
    # A forecast of hours is worth nothing where the job would then refuse to begin.
    open_output(job.destination).require_free()
    sources = find_sources(job.inputs, job.reading)
    require_feasible(job, sources)
    bundle = reading_from(Bundle.open(job.bundle), job.reading.text_columns)
    spec = bundle.contract.input
    window = next(read_windows(sources, spec.columns, job.reading.window), None)
    require_columns(sources, window, spec)
    records = window.records if window else []
    texts, pairs = good_texts(records, spec, job.reading.max_chars)
    # Tuning takes longer than a forecast: where it never ran here, the rate is the lower one without it.
    tuned = cached(bundle, job.scorer) if is_tuned(job, sources) else None
    with Scorer(bundle, job.scorer if tuned is None else tuned.options(job.scorer)) as scorer:
        _require_columns_fit(job, sources, window, scorer)
        plan = scorer.plan(texts, pairs)
        rate = _rate(scorer, texts, pairs)
    coverage = None if scorer.cascade is None else round(float(plan.by_student.mean()), 4)
    cut = plan.encoded.truncation()
    rows = count_rows(sources, window)
    if rows is not None and job.shard is not None:
        rows = round(rows / job.shard[1])
    seconds = rows / rate if rows is not None and rate else None
    return Forecast(
        sampled_rows=len(records),
        rejected_share=round(1 - len(texts) / len(records), 4) if records else 0.0,
        tokens_per_row=round(cut["tokens"] / max(1, cut["rows"]), 1),
        truncated_share=round(cut["rows_cut"] / max(1, cut["rows"]), 4),
        padding_share=round(1 - plan.tokens / max(1, plan.padded_tokens), 4),
        rows_per_second=round(rate, 1),
        rows=rows,
        seconds=None if seconds is None else round(seconds, 3),
        coverage=coverage,
        cost=None if seconds is None or price_per_hour is None else round(seconds / 3600 * price_per_hour, 4),
    )


def _require_columns_fit(job: ScoreJob, sources: list[InputSource], window: Window | None, scorer: Scorer) -> None:
    """Raise InputError where a column clashes with ours, is not there to be kept, or has types that do not unite."""
    json_rows = any(source.dialect is not None and source.dialect.format == "jsonl" for source in sources)
    # The columns of JSON lines in a table are known after a pass over all of them, which is no sample.
    if not json_rows or job.kind.startswith("jsonl"):
        names = job.added(scorer.labels, scored_by=scorer.cascade is not None and job.cascade.scored_by)
        make_layout(sources, window, names, job.kind)


def forecast_sentence(found: Forecast) -> str:
    """The forecast for people."""
    size = f"about {found.rows:,} rows" if found.rows is not None else "an unknown number of rows"
    takes = "an unknown time" if found.seconds is None else f"about {duration(max(1, found.seconds))}"
    cost = "" if found.cost is None else f", {found.cost:,.2f} at that price"
    student = "" if found.coverage is None else f", {found.coverage:.1%} of them by the student"
    return f"{size} at {found.rows_per_second:,} rows/s{student}: {takes}{cost}"


def forecast_summary(found: Forecast) -> dict[str, object]:
    """The forecast as JSON."""
    return asdict(found)


def _rate(scorer: Scorer, texts: list[str], pairs: list[str] | None) -> float:
    """Rows per second, over random pieces of the sample: what a long job's mixed lengths come to."""
    order = np.random.default_rng(0).permutation(len(texts)).tolist()
    # ONNX Runtime allocates in its first run.
    scorer.submit(texts[:1], pairs and pairs[:1]).result()
    start, done = time.perf_counter(), 0
    while done < len(texts) and time.perf_counter() - start < _SAMPLE_SECONDS:
        piece = order[done : done + 512]
        second = None if pairs is None else [pairs[row] for row in piece]
        scorer.submit([texts[row] for row in piece], second).result()
        done += len(piece)
    return done / (time.perf_counter() - start) if done else 0.0
