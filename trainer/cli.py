"""The commands of training: parse, build one job, call one function."""

import sys
from pathlib import Path
from typing import Any, Literal

import click
from click.core import ParameterSource

from trainer.contract.errors import GateError, InputError, show_errors
from trainer.contract.system.files import json_line
from trainer.contract.system.progress import Progress

_HELP = {"help_option_names": ["-h", "--help"]}


@click.command(context_settings=_HELP)
@click.option("--config", type=click.Path(path_type=Path), required=True, help="The recipe, a YAML file.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The run directory to make.")
@click.option(
    "--set", "settings", multiple=True, metavar="A.B=C", help="Change a value of the recipe; may be repeated."
)
@click.option("--resume", is_flag=True, help="Go on with the run in --out; start it where there is none.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Keep what frozen layers make of the rows here, for other runs too; without it, in RUN until the stage ends.",
)
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@show_errors
def launched(config: Path, out: Path, settings: tuple[str, ...], resume: bool, cache: Path | None, quiet: bool) -> None:
    """Fine-tune a text classifier.

    Launched by Accelerate, whose config says where it runs:
    accelerate launch --config_file launch_configs/cpu.yaml trainer/run.py --config RECIPE.yaml --out RUN
    """
    # Here and below: `-h` answers at once, before torch is imported.
    from trainer.processes.lean import import_lean

    import_lean()
    from trainer.recipes.file import load
    from trainer.stages import train
    from trainer.training import TrainJob

    result = train(TrainJob(recipe=load(config, settings), out=out, resume=resume, quiet=quiet, cache=cache))
    if is_main_process():
        from trainer.contract.figures.constant import told_warning
        from trainer.contract.figures.metrics import shown

        figures = "  ".join(f"{name} {shown(value)}" for name, value in result["validation"].items())
        click.echo(f"best checkpoint: {out / 'checkpoints' / result['checkpoint']}\nvalidation:      {figures}")
        click.echo(told_warning(result["constant"]), nl=False)
        click.echo(json_line({"run": str(out), **result}))


@click.group(context_settings=_HELP)
def main() -> None:
    """Make a model: look at a recipe's rows, train, search, measure a run."""


@main.command(context_settings=_HELP)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The run directory to make.")
@click.option(
    "--launch",
    "config",
    metavar="FILE|NAME",
    help="Where it runs: a launch config of Accelerate's, or the name of one that ships (cpu, multi_gpu, fsdp, ...). "
    "Default: one_gpu where there is one, else cpu.",
)
@click.option(
    "--set", "settings", multiple=True, metavar="A.B=C", help="Change a value of the recipe; may be repeated."
)
@click.option("--resume", is_flag=True, help="Go on with the run in --out; start it where there is none.")
@click.option("--cache", type=click.Path(path_type=Path), help="Keep what frozen layers make of the rows here.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@show_errors
def train(
    recipe: Path, out: Path, config: str | None, settings: tuple[str, ...], cache: Path | None, **flags: bool
) -> None:
    """Fine-tune a text classifier as RECIPE says.

    This starts Accelerate, as `accelerate launch --config_file FILE trainer/run.py --config RECIPE --out RUN` does.
    """
    from trainer.processes.launch import LaunchJob, launch

    words = ["--config", str(recipe), "--out", str(out), *(f"--set={setting}" for setting in settings)]
    words += [f"--{name}" for name, given in flags.items() if given] + (["--cache", str(cache)] if cache else [])
    launch(LaunchJob(words=tuple(words), config=config))


@main.command(context_settings=_HELP)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--set", "settings", multiple=True, metavar="A.B=C", help="Change a value of the recipe; may be repeated."
)
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@show_errors
def lint(recipe: Path, settings: tuple[str, ...], quiet: bool) -> None:
    """Say what is wrong with the rows of RECIPE.

    Nothing is trained. Ends with exit code 3 where there is an error among the findings.
    """
    from trainer.checks import lint as core
    from trainer.checks.show import render_findings
    from trainer.recipes.file import load

    report = core.lint(load(recipe, settings), Progress(quiet=quiet))
    click.echo(render_findings(report))
    click.echo(json_line(report.plain()))
    if errors := report.count("error"):
        raise GateError(f"{errors} finding{'s' if errors > 1 else ''} must be mended before training", where=recipe)


