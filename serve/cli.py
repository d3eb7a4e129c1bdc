"""The commands of scoring: parse, build one dataclass, call one function, print."""

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from serve.option_groups import InGroups
from trainer.contract.errors import show_errors

F = TypeVar("F", bound=Callable[..., Any])
_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
_BUNDLE = click.argument("bundle", type=click.Path(path_type=Path))

_THRESHOLD = click.option(
    "--threshold",
    "thresholds",
    metavar="NAME=0.7",
    multiple=True,
    help="In place of the bundle's; more than once for several labels.",
)


@click.group(context_settings=_HELP)
def main() -> None:
    """Score rows with an exported bundle. Needs neither torch nor transformers."""


def _running(command: F) -> F:
    """Options of every command that opens a session."""
    for option in (
        click.option(
            "--workers",
            type=click.IntRange(1),
            help="Threads that score, on GPUs of each. Default: processors; 2.",
        ),
        click.option("--batch-tokens", type=click.IntRange(1), help="Padded tokens of a batch. Default: the bundle's."),
        click.option(
            "--allow-cpu-fallback", is_flag=True, help="Accept the processor where the device is not to be had."
        ),
        click.option(
            "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, or cuda:0,1 for two."
        ),
        click.option(
            "--precision",
            default="auto",
            show_default=True,
            type=click.Choice(["auto", "fp32", "int8", "fp16"]),
            help="Which file of the bundle; auto takes int8 on a processor where the bundle has it.",
        ),
    ):
        command = option(command)
    return command


def _reading(command: F) -> F:
    """Options that say how the inputs are written."""
    for option in (
        click.option("--max-chars", default=1_000_000, show_default=True, help="A longer text is an error row."),
        click.option("--window", default=4096, show_default=True, type=click.IntRange(1), help="Rows sorted together."),
        click.option("--encoding", default="utf-8", show_default=True, help="Of text files."),
        click.option("--quoting", default="minimal", show_default=True, type=click.Choice(["minimal", "none"])),
        click.option("--columns", help="Names for a file without header, joined by commas."),
        click.option("--no-header", is_flag=True, help="The first line is a row; needs --columns."),
        click.option("--delimiter", help="One character, or \\t. Default: by the file's suffix."),
        click.option(
            "--format",
            "input_format",
            type=click.Choice(["csv", "tsv", "jsonl", "parquet"]),
            help="Of the inputs. Default: by each file's suffix.",
        ),
    ):
        command = option(command)
    return command


class GroupedCommand(InGroups, click.Command):
    """A command whose help shows its options by what they are for."""


