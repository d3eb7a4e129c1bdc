"""The rows that a user names, each explained, and the page of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from export.bundle import Bundle
from serve.operations.explain import explain_row, steady
from serve.operations.explain_page import Explained, page, values
from serve.operations.predict import record_of
from serve.options import reading_of, scorer_options
from serve.reading.sources import Reading, find_sources
from serve.reading.texts import read_record, reading_from
from serve.reading.windows import read_windows
from serve.scorer import Scorer
from serve.scoring.settings import ScorerOptions
from serve.writing.layout import require_columns
from trainer.contract.errors import BadRow, InputError
from trainer.contract.explaining.explain import ExplainOptions
from trainer.contract.inputs import InputSpec
from trainer.contract.system.files import atomic_file, refuse_existing
from trainer.contract.text_files.records import Record


@dataclass(frozen=True, kw_only=True)
class ExplainJob:
    """What to explain, and how."""

    bundle: Path
    """Whose model answers."""
    texts: Sequence[str] = ()
    """As they were typed; or the two below."""
    source: str | None = None
    """A file of rows."""
    rows: tuple[int, ...] = ()
    """Which of them, counted from 1."""
    html: Path | None = None
    """The page to write; None: none."""
    top: int = 10
    """Words of each label in the page's lists."""
    scorer: ScorerOptions = field(default_factory=ScorerOptions)
    """How the bundle runs."""
    reading: Reading = field(default_factory=Reading)
    """How the file is written."""
    how: ExplainOptions = field(default_factory=ExplainOptions)
    """The method's settings."""


def explain_rows(job: ExplainJob) -> tuple[list[Explained], dict[str, Any]]:
    """Explain every row and write the page.

    Returns the explanations and what ran. Raises InputError for a file, row or label that is not there, for a row that
    cannot be scored, and where the page exists already.
    """
    if job.html is not None:
        refuse_existing(job.html)
    bundle = reading_from(Bundle.open(job.bundle), job.reading.text_columns)
    spec = bundle.contract.input
    # Read before a session opens: what is wrong with a file is said at once.
    records = list(_named_rows(job, spec) if job.source is not None else _typed(job, spec))
    with Scorer(bundle, steady(bundle, job.scorer)) as scorer:
        found = [
            Explained(name=name, explanation=_explained(scorer, name, values, job.how)) for name, values in records
        ]
        ran = {"precision": scorer.session.precision, "thresholds": scorer.thresholds, "seed": job.how.seed}
    if job.html is not None:
        with atomic_file(job.html) as file:
            title = f"Explained by {bundle.manifest.name}"
            file.write(page(title, found, job.how.by, job.top).encode("utf-8", "replace"))
        ran["html"] = str(job.html)
    return found, ran


def explained_summary(found: Sequence[Explained], ran: Mapping[str, Any]) -> dict[str, Any]:
    """For programs."""
    return {"explanations": [values(each) for each in found], **ran}


def explain_job(options: Mapping[str, Any]) -> ExplainJob:
    """What the command line said. Raises ValueError for options that exclude each other."""
    if bool(options["texts"]) == bool(options["source"]) or bool(options["source"]) != bool(options["rows"]):
        raise ValueError("give --text, or --input with --rows")
    settings = {name: options[name] for name in ("labels", "samples", "seed", "by")}
    return ExplainJob(
        **{name: options[name] for name in ("bundle", "texts", "source", "html", "top")},
        rows=_row_numbers(options["rows"] or ""),
        scorer=scorer_options(options),
        reading=reading_of(options),
        how=ExplainOptions(**settings),
    )


def _row_numbers(text: str) -> tuple[int, ...]:
    """ "3,17" to (3, 17)."""
    try:
        rows = tuple(int(part) for part in text.split(",") if text)
    except ValueError:
        rows = (0,)
    if any(row < 1 for row in rows):
        raise ValueError(f"--rows: expected whole numbers from 1, joined by commas, found {text!r}")
    return rows


def _typed(job: ExplainJob, spec: InputSpec) -> Iterator[tuple[str, Mapping[str, object]]]:
    for place, text in enumerate(job.texts, 1):
        yield "" if len(job.texts) == 1 else f"text {place}", record_of(text, spec, place)


def _explained(scorer: Scorer, name: str, values: Mapping[str, object], how: ExplainOptions) -> Any:
    try:
        return explain_row(scorer, values, how)
    except BadRow as error:
        raise InputError("a row cannot be scored", where=name, found=f"{error.reason}: {error}") from None


def _named_rows(job: ExplainJob, spec: InputSpec) -> Iterator[tuple[str, Mapping[str, object]]]:
    """The rows of the file that were asked for, in that order."""
    wanted = set(job.rows)
    found: dict[int, Record] = {}
    sources = find_sources([job.source or ""], job.reading)
    seen = 0
    for window in read_windows(sources, spec.columns, job.reading.window):
        if not seen:
            require_columns(sources, window, spec)
        found |= {row: record for row, record in enumerate(window.records, seen + 1) if row in wanted}
        seen += len(window.records)
        # The rest of a large file is not read for three rows at its start.
        if len(found) == len(wanted):
            break
    for row in job.rows:
        if row not in found:
            raise InputError(
                f"there is no row {row}", where=job.source, found=f"{seen} rows", expected="--rows counted from 1"
            )
        name = f"row {row}, line {found[row].line}"
        try:
            read_record(found[row], spec, job.reading.max_chars)
        except BadRow as error:
            raise InputError(
                "a row cannot be scored", where=f"{job.source}, {name}", found=f"{error.reason}: {error}"
            ) from None
        yield name, found[row].values or {}
