"""The commands of scoring: parse, build one dataclass, call one function, print."""

import contextlib
import sys
from pathlib import Path
from typing import Any

import click

from serve.operations.cli import (
    AGREEMENT,
    BUNDLE,
    HELP,
    NO_ABSTAIN,
    THRESHOLD,
    GroupedCommand,
    bench,
    bound_of,
    check,
    doctor,
    explain,
    job_of,
    predict,
    print_result,
    reading,
    running,
    tune,
)
from trainer.contract.errors import GateError, show_errors
from trainer.contract.visible import visible


@click.group(context_settings=HELP)
def main() -> None:
    """Score rows with an exported bundle. Needs neither torch nor transformers."""


@main.command(cls=GroupedCommand, context_settings=HELP)
@BUNDLE
@click.argument("inputs", nargs=-1, required=True)
@click.option(
    "--out",
    required=True,
    help="A file's name (.csv, .tsv, .jsonl, also .gz or .zst; .parquet), -, or with --part-rows a URL to write to.",
)
@click.option(
    "--out-format",
    type=click.Choice(["csv", "tsv", "jsonl", "parquet"]),
    help="The output's format. Default: by its suffix; jsonl for -.",
)
@running
@reading
@AGREEMENT
@THRESHOLD
@NO_ABSTAIN
@click.option("--probabilities", is_flag=True, help="Also a column p_NAME for each label, by what scored the row.")
@click.option(
    "--top-k",
    type=click.IntRange(1),
    help="Also top_labels and top_confidences: the K most likely labels, most likely first, whatever was decided.",
)
@click.option(
    "--scored-by/--no-scored-by",
    default=None,
    help="With --agreement, a column scored_by: student or encoder. Default: there is one.",
)
@click.option("--prefix", default="", help="Goes before the names of the columns that scoring adds.")
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
@click.option(
    "--ray-address", help="The cluster's address. Default: RAY_ADDRESS; without it one is started on this machine."
)
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
@click.option("--drift-report", type=click.Path(path_type=Path), help="Write how the rows differ from training here.")
@click.option(
    "--prove",
    is_flag=True,
    help="With --agreement: audit as many rows as it takes to show the target; exit 3 where they do not.",
)
@click.option("--audit-stop", is_flag=True, help="With --agreement: end the job as soon as its audit is broken.")
@click.option("--strict", is_flag=True, help="Exit 3 where a row or a cell was rejected; the output is kept.")
@click.option(
    "--dry-run", is_flag=True, help="Score a sample for a few seconds, tell what the job would take, and end."
)
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="Answer Prometheus on this port; 0: a free one.")
@click.option(
    "--metrics-host",
    help="The address that --metrics-port listens on; 0.0.0.0: every one. Default: 127.0.0.1.",
)
@click.option(
    "--price-per-hour",
    type=click.FloatRange(0),
    help="What this machine costs: --dry-run then tells the job's cost.",
)
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

    INPUTS are files, globs, folders, URLs, or - for standard input, compressed or not. Columns are passed through,
    then come prediction and confidence. Rows that cannot be scored go to OUT.errors.jsonl with their line and reason.
    """
    from serve.job import run
    from serve.operations import drift
    from serve.scoring.audit import require_kept, told_cascade
    from serve.writing.rejects import told_rejects

    beside = options.pop("drift_report")
    if beside is not None:
        drift.require_possible(beside, options["out"], options["bundle"], resume=options["resume"])

    # Of the same options as the job, so that what it says is of this very job.
    if options["dry_run"]:
        _forecast(options)
        return
    report = run(job_of(options))
    rejected = told_rejects(report)
    # Where the rows themselves are on standard output, nothing else may be.
    with contextlib.redirect_stdout(sys.stderr if str(options["out"]) == "-" else sys.stdout):
        rate = f"{report['rows_per_second']:,} rows/s, {report['precision']} on {report['provider']}"
        left = f", {report['rows_abstained']:,} of them not answered" if report["abstain"] else ""
        print(f"{report['rows_scored']:,} rows scored into {visible(report['out'])}{left}{rejected}, {rate}")
        print("\n".join([*told_cascade(report), drift.drift_sentence(report)]))
        print_result(drift.short(report))
    if beside is not None:
        drift.write_drift(beside, report)
    require_kept(report["cascade"], report["out"], prove=options["prove"])
    # After everything is written: whoever asked for it decides what to do with an output that is not complete.
    if options["strict"] and rejected:
        raise GateError(f"done, with rejects{rejected}", do="mend the input, or leave --strict out")


@main.command(context_settings=HELP)
@click.argument("out")
@click.option("--drift-report", type=click.Path(path_type=Path), help="Write how the rows differ from training here.")
@click.option(
    "--max-errors", metavar="N|P%", help="Of all rows. Default: the shards' own bounds; some row must be scored."
)
@show_errors
def merge(out: str, drift_report: Path | None, max_errors: str | None) -> None:
    """Join the shards of OUT into OUT.

    OUT.shard-1-of-N to -N-of-N become the bytes that one undivided job would have written.
    At a URL the shares' parts are one set already, and it is checked to be whole.
    """
    from serve.journal.output import merge as run_merge
    from serve.operations import drift
    from serve.scoring.audit import require_kept, told_cascade

    if drift_report is not None:
        drift.require_possible(drift_report, out, None, resume=False)
    report = run_merge(out, bound_of(max_errors))
    print(f"{report['rows_scored']:,} rows of {report['shards']} shards joined into {visible(out)}")
    print("\n".join([*told_cascade(report), drift.drift_sentence(report)]))
    print_result(drift.short(report))
    if drift_report is not None:
        drift.write_drift(drift_report, report)
    require_kept(report["cascade"], out)


def _forecast(options: dict[str, Any]) -> None:
    from serve.operations.dry_run import forecast, forecast_sentence, forecast_summary

    found = forecast(job_of(options), options["price_per_hour"])
    print(forecast_sentence(found))
    print_result(forecast_summary(found))


for _command in (predict, explain, check, bench, tune, doctor):
    main.add_command(_command)