@main.command(cls=GroupedCommand, context_settings=_HELP)
@_BUNDLE
@click.argument("inputs", nargs=-1, required=True)
@click.option(
    "--out",
    required=True,
    help="A file's name (.csv, .tsv, .jsonl, .parquet), -, or with --part-rows a URL to write to.",
)
@click.option(
    "--out-format",
    type=click.Choice(["csv", "tsv", "jsonl", "parquet"]),
    help="Of the output. Default: by its suffix; jsonl for -.",
)
@_running
@_reading
@_THRESHOLD
@click.option("--probabilities", is_flag=True, help="Also a column p_NAME for each label.")
@click.option("--prefix", default="", help="Before the names of the columns that scoring adds.")
@click.option(
    "--part-rows",
    type=click.IntRange(1),
    help="Make OUT a folder of parts, each closed at the first window that brings it to so many rows.",
)
@click.option("--shard", metavar="K/N", help="Score share K of N into OUT.shard-K-of-N; `merge OUT` joins the shares.")
@click.option(
    "--engine",
    default="local",
    show_default=True,
    type=click.Choice(["local", "ray"]),
    help="ray: score on a Ray cluster, the same rows; needs 'classifact[ray]'. --workers are its actors then.",
)
@click.option("--ray-address", help="Of the cluster. Default: RAY_ADDRESS, else one is started on this machine.")
@click.option(
    "--tuned/--no-tune",
    default=None,
    help="Use the settings that `tune` found here; tune first where it never did. Default: for inputs of 100 MB.",
)
@click.option("--canary/--no-canary", default=True, help="Score the bundle's golden rows first; exit 3 if they differ.")
@click.option("--resume", is_flag=True, help="Go on with a job that was interrupted; harmless where none was.")
@click.option(
    "--max-errors",
    metavar="N|P%",
    help="End the job where more rows are rejected. Default: more than 100 and more than 10 % of those read.",
)
@click.option(
    "--dry-run", is_flag=True, help="Score a sample for a few seconds, tell what the job would take, and end."
)
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="Answer Prometheus on this port meanwhile.")
@click.option("--price-per-hour", type=float, help="Of this machine: --dry-run tells the cost too.")
@click.option(
    "--on-error",
    default="skip",
    show_default=True,
    type=click.Choice(["skip", "null", "fail"]),
    help="A row that cannot be scored is left out, written without scores, or ends the job.",
)
@click.option("--quiet", is_flag=True, help="No progress.")
@show_errors
def score(**options: Any) -> None:
    """Score every row of INPUTS into one file.

    INPUTS are files, globs, folders, URLs, or - for standard input; .gz and .zst too. Columns are passed through, then
    come prediction and confidence. Rows that cannot be scored go to OUT.errors.jsonl with their line and reason.
    """
    from serve.job import run

    if options["dry_run"]:
        _forecast(options)
        return
    report = run(_job(options))
    rejected = f", {report['rows_rejected']:,} rejected ({report['errors']})" if report["rows_rejected"] else ""
    # Where the rows themselves are on standard output, nothing else may be.
    with contextlib.redirect_stdout(sys.stderr if str(options["out"]) == "-" else sys.stdout):
        rate = f"{report['rows_per_second']:,} rows/s, {report['precision']} on {report['provider']}"
        print(f"{report['rows_scored']:,} rows scored into {report['out']}{rejected}, {rate}")
        _print({name: value for name, value in report.items() if name != "job"})


@main.command(context_settings=_HELP)
@_BUNDLE
@click.option(
    "--text",
    "texts",
    multiple=True,
    required=True,
    help="To classify; more than once for several. See above for pairs.",
)
@_THRESHOLD
@click.option("--top-k", type=click.IntRange(1), help="Tell only so many labels. Default: all.")
@click.option("--json", "as_json", is_flag=True, help="Only the JSON line.")
@_running
@show_errors
def predict(**options: Any) -> None:
    """Classify a few texts.

    Every label with its probability, most likely first; a star marks the labels that are given. Where the model reads
    several columns, or pairs, give each text as JSON: --text '{"title": "...", "body": "..."}'.
    """
    from export.bundle import Bundle
    from serve.operations.predict import predict as run_predict
    from serve.scorer import Scorer

    with Scorer(Bundle.open(options["bundle"]), _scorer_options(options)) as scorer:
        found = run_predict(scorer, options["texts"], options["top_k"])
        ran = {"precision": scorer.session.precision, "thresholds": scorer.thresholds}
    for each in () if options["as_json"] else found:
        print("\n".join(each.lines()))
    _print({"predictions": [each.values() for each in found], **ran})


@main.command(context_settings=_HELP)
@_BUNDLE
@_running
@show_errors
def check(**options: Any) -> None:
    """Score the golden rows and compare with torch.

    Exit code 3 where this machine's scores of the bundle's golden rows differ too much.
    """
    from export.bundle import Bundle
    from serve.operations.check import check as run_check
    from serve.operations.check import require_passed, summary
    from serve.scorer import Scorer

    with Scorer(Bundle.open(options["bundle"]), _scorer_options(options)) as scorer:
        result = run_check(scorer)
    require_passed(result)
    print(
        f"{result.rows} golden rows, {result.precision} on {result.provider}: "
        f"labels agree {result.label_agreement:.1%} (at least {result.bounds.agreement:.1%}), "
        f"logits moved by at most {result.logit_difference:.2g} (bound {result.bounds.logits:.2g}), "
        f"probabilities by {result.largest_difference:.2g} (bound {result.bounds.probabilities:.2g})"
    )
    _print(summary(result))


