"""The command line of export: parse, build one dataclass, call one function, print."""

import sys
import time
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from export.bundle import Bundle
from export.inspect import describe, manifest_differences, manifest_summary, markdown, precisions_table
from trainer.contract.errors import nearest, show_errors
from trainer.contract.system.files import json_line
from trainer.contract.visible import visible

# Written out, as help and usage errors import neither torch nor onnx; tests hold these to the tables that they copy.
PRECISIONS = ("fp32", "int8", "fp16")
EXPORTER_NAMES = ("optimum", "transformers", "torch")
PASS_NAMES = (
    "inline_branches",
    "drop_idle",
    "fold_shapes",
    "fold_token_types",
    "order_gelu",
    "first_token",
    "one_query",
    "flash_attention",
)


def _names(known: tuple[str, ...], value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    for name in names:
        if name not in known:
            raise click.BadParameter(f"{name!r} is none of {', '.join(known)}; {nearest(name, known)}".rstrip("; "))
    return names


def _precisions(_context: click.Context, _option: click.Parameter, value: str) -> tuple[str, ...]:
    names = _names(PRECISIONS, value)
    if not names:
        raise click.BadParameter(f"expected some of {', '.join(PRECISIONS)}")
    # fp32 first: what fails it fails everything.
    return tuple(name for name in PRECISIONS if name in names)


def _passes(_context: click.Context, _option: click.Parameter, value: str) -> tuple[str, ...]:
    return _names(PASS_NAMES, value)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The bundle to make; it must not exist.")
@click.option(
    "--precision",
    "precisions",
    default="fp32,int8",
    show_default=True,
    callback=_precisions,
    help="Which files to make.",
)
@click.option(
    "--max-drop",
    default=0.005,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="A larger drop of the metric fails where its 95 % interval lies above zero. See --prove.",
)
@click.option(
    "--min-agreement",
    default=0.98,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="The least share of rows on which int8 decides as torch does.",
)
@click.option(
    "--rows",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Rows without labels (CSV, TSV, JSON lines, Parquet) that agreement is measured on too; may be repeated.",
)
@click.option(
    "--cascade",
    is_flag=True,
    help="Make a student too, which answers most rows without the encoder, with proof of how often it differs.",
)
@click.option(
    "--unlabelled",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Rows without labels that teach the student of --cascade and prove it; more rows prove more. May be repeated.",
)
@click.option(
    "--exporter",
    default="auto",
    show_default=True,
    type=click.Choice(("auto", *EXPORTER_NAMES)),
    help="What writes the graph; auto is the first of the others that this environment can import.",
)
@click.option("--skip", default="", callback=_passes, help=f"Exact passes to leave out, of {', '.join(PASS_NAMES)}.")
@click.option(
    "--packing",
    is_flag=True,
    help="Write the padding-free form of fp16 too, which scoring on CUDA takes.",
)
@click.option(
    "--timing/--no-timing",
    default=True,
    help="Race the graphs on this machine, to keep what is faster and say by how much.",
)
@click.option(
    "--golden",
    default="validation",
    show_default=True,
    type=click.Choice(("validation", "synthetic")),
    help="Golden rows: texts of validation rows, or made-up words, so that no row's text leaves with the bundle.",
)
@click.option("--prove", is_flag=True, help="Fail where the drop's 95 % interval reaches above --max-drop.")
@click.option("--anyway", is_flag=True, help="Export a model that has learnt nothing too.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@show_errors
def export_command(**options: Any) -> None:
    """Turn RUN into a bundle, with proof.

    The best checkpoint of the training run becomes ONNX files, each proven to be the same classifier as torch's.
    `inspect BUNDLE` prints what a bundle holds.

    Exit codes: 0 done, 1 the run or the output path is wrong, 2 usage, 3 a file failed its gate (no bundle is left).
    """
    # Here, because it brings torch: help and usage errors answer at once.
    from export.pipeline import ExportJob, export

    if options["packing"] and "fp16" not in options["precisions"]:
        raise click.UsageError("--packing is a form of fp16: add it to --precision")
    if options["unlabelled"] and not options["cascade"]:
        raise click.UsageError("--unlabelled is for --cascade; --rows adds rows to what agreement is measured on")
    given = click.get_current_context().get_parameter_source("min_agreement")
    if given is ParameterSource.COMMANDLINE and "int8" not in options["precisions"]:
        raise click.UsageError("--min-agreement is for int8, which --precision leaves out")
    started = time.monotonic()
    job = ExportJob(**options)
    manifest = export(job)
    click.echo(precisions_table(manifest))
    seconds = round(time.monotonic() - started, 1)
    click.echo(json_line({"bundle": str(job.out), **manifest_summary(manifest), "seconds": seconds}))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--diff", "other", type=click.Path(path_type=Path), help="Print what differs in another bundle instead.")
@click.option("--markdown", "for_page", is_flag=True, help="Print the table of figures alone, as Markdown.")
@show_errors
def inspect_command(bundle: Path, other: Path | None, for_page: bool) -> None:
    """Check BUNDLE and print what it holds.

    Every hash is checked; printed are labels, files, passes, figures and versions.
    """
    if other is not None and for_page:
        raise click.UsageError("--diff prints what differs, and --markdown one bundle's figures: leave one out")
    first = Bundle.open(bundle).manifest
    if other is None:
        click.echo(markdown(first) if for_page else describe(first))
        click.echo(json_line({"bundle": str(bundle), **manifest_summary(first)}))
        return
    found = manifest_differences(first, Bundle.open(other).manifest)
    for key, (left, right) in found.items():
        click.echo(visible(f"{key}: {left} -> {right}"))
    click.echo(json_line({"bundle": str(bundle), "other": str(other), "different": list(found)}))


def main() -> None:
    """Run the command: `inspect BUNDLE`, or the run to export (one of that name is `./inspect`)."""
    if sys.argv[1:2] == ["inspect"]:
        inspect_command(args=sys.argv[2:], prog_name="python -m export inspect")
    else:
        export_command(prog_name="python -m export")
