"""The console script `classifact`: one group that imports a command when it is called, and nothing before."""

import importlib
import platform
import sys
from typing import Any

import click

from classifact.own_packages import PACKAGES, use_own

# A command is one line: where it is, and what it does, in the first sentence of its own help.
COMMANDS = {
    "init": ("trainer.cli:init", "Write a first recipe for labelled ROWS."),
    "train": ("trainer.cli:train", "Fine-tune a text classifier as RECIPE says."),
    "lint": ("trainer.cli:lint", "Say what is wrong with the rows of RECIPE."),
    "sweep": ("trainer.cli:sweep", "Search over values of RECIPE."),
    "decide": ("trainer.cli:decide", "Fit how RUN decides, on its validation rows."),
    "evaluate": ("trainer.cli:evaluate", "Measure the best checkpoint of RUN."),
    "suspects": ("trainer.cli:suspects", "Find training rows of RUN whose label is likely wrong."),
    "report": ("trainer.cli:report", "Write RUN/report.html: one page to decide by."),
    "export": ("export.cli:export_command", "Turn RUN into a bundle, with proof."),
    "inspect": ("export.cli:inspect_command", "Check BUNDLE and print what it holds."),
    "score": ("serve.cli:score", "Score every row of INPUTS into one file."),
    "predict": ("serve.cli:predict", "Classify a few texts."),
    "explain": ("serve.cli:explain", "Say which words a label rests on."),
    "check": ("serve.cli:check", "Score the golden rows and compare with torch."),
    "tune": ("serve.cli:tune", "Find the fastest settings of BUNDLE here."),
    "bench": ("serve.cli:bench", "Measure rows per second on INPUTS."),
    "merge": ("serve.cli:merge", "Join the shards of OUT into OUT."),
    "doctor": ("serve.cli:doctor", "Say what is wrong with this installation."),
}
# What decides how a run, an export or a job behaves.
_MATTERS = (
    "numpy",
    "pyarrow",
    "tokenizers",
    "onnxruntime",
    "onnxruntime-gpu",
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "huggingface-hub",
    "peft",
    "onnx",
    "onnxscript",
    "optimum",
    "optimum-onnx",
)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """All of the table, in the order of the road."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        """Import one command; None where there is none of that name."""
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ImportError as error:
            raise click.ClickException(_missing(module, error)) from error
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The sentences of the table: no command is imported to be listed."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in COMMANDS.items()])


def _missing(module: str, error: ImportError) -> str:
    """Why a command cannot be imported: an extra that is not installed, or somebody else's file under our name."""
    package = module.partition(".")[0]
    lines = [f"the command cannot be loaded\n  found:    {error}"]
    if error.name is not None and error.name.partition(".")[0] in PACKAGES:
        lines.append("  do:       another package has written over Classifact's files: pip install --force-reinstall")
        lines[-1] += " --no-deps classifact"
    else:
        extra = {"trainer": "train"}.get(package, package)
        lines.append(f"  do:       pip install 'classifact[{extra}]'")
    return "\n".join(lines)


def _versions(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from trainer.contract.system.installed import installed_versions, own_version

    versions = {"classifact": own_version(), "python": platform.python_version(), **installed_versions(_MATTERS)}
    for name, version in versions.items():
        click.echo(f"{name:<16}{version}")
    context.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_versions, help="Print versions.")
def group() -> None:
    """Labelled rows in, a text classifier that you can trust out, and every row you own scored with it.

    The road: init, lint, train, decide, evaluate, export, check, score, report. `classifact COMMAND -h` tells options.
    Exit codes: 0 done, 1 the input was wrong, 2 usage, 3 a gate failed.
    """


def main() -> Any:
    """Run the console script."""
    use_own()
    name = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    if COMMANDS.get(name, ("",))[0].startswith("serve."):
        from serve.without_pandas import refuse_pandas

        refuse_pandas(sys.argv)
    return group(prog_name="classifact")