@main.command(cls=GroupedCommand, context_settings=_HELP)
@_BUNDLE
@click.argument("inputs", nargs=-1, required=True)
@_running
@_reading
@click.option("--quiet", is_flag=True, help="No progress.")
@show_errors
def bench(**options: Any) -> None:
    """Measure rows per second on INPUTS.

    Also where the time goes; the scores are thrown away.
    """
    from serve.operations.bench import bench as run_bench

    result = run_bench(_job({**options, "out": Path()}))
    print(f"{result['rows_per_second']:,} rows/s, {result['precision']} on {result['provider']}")
    for name, value in result["phases"].items():
        print(f"{name:<18}{value:9.2f} s")
    print(f"{'session':<18}{result['session_cpu_seconds']:9.2f} s of {result['cpu_seconds']:.2f} s processor time")
    _print(result)


@main.command(cls=GroupedCommand, context_settings=_HELP)
@_BUNDLE
@click.argument("inputs", nargs=-1)
@_running
@_reading
@show_errors
def tune(**options: Any) -> None:
    """Find the fastest settings of BUNDLE here.

    Tried on INPUTS or on the golden rows; `score --tuned` uses them.
    """
    from export.bundle import Bundle
    from serve.operations.tune import cache_path, summary
    from serve.operations.tune import tune as run_tune
    from serve.reading.samples import first_texts, golden_texts
    from serve.reading.sources import find_sources

    bundle, given = Bundle.open(options["bundle"]), _scorer_options(options)
    job = _job({**options, "out": Path(), "quiet": True})
    sources = find_sources(options["inputs"], job.reading)
    texts, pairs = first_texts(sources, job.reading, bundle) if sources else golden_texts(bundle)
    best = run_tune(bundle, given, texts, pairs, say=lambda line: print(line, file=sys.stderr))
    _print(summary(best, cache_path(bundle, given)))


@main.command(context_settings=_HELP)
@click.argument("out", type=click.Path(path_type=Path))
@show_errors
def merge(out: Path) -> None:
    """Join the shards of OUT into OUT.

    OUT.shard-1-of-N to -N-of-N become the bytes that one undivided job would have written.
    """
    from serve.journal.shards import merge as run_merge

    report = run_merge(out)
    print(f"{report['rows_scored']:,} rows of {report['shards']} shards joined into {out}")
    _print({name: value for name, value in report.items() if name != "job"})


@main.command(context_settings=_HELP)
@show_errors
def doctor() -> None:
    """Say what is wrong with this installation.

    Which ONNX Runtime is installed, whether two collide and how to repair it, what a session really gets, and whether
    something else on this machine stands in for one of Classifact's packages.
    """
    from dataclasses import asdict

    from serve.operations.doctor import diagnose

    found = diagnose()
    print("installed:  " + (", ".join(f"{name} {version}" for name, version in found.installed.items()) or "none"))
    print(f"machine:    {found.processors} processors, {found.instruction_set}")
    for asked, got in found.sessions.items():
        print(f"session:    {asked} -> {got}")
    for problem in found.problems:
        print(f"problem:    {problem}")
    for line in found.repair:
        print(f"repair:     {line}")
    _print(asdict(found))
    if found.problems:
        sys.exit(1)


def _forecast(options: dict[str, Any]) -> None:
    from serve.operations.dry_run import forecast, sentence, summary

    found = forecast(_job(options), options["price_per_hour"])
    print(sentence(found))
    _print(summary(found))


def _scorer_options(options: dict[str, Any]) -> Any:
    from serve.options import scorer_options

    return _usage(scorer_options, options)


def _job(options: dict[str, Any]) -> Any:
    from serve.options import score_job

    return _usage(score_job, options)


def _usage(make: Callable[[dict[str, Any]], Any], options: dict[str, Any]) -> Any:
    """What options make; one that cannot be is an error of usage."""
    try:
        return make(options)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _print(result: dict[str, Any]) -> None:
    """The last line of standard output, for programs."""
    print(json.dumps(result, ensure_ascii=False, default=str))
