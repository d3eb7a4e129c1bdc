"""Run directory to bundle directory: every step of an export, in order."""

import importlib.metadata
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from export.bundle import FILES, ExportManifest, GraphFile, hash_files, instruction_set, write_manifest
from export.card import write_card
from export.graph import check_family, export_graph, opset, save_graph
from export.parity import Bounds, Truth, gate
from export.progress import Progress
from export.quantize import Int8, quantize
from export.reference import reference_logits
from export.rows import write_golden, write_reference
from export.runtime import open_session, run_batches
from export.source import BATCH_TOKENS, Sample, Source
from trainer.contract.files import atomic_folder, read_json, write_json

_COPIED = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_TOOLS = (
    "classifact",
    "torch",
    "transformers",
    "optimum",
    "optimum-onnx",
    "onnx",
    "onnxruntime",
    "tokenizers",
    "numpy",
)
# What float rounding of another order of sums leaves; a wrong graph is off by orders of magnitude more.
FP32_DIFFERENCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class ExportJob:
    """One export. precisions: of "fp32" and "int8". max_drop, min_agreement: bounds of int8, see `Bounds`."""

    run: Path
    out: Path
    precisions: tuple[str, ...] = ("fp32", "int8")
    max_drop: float = 0.005
    min_agreement: float = 0.98
    quiet: bool = False

    def bounds(self, precision: str) -> Bounds:
        """What the file of a precision may differ by. int8's probabilities may move: its decisions and metric count."""
        if precision == "fp32":
            return Bounds(max_drop=self.max_drop, min_agreement=0.999, max_difference=FP32_DIFFERENCE)
        return Bounds(max_drop=self.max_drop, min_agreement=self.min_agreement, max_difference=1.0)


def export(job: ExportJob) -> ExportManifest:
    """Export a run's best checkpoint to a bundle at `job.out`, which appears whole or not at all.

    Raises InputError and ArtifactError for a run that cannot be exported, GateError where a file fails its gate.
    """
    progress = Progress(quiet=job.quiet)
    with atomic_folder(job.out) as folder:
        with progress.step("reading the run"):
            source = Source.open(job.run)
            family = check_family(source.checkpoint.path)
            sample = Sample.of(source.validation, source.checkpoint.encoder())
        with progress.step(f"torch on {len(sample):,} validation rows", len(sample)) as tick:
            logits = reference_logits(source.checkpoint.path, sample, tick)
        contract = source.checkpoint.contract
        truth = Truth.of(logits, sample.rows.labels, contract.labels, source.checkpoint.metric)
        graphs = _write_graphs(job, folder, source, Measure(sample=sample, truth=truth, progress=progress))
        _write_config(source, folder)
        write_golden(folder / "golden.jsonl", sample, logits)
        write_reference(folder / "reference.json", sample, truth.scores, contract.labels)
        manifest = ExportManifest(
            name=source.name,
            model_type=family,
            contract=contract,
            graphs=graphs,
            files={},
            batch_tokens=BATCH_TOKENS,
            versions=_versions(),
            training=source.training,
            test_metrics=source.test_metrics,
        )
        write_card(folder / "README.md", manifest)
        manifest = ExportManifest(**{**vars(manifest), "files": hash_files(folder)})
        write_manifest(folder, manifest)
    return manifest


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What files are measured with: the same rows, in the same batches, against the same truth."""

    sample: Sample
    truth: Truth
    progress: Progress

    def logits(self, path: Path, disabled_optimizers: tuple[str, ...]) -> NDArray[np.float32]:
        """A file's logits of the sample, in row order, [N, C]."""
        with self.progress.step(f"{path.name} on the same rows", len(self.sample)) as tick:
            return self.sample.in_order(
                run_batches(open_session(path, disabled_optimizers), self.sample.padded(), tick)
            )


def _write_graphs(job: ExportJob, folder: Path, source: Source, measure: Measure) -> dict[str, GraphFile]:
    """Write, measure and gate the file of each precision."""
    with measure.progress.step("exporting the graph"):
        exported = export_graph(source.checkpoint.path, folder)
    graphs = {}
    (folder / "onnx").mkdir()
    for precision in job.precisions:
        graph = exported
        if precision == "int8":
            with measure.progress.step("quantizing"):
                graph = quantize(exported, Int8.for_this_machine(), folder)
        path = folder / FILES[precision]
        save_graph(graph, path)
        graphs[precision] = _accept(job, precision, path, measure)
    return graphs


def _accept(job: ExportJob, precision: str, path: Path, measure: Measure) -> GraphFile:
    onnx.checker.check_model(str(path), full_check=True)
    parity = measure.truth.compare(measure.logits(path, ()))
    gate(precision, parity, job.bounds(precision))
    return GraphFile(
        file=FILES[precision],
        opset=opset(onnx.load(path, load_external_data=False)),
        bytes=sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*")),
        parity=parity,
        instruction_set=instruction_set(),
        # Another machine sums in another order and batches other rows together: twice what was seen here, and a floor.
        golden_bound=max(1e-3 if precision == "fp32" else 0.02, 2 * parity.max_difference),
    )


def _write_config(source: Source, folder: Path) -> None:
    """config.json with our label names, and the tokenizer's files byte for byte, so that other tools agree with us."""
    space = source.checkpoint.contract.labels
    config = read_json(source.checkpoint.path / "config.json")
    config["id2label"] = {str(number): name for number, name in enumerate(space.names)}
    config["label2id"] = {name: number for number, name in enumerate(space.names)}
    # Other tools apply a sigmoid to each label where this says multi, and a softmax where it says single.
    config["problem_type"] = f"{space.kind}_label_classification"
    write_json(folder / "config.json", config)
    for name in _COPIED:
        shutil.copyfile(source.checkpoint.path / name, folder / name)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for tool in _TOOLS:
        try:
            versions[tool] = importlib.metadata.version(tool)
        except importlib.metadata.PackageNotFoundError:
            # A checkout that runs uninstalled, or ONNX Runtime under its GPU distribution's name.
            continue
    return versions