@main.command(context_settings=_HELP)
@click.argument("rows", nargs=-1, required=True)
@click.option("--text", multiple=True, metavar="COLUMN", help="A column of the text; may be repeated, in their order.")
@click.option("--label", metavar="COLUMN", help="The column of the label.")
@click.option("--model", metavar="NAME", help="The encoder: a hub name, a local folder, or pkg://package/folder.")
@click.option(
    "--out", type=click.Path(path_type=Path), default="recipe.yaml", show_default=True, help="The recipe to write."
)
@click.option("--go", is_flag=True, help="Go on: lint, train, evaluate, export and check, into runs/ and bundles/.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@show_errors
def init(rows: tuple[str, ...], text: tuple[str, ...], go: bool, quiet: bool, **options: Any) -> None:
    """Write a first recipe for labelled ROWS.

    ROWS are files, patterns or folders. The recipe trains as it stands; its comments say what was guessed and why, and
    what could not be decided.
    """
    from trainer.drafting.go import go_on
    from trainer.drafting.init import InitJob
    from trainer.drafting.init import init as core

    found = core(InitJob(rows=rows, text=text, **options), Progress(quiet=quiet).say)
    for name in ("left_out", "undecided"):
        for line in found[name]:
            click.echo(f"{name.replace('_', ' ')}: {line}")
    click.echo(f"{found['recipe']}: " + ", ".join(f"{count:,} {name} rows" for name, count in found["rows"].items()))
    click.echo(json_line(found))
    if go and (code := go_on(options["out"], quiet=quiet)):
        sys.exit(code)


@main.command(context_settings=_HELP)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--split", type=click.Choice(["validation", "test"]), default="test", show_default=True)
@click.option(
    "--batch-tokens",
    "tokens",
    type=click.IntRange(min=1),
    help="Padded tokens of a batch; the recipe's where not given.",
)
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@show_errors
def evaluate(run: Path, split: Literal["validation", "test"], tokens: int | None, quiet: bool) -> None:
    """Measure the best checkpoint of RUN.

    On a split, in fp32, with 95 % intervals: metrics, two baselines, slices, and decisions that flip when texts change
    a little. All are in RUN/SPLIT_metrics.json. Opening the test split is recorded in the run.
    """
    from trainer.evaluate import MeasureJob, measure
    from trainer.evaluation.table import figures_table

    result = measure(MeasureJob(run=run, split=split, tokens=tokens), Progress(quiet=quiet))
    click.echo(figures_table(result))
    told = ("split", "checkpoint", "rows", "metrics", "intervals", "constant", "also_in_train", "decisions")
    click.echo(json_line({"run": str(run), **{name: result[name] for name in told}}))


@main.command(context_settings=_HELP)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--temperature/--no-temperature", default=None, help="Whether to fit one. Default: yes.")
@click.option("--thresholds", type=click.Choice(["usual", "f1"]), help="f1: those of the best F1. Default: usual.")
@click.option("--precision", multiple=True, metavar="NAME=0.9", help="Promise: this share of rows given NAME have it.")
@click.option("--recall", multiple=True, metavar="NAME=0.9", help="Promise: this share of rows that have NAME get it.")
@click.option(
    "--cost",
    multiple=True,
    metavar="TRUE:DECIDED=10",
    help="What that mistake costs; others cost 1. For multi-label NAME:missed=10 and NAME:false=1.",
)
@click.option("--abstain", type=float, metavar="0.02", help="Promise: at most this share wrong among answered rows.")
@click.option("--level", type=float, metavar="0.95", help="The confidence with which all promises hold. Default: 0.95.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@show_errors
def decide(run: Path, quiet: bool, **options: Any) -> None:
    """Fit how RUN decides, on its validation rows.

    A temperature, so that probabilities mean what they say; thresholds; and which rows are left unanswered. Without
    options this is what the recipe's `decisions` say. It goes into the best checkpoint, in place of earlier decisions,
    and into RUN/decisions.json. Exit code 3 where the rows do not show what is to be promised.
    """
    from trainer.decide import DecideJob, told_decisions
    from trainer.decide import decide as core
    from trainer.deciding.asked import parse

    try:
        asked = parse({name: value for name, value in options.items() if value not in (None, ())})
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    result = core(DecideJob(run=run, asked=asked), Progress(quiet=quiet))
    click.echo(told_decisions(result))
    click.echo(json_line({"run": str(run), **{name: value for name, value in result.items() if name != "curves"}}))


@main.command(context_settings=_HELP)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--folds",
    type=click.IntRange(min=2),
    help="Train the recipe so many times, each without a share of the rows. Default: regressions on the base model's "
    "states, which takes minutes.",
)
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@show_errors
def suspects(run: Path, folds: int | None, quiet: bool) -> None:
    """Find training rows of RUN whose label is likely wrong.

    Into RUN/review/suspects.csv, .parquet and .json, the least believed first, each with the label that is suggested.
    """
    from trainer.review.suspects import SuspectsJob, find_suspects, told_suspects

    result = find_suspects(SuspectsJob(run=run, folds=folds, quiet=quiet))
    click.echo(told_suspects(result))
    click.echo(json_line({"run": str(run), **{name: value for name, value in result.items() if name != "joint"}}))


@main.command(context_settings=_HELP)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder of the search and its result.")
@click.option(
    "--set", "settings", multiple=True, metavar="A.B=C", help="Change a value of the recipe; may be repeated."
)
@click.option("--resume", is_flag=True, help="Go on with the search in --out; start it where there is none.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@show_errors
def sweep(recipe: Path, out: Path, settings: tuple[str, ...], resume: bool, quiet: bool) -> None:
    """Search over values of RECIPE.

    What is searched is in its `sweep` part; --out becomes the best trial's run.

    Several GPUs work through trials side by side under
    accelerate launch --config_file launch_configs/multi_gpu.yaml --module trainer sweep RECIPE --out DIR
    """
    from trainer.contract.figures.constant import told_warning
    from trainer.recipes.file import load
    from trainer.search.result import trials_table
    from trainer.search.sweep import SweepJob, sweep

    result = sweep(SweepJob(recipe=load(recipe, settings), out=out, resume=resume, quiet=quiet))
    if result is not None:
        click.echo(trials_table(result))
        click.echo(told_warning(result["constant"]), nl=False)
        shown = {name: result[name] for name in ("metric", "states", "best", "importances", "constant")}
        click.echo(json_line({"run": str(out), **shown}))


@main.command(context_settings=_HELP)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--bundle", type=click.Path(path_type=Path), help="What was exported of the run.")
@click.option(
    "--scores",
    type=click.Path(path_type=Path),
    metavar="REPORT.json",
    help="What `score` wrote beside a file that was scored with the bundle, for drift.",
)
@click.option("--examples", type=click.IntRange(0, 12), default=4, show_default=True, help="Rows to explain.")
@click.option("--texts/--no-texts", default=True, help="Whether texts of rows stand on the page.")
@click.option("--lint/--no-lint", default=True, help="Whether the labelled files are looked at again.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@show_errors
def report(quiet: bool, **options: Any) -> None:
    """Write RUN/report.html: one page to decide by.

    One file, without a request to anywhere: verdict, figures, rows that are decided wrongly, and how to make it again.
    What is not known yet is named there with the command that makes it.
    """
    given = click.get_current_context().get_parameter_source("examples")
    if given is ParameterSource.COMMANDLINE and options["examples"] and not options["texts"]:
        raise click.UsageError("--examples are texts of rows, which --no-texts leaves out")
    try:
        from trainer.report.job import ReportJob
        from trainer.report.job import report as core
    except ModuleNotFoundError as error:
        do = "pip install 'classifact[report]'"
        raise InputError("the page needs a library that is not installed", found=error.name, do=do) from None

    found = core(ReportJob(**options), Progress(quiet=quiet))
    click.echo(f"{found['verdict']}: {found['why']}\nreport: {found['report']}")
    click.echo(json_line(found))


def is_main_process() -> bool:
    """Whether this process speaks for all: the first of the launch."""
    from accelerate import PartialState

    return bool(PartialState().is_main_process)
