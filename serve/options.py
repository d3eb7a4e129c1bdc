"""What the command line said, as the dataclasses that the functions take."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from serve.job import ScoreJob
from serve.job_cascade import CascadeOptions
from serve.journal.shards import parse_shard
from serve.reading.sources import Reading
from serve.scoring.session import SessionOptions
from serve.scoring.settings import ScorerOptions
from serve.scoring.thresholds import parse_thresholds
from serve.writing.rejects import ErrorBound

T = TypeVar("T")
G = TypeVar("G")


def scorer_options(options: Mapping[str, Any]) -> ScorerOptions:
    """How to run the bundle. Raises ValueError for thresholds that are none."""
    session = SessionOptions(
        precision=options["precision"], device=options["device"], allow_cpu_fallback=options["allow_cpu_fallback"]
    )
    return ScorerOptions(
        session=session,
        workers=options["workers"],
        batch_tokens=options["batch_tokens"],
        thresholds=_parsed("--threshold", parse_thresholds, options.get("thresholds")) or {},
        agreement=options.get("agreement"),
        abstain=not options.get("no_abstain", False),
    )


def reading_of(options: Mapping[str, Any]) -> Reading:
    """How the inputs are written. Raises ValueError for options that exclude each other, or have no input."""
    columns = options["columns"]
    if options["no_header"] != (columns is not None):
        raise ValueError("--no-header and --columns belong together")
    # Shells hand over a backslash and a t where people mean a tab.
    delimiter = options["delimiter"]
    reading = Reading(
        format=options["input_format"],
        delimiter="\t" if delimiter == "\\t" else delimiter,
        header=not options["no_header"],
        columns=_names(columns),
        quoting=options["quoting"],
        encoding=options["encoding"],
        window=options["window"],
        max_chars=options["max_chars"],
        compression=options["compression"],
        keep=_names(options["keep"]),
        limit=options["limit"],
        text_columns=_names(options["text_column"]),
    )
    # `tune` also takes the golden rows, `explain` texts as they are typed.
    if reading != Reading() and not (options.get("inputs") or options.get("source")):
        raise ValueError("no file is read: leave out the options that say how, or name one")
    return reading


def score_job(options: Mapping[str, Any]) -> ScoreJob:
    """A whole job. Raises ValueError for an option that cannot be."""
    cascade = CascadeOptions(
        scored_by=options.get("scored_by") is not False,
        prove=options.get("prove", False),
        audit_stop=options.get("audit_stop", False),
    )
    _require_used(options)
    return ScoreJob(
        bundle=options["bundle"],
        inputs=options["inputs"],
        # A Path would make "s3://" of one slash.
        out=options["out"] if "://" in str(options["out"]) else Path(options["out"]),
        scorer=scorer_options(options),
        reading=reading_of(options),
        max_errors=error_bound(options.get("max_errors")) or ErrorBound(),
        on_error=options.get("on_error", "skip"),
        probabilities=options.get("probabilities", False),
        top_k=options.get("top_k"),
        prefix=_name(options.get("prefix", "")),
        out_format=options.get("out_format"),
        part_rows=options.get("part_rows"),
        shard=_parsed("--shard", parse_shard, options.get("shard")),
        tuned=options.get("tuned"),
        canary=options.get("canary", True),
        resume=options.get("resume", False),
        quiet=options["quiet"],
        metrics_port=options.get("metrics_port"),
        metrics_host=options.get("metrics_host") or ScoreJob.metrics_host,
        engine=options.get("engine", "local"),
        cascade=cascade,
        ray_address=options.get("ray_address"),
    )


def _require_used(options: Mapping[str, Any]) -> None:
    """Raise ValueError for an option that would do nothing, since the one that it belongs to is not given, or since
    another one decides.
    """
    # A job that is gone on with may have had a student: `JobCascade.of` sees.
    audited = (options.get("agreement") or 1) < 1 or (options.get("agreement") == 1 and options.get("resume"))
    if not audited and (options.get("prove") or options.get("audit_stop") or options.get("scored_by")):
        raise ValueError(
            "--prove, --audit-stop and --scored-by are for an --agreement below 1: else the encoder answers every row"
        )
    if options.get("price_per_hour") is not None and not options.get("dry_run"):
        raise ValueError("--price-per-hour is for --dry-run")
    if options.get("ray_address") is not None and options.get("engine") != "ray":
        raise ValueError("--ray-address is for --engine ray")
    if options.get("metrics_host") is not None and options.get("metrics_port") is None:
        raise ValueError("--metrics-host is for --metrics-port")
    if options.get("max_errors") is not None and options.get("on_error") == "fail":
        raise ValueError("--on-error fail ends the job at the first rejected row, whatever --max-errors allows")


def error_bound(text: str | None) -> ErrorBound | None:
    """How many rows may be rejected. Raises ValueError for what is neither a number nor a percentage."""
    return _parsed("--max-errors", ErrorBound.parse, text)


def _names(text: str | None) -> tuple[str, ...] | None:
    """Names joined by commas; an empty text is none of them. Raises ValueError as `_name`."""
    return None if text is None else tuple(_name(text).split(",")) if text else ()


def _name(text: str) -> str:
    """A column's name, or the start of one. Raises ValueError for bytes that are no UTF-8: no output could hold it."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"a column's name must be UTF-8, found {text!r}")
    return text


def _parsed(name: str, parse: Callable[[G], T], text: G | None) -> T | None:
    """An option's value, where it is given."""
    try:
        return None if text is None else parse(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
