"""The command line of export: parse, build one dataclass, call one function, print."""

import dataclasses
import json
import time
from pathlib import Path

import click

from export.bundle import ExportManifest
from trainer.contract.errors import show_errors

PRECISIONS = ("fp32", "int8")


def _precisions(_context: click.Context, _option: click.Parameter, value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    wrong = [name for name in names if name not in PRECISIONS]
    if wrong or not names:
        raise click.BadParameter(f"expected some of {', '.join(PRECISIONS)}, found {value!r}")
    return names


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The bundle to make; it must not exist.")
@click.option("--precision", default="fp32,int8", show_default=True, callback=_precisions, help="Which files to make.")
@click.option(
    "--max-drop",
    default=0.005,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="The most that the metric may lose to torch in fp32.",
)
@click.option(
    "--min-agreement",
    default=0.98,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="The least share of validation rows on which int8 decides as torch does.",
)
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@show_errors
def export_command(
    run: Path, out: Path, precision: tuple[str, ...], max_drop: float, min_agreement: float, quiet: bool
) -> None:
    """Turn the best checkpoint of the training run RUN into a bundle, with proof that it is the same classifier.

    Exit codes: 0 done, 1 the run or the output path is wrong, 2 usage, 3 a file failed its gate (no bundle is left).
    """
    # Here, because they bring torch: help and usage errors answer at once.
    from export.pipeline import ExportJob, export

    started = time.monotonic()
    job = ExportJob(run=run, out=out, precisions=precision, max_drop=max_drop, min_agreement=min_agreement, quiet=quiet)
    manifest = export(job)
    click.echo(_table(manifest))
    click.echo(json.dumps(_summary(manifest, out) | {"seconds": round(time.monotonic() - started, 1)}))


def _table(manifest: ExportManifest) -> str:
    parity = next(iter(manifest.graphs.values())).parity
    lines = [
        f"{parity.rows:,} validation rows, torch in fp32: {parity.metric} {parity.torch_value:.4f}",
        f"{'precision':<10}{'size':>10}{'agreement':>11}{'largest diff':>14}{'99 % diff':>11}  drop [95 % interval]",
    ]
    for precision, graph in manifest.graphs.items():
        parity = graph.parity
        lines.append(
            f"{precision:<10}{graph.bytes / 1e6:>7.1f} MB{parity.label_agreement:>11.4f}{parity.max_difference:>14.2g}"
            f"{parity.p99_difference:>11.2g}  {parity.drop:+.4f} [{parity.drop_low:+.4f}, {parity.drop_high:+.4f}]"
        )
    return "\n".join(lines)


def _summary(manifest: ExportManifest, out: Path) -> dict[str, object]:
    graphs = {
        precision: {"file": graph.file, "bytes": graph.bytes, **dataclasses.asdict(graph.parity)}
        for precision, graph in manifest.graphs.items()
    }
    return {"bundle": str(out), "name": manifest.name, "graphs": graphs}


def main() -> None:
    """Run the command."""
    export_command(prog_name="python -m export")
