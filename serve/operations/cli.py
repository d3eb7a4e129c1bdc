"""The commands around a job, and the options that they share with it: parse, build one dataclass, call one function."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from serve.option_groups import InGroups
from trainer.contract.errors import show_errors
from trainer.contract.figures.tables import table
from trainer.contract.system.progress import Progress

F = TypeVar("F", bound=Callable[..., Any])
HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
BUNDLE = click.argument("bundle", type=click.Path(path_type=Path))

THRESHOLD = click.option(
    "--threshold",
    "thresholds",
    metavar="NAME=0.7",
    multiple=True,
    help="A label's threshold, in place of the bundle's; may be repeated.",
)
NO_ABSTAIN = click.option("--no-abstain", is_flag=True, help="Answer every row, whatever the bundle leaves unanswered.")
# No file has more rows, and what counts them takes no larger number.
_COUNT = click.IntRange(1, sys.maxsize)
_TOLD = "Let the bundle's student answer rows, where this share of all is proven to be answered as by the encoder."
AGREEMENT = click.option("--agreement", type=click.FloatRange(0.5, 1), help=_TOLD)


def running(command: F) -> F:
    """Options of every command that opens a session."""
    for option in (
        click.option(
            "--workers",
            type=_COUNT,
            help="Scoring threads; with GPUs, of each. Default: one a processor, or two a GPU.",
        ),
        click.option("--batch-tokens", type=_COUNT, help="With padding. Default: the bundle's; 32,768 on a GPU."),
        click.option("--allow-cpu-fallback", is_flag=True, help="Score on the processor if the device cannot be had."),
        click.option(
            "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1; cuda:0,1 for two GPUs."
        ),
        click.option(
            "--precision",
            default="auto",
            show_default=True,
            type=click.Choice(["auto", "fp32", "int8", "fp16"]),
            help="Which file of the bundle; auto takes int8 on a processor where the bundle has it, fp32 to explain.",
        ),
    ):
        command = option(command)
    return command


def reading(command: F) -> F:
    """Options that say how the inputs are written."""
    for option in (
        click.option("--limit", type=_COUNT, help="Read the first so many rows of the inputs."),
        click.option("--text-column", help="The column of the text, if the bundle calls it otherwise; several: a,b."),
        click.option("--keep", metavar="A,B,C", help="The columns to pass through; '' for none. Default: all."),
        click.option(
            "--compression",
            type=click.Choice(["none", "gzip", "bzip2", "xz", "zstd"]),
            help="How the inputs are compressed. Default: by each file's suffix.",
        ),
        click.option(
            "--max-chars", default=10**6, show_default=True, type=_COUNT, help="A longer text is an error row."
        ),
        click.option("--window", default=4096, show_default=True, type=_COUNT, help="Rows sorted together."),
        click.option("--encoding", default="utf-8", show_default=True, help="The encoding of text files."),
        click.option("--quoting", default="minimal", show_default=True, type=click.Choice(["minimal", "none"])),
        click.option("--columns", help="Names for a file without header, joined by commas."),
        click.option("--no-header", is_flag=True, help="The first line is a row; needs --columns."),
        click.option("--delimiter", help="What parts columns: one character, or \\t. Default: by the file's suffix."),
        click.option(
            "--format",
            "input_format",
            type=click.Choice(["csv", "tsv", "jsonl", "parquet"]),
            help="The inputs' format. Default: by each file's suffix.",
        ),
    ):
        command = option(command)
    return command


class GroupedCommand(InGroups, click.Command):
    """A command whose help shows its options by what they are for."""


@click.command(context_settings=HELP)
@BUNDLE
@click.option(
    "--text",
    "texts",
    multiple=True,
    required=True,
    help="A text to classify; may be repeated. See above for pairs.",
)
@THRESHOLD
@NO_ABSTAIN
@click.option("--top-k", type=_COUNT, help="Tell only so many labels. Default: all.")
@click.option("--explain", "explained", is_flag=True, help="Also the words that the given labels rest on.")
@click.option("--json", "as_json", is_flag=True, help="Only the JSON line.")
@running
@show_errors
def predict(**options: Any) -> None:
    """Classify a few texts.

    Every label with its probability, most likely first; a star marks the labels that are given. Where the model reads
    several columns, or pairs, give each text as JSON: --text '{"title": "...", "body": "..."}'.
    """
    from serve.operations.predict import predict_texts

    told = {name: options[name] for name in ("bundle", "texts", "top_k", "explained")}
    found, ran = predict_texts(**told, how=scorer_options_of(options))
    for each in () if options["as_json"] else found:
        print("\n".join(each.lines()))
    print_result({"predictions": [each.values() for each in found], **ran})


@click.command(cls=GroupedCommand, context_settings=HELP)
@BUNDLE
@click.option("--text", "texts", multiple=True, help="A text to explain; may be repeated. JSON for several columns.")
@click.option("--input", "source", help="A file of rows, as `score` reads them.")
@click.option("--rows", metavar="3,17", help="Which rows of --input, counted from 1.")
@click.option("--label", "labels", multiple=True, help="Explain this label. Default: those that the row is given.")
@click.option(
    "--by", default="lime", show_default=True, type=click.Choice(["lime", "occlusion"]), help="What orders words."
)
@click.option("--top", default=10, show_default=True, type=_COUNT, help="Words to print of each label.")
@click.option(
    "--samples", default=1000, show_default=True, type=click.IntRange(50, 10_000), help="Texts that LIME learns from."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Draws the words that are left out.")
@click.option("--html", type=click.Path(path_type=Path), help="Also write one HTML page, for a browser.")
@click.option("--json", "as_json", is_flag=True, help="Only the JSON line, which has every word.")
@THRESHOLD
@NO_ABSTAIN
@running
@reading
@show_errors
def explain(**options: Any) -> None:
    """Say which words a label rests on.

    LIME and occlusion, in log-odds: above 0 a word speaks for the label. Then how well LIME's local model fits, and
    whether leaving out the top words matters more than leaving out others.
    """
    from serve.operations.explain_page import explanation_lines
    from serve.operations.explain_rows import explain_job, explain_rows, explained_summary

    found, ran = explain_rows(_usage(explain_job, options))
    for each in () if options["as_json"] else found:
        print("\n".join(explanation_lines(each, options["top"])))
    print_result(explained_summary(found, ran))


@click.command(context_settings=HELP)
@BUNDLE
@running
@show_errors
def check(**options: Any) -> None:
    """Score the golden rows and compare with torch.

    Exit code 3 where this machine's scores of the bundle's golden rows differ too much.
    """
    from export.bundle import Bundle
    from serve.operations.check import check as run_check
    from serve.operations.check import check_summary, require_passed
    from serve.scorer import Scorer

    with Scorer(Bundle.open(options["bundle"]), scorer_options_of(options)) as scorer:
        result = run_check(scorer)
    require_passed(result)
    print(
        f"{result.rows} golden rows, {result.precision} on {result.provider}: "
        f"labels agree {result.label_agreement:.1%} (at least {result.bounds.agreement:.1%}), "
        f"logits moved by at most {result.logit_difference:.2g} (bound {result.bounds.logits:.2g}), "
        f"probabilities by {result.largest_difference:.2g} (bound {result.bounds.probabilities:.2g})"
    )
    print_result(check_summary(result))


@click.command(cls=GroupedCommand, context_settings=HELP)
@BUNDLE
@click.argument("inputs", nargs=-1, required=True)
@running
@AGREEMENT
@reading
@click.option("--quiet", is_flag=True, help="No progress.")
@show_errors
def bench(**options: Any) -> None:
    """Measure rows per second on INPUTS.

    Also where the time goes; the scores are thrown away.
    """
    from serve.operations.bench import bench as run_bench
    from serve.scoring.audit import told_cascade

    result = run_bench(job_of({**options, "out": Path()}))
    print(f"{result['rows_per_second']:,} rows/s, {result['precision']} on {result['provider']}")
    print("\n".join(told_cascade(result)), end="\n" if told_cascade(result) else "")
    print(table([["phase", "seconds"], *([name, f"{value:.2f}"] for name, value in result["phases"].items())]))
    print(f"session: {result['session_cpu_seconds']:.2f} s of {result['cpu_seconds']:.2f} s processor time")
    print_result(result)


@click.command(cls=GroupedCommand, context_settings=HELP)
@BUNDLE
@click.argument("inputs", nargs=-1)
@running
@AGREEMENT
@reading
@click.option("--quiet", is_flag=True, help="No progress.")
@show_errors
def tune(**options: Any) -> None:
    """Find the fastest settings of BUNDLE here.

    Tried on INPUTS or on the golden rows; `score --tuned` uses them.
    """
    from export.bundle import Bundle
    from serve.operations.tune import cache_path, shown_settings, tuned_summary
    from serve.operations.tune import tune as run_tune
    from serve.reading.samples import first_texts, golden_texts
    from serve.reading.sources import find_sources
    from serve.reading.texts import reading_from

    given, job = scorer_options_of(options), job_of({**options, "out": Path()})
    bundle = reading_from(Bundle.open(options["bundle"]), job.reading.text_columns)
    sources = find_sources(options["inputs"], job.reading)
    texts, pairs = first_texts(sources, job.reading, bundle) if sources else golden_texts(bundle)
    best = run_tune(bundle, given, texts, pairs, say=Progress(quiet=job.quiet).say)
    print(f"fastest: {shown_settings(best).strip()}")
    print_result(tuned_summary(best, cache_path(bundle, given)))


@click.command(context_settings=HELP)
@show_errors
def doctor() -> None:
    """Say what is wrong with this installation.

    Which ONNX Runtime is installed, whether two collide and how to repair it, what a session really gets, whether
    libraries fit each other, and whether something else on this machine stands in for one of Classifact's packages.
    """
    from dataclasses import asdict

    from serve.operations.doctor import diagnose

    found = diagnose()
    print("installed:  " + (", ".join(f"{name} {version}" for name, version in found.installed.items()) or "none"))
    memory = "" if found.memory_bytes is None else f", {found.memory_bytes / 1e9:.1f} GB"
    print(f"machine:    {found.processors} processors{memory}, {found.instruction_set}")
    for asked, got in found.sessions.items():
        print(f"session:    {asked} -> {got}")
    for problem in found.problems:
        print(f"problem:    {problem}")
    for line in found.repair:
        print(f"repair:     {line}")
    print_result(asdict(found))
    if found.problems:
        sys.exit(1)


def scorer_options_of(options: dict[str, Any]) -> Any:
    """How the options say to run the bundle."""
    from serve.options import scorer_options

    return _usage(scorer_options, options)


def job_of(options: dict[str, Any]) -> Any:
    """The job that the options describe."""
    from serve.options import score_job

    return _usage(score_job, options)


def bound_of(text: str | None) -> Any:
    """How many rows may be rejected, as --max-errors says; None where it is not given."""
    from serve.options import error_bound

    return _usage(error_bound, text)


def _usage(make: Callable[[Any], Any], options: Any) -> Any:
    """What options make; one that cannot be is an error of usage."""
    try:
        return make(options)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def print_result(result: dict[str, Any]) -> None:
    """The last line of standard output, for programs."""
    from serve.writing.json_text import json_text

    print(json_text(result))
