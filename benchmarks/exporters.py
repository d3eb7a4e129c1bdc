"""One run through every exporter that this environment has, side by side, as a table.

    .venv/bin/python benchmarks/exporters.py RUN [--rounds 12]      in each lane's environment
    .venv-5/bin/python benchmarks/exporters.py RUN

Of each exporter: seconds of writing the graph (twice, the second time counts: the first imports), the size of the file
in fp32 and int8 after all passes, its largest difference from torch's logits on the validation rows, how many of them
it decides as torch does, and rows/s. All files are timed in one race, in turns: "over the first" is the processor's
time of the first exporter's file over this one's, the median over the rounds and their range.
"""

import argparse
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import transformers

from export.bundle import instruction_set
from export.exporters.choose import EXPORTERS, choose_exporter, export_graph
from export.int8.quantize import Int8, quantize
from export.passes import apply_passes
from export.passes.choose import LOST
from export.passes.graph_file import save_graph
from export.proof.measure import Measure, Variant
from export.proof.parity import Truth
from export.proof.timing import Race
from export.proof.torch_logits import reference_logits
from export.trained_run import Sample, TrainedRun
from trainer.contract.errors import ClassifactError
from trainer.contract.system.progress import Progress
from trainer.opening.checkpoint import open_network

PRECISIONS = ("fp32", "int8")
ROWS = 192
HEADS = (
    "exporter",
    "file",
    "seconds",
    "size",
    "largest difference of a logit",
    "decides as torch",
    "rows/s",
    "over the first",
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=12)
    given = parser.parse_args()
    source = TrainedRun.open(given.run)
    sample = Sample.of(source.validation, source.checkpoint.encoder())
    logits = reference_logits(open_network(source.checkpoint.path), sample, lambda _rows: None)
    labels = source.validation.labels[sample.chosen]
    truth = Truth.of(logits, labels, source.checkpoint.contract.labels, source.checkpoint.metric)
    measure = Measure(sample=sample, truth=truth, progress=Progress(quiet=True))
    with tempfile.TemporaryDirectory() as name:
        seconds = {exporter: _write(source, exporter, Path(name)) for exporter in _usable()}
        files = {
            (exporter, precision): Variant(path=_path(Path(name), exporter, precision), disabled_optimizers=LOST)
            for precision in PRECISIONS
            for exporter in seconds
        }
        named = {" ".join(key): variant for key, variant in files.items()}
        race = measure.race(named, sample.subset(ROWS), given.rounds)
        versions = [f"{library.__name__} {library.__version__}" for library in (transformers, torch, onnxruntime)]
        print(
            f"{', '.join(versions)}; {platform.machine()}, {instruction_set()}; {len(sample)} rows, {race.rows} timed"
        )
        print("| " + " | ".join(HEADS) + " |\n|---|---|" + "--:|" * (len(HEADS) - 2))
        for (exporter, precision), variant in files.items():
            print(_line(measure, race, variant, exporter, precision, seconds[exporter]), flush=True)


def _usable() -> Iterator[str]:
    for name in EXPORTERS:
        with suppress(ClassifactError):
            yield choose_exporter(name)


def _path(folder: Path, exporter: str, precision: str) -> Path:
    return folder / f"{exporter} {precision}.onnx"


def _write(source: TrainedRun, exporter: str, folder: Path) -> float:
    """Write both files of an exporter; returns the seconds of writing the graph."""
    contract = source.checkpoint.contract
    export_graph(source.checkpoint.path, folder, exporter)
    started = time.perf_counter()
    exported = export_graph(source.checkpoint.path, folder, exporter)
    seconds = time.perf_counter() - started
    graph, _ = apply_passes(exported, contract.encoding.max_tokens, pairs=contract.input.pair is not None)
    save_graph(graph, _path(folder, exporter, "fp32"))
    how = Int8(per_channel=True)
    save_graph(quantize(graph, how, folder), _path(folder, exporter, "int8"))
    return seconds


def _line(measure: Measure, race: Race, variant: Variant, exporter: str, precision: str, seconds: float) -> str:
    found = measure.logits(variant)
    same = round(measure.truth.scores.agreement(measure.truth.decode(found)) * len(found))
    own = race.names.index(f"{exporter} {precision}")
    first = next(place for place, name in enumerate(race.names) if name.endswith(precision))
    gains = race.processor[:, first] / race.processor[:, own]
    over = f"{np.median(gains):.3f} [{gains.min():.3f}, {gains.max():.3f}]" if own != first else "1"
    return (
        f"| `{exporter}` | {precision} | {seconds:.1f} | {variant.path.stat().st_size / 1e6:.1f} MB "
        f"| {np.abs(found - measure.truth.logits).max():.1e} | {same} of {len(found)} "
        f"| {race.rows_per_second(race.names[own]):,.0f} | {over} |"
    )


if __name__ == "__main__":
    main()
