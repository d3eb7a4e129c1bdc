"""Run directory to bundle directory: every step of an export, in order."""

import platform
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from export.bundle import PACKED_FILE, REFERENCE, VALIDATION, ExportManifest, GraphFile, hash_files, write_manifest
from export.card import write_card
from export.card_figures import without_texts
from export.cascade.build import CascadeJob, build_cascade, require_enough
from export.cascade.certificate import Cascade
from export.cascade.rows import CascadeRows, cascade_rows
from export.exporters.choose import AUTO, choose_exporter
from export.fp16 import packing
from export.precisions import GraphJob, write_graphs
from export.proof.measure import Measure, Unlabelled
from export.proof.parity import ParityBounds, Truth, nothing_learnt
from export.proof.reference import write_reference
from export.proof.synthetic import synthetic_golden
from export.proof.torch_logits import reference_logits
from export.trained_run import BATCH_TOKENS, Sample, TrainedRun
from export.unlabelled import MOST_UNLABELLED_ROWS, UnlabelledRows, read_unlabelled
from trainer.contract.figures.constant import Constant
from trainer.contract.figures.stamped import measured_on
from trainer.contract.system.files import atomic_folder, read_json, write_json
from trainer.contract.system.installed import installed_versions
from trainer.contract.system.progress import Progress
from trainer.opening.checkpoint import open_network
from trainer.opening.golden import check_golden
from trainer.opening.tokenizer import SETTINGS, SPECIAL, clean_settings, clean_special

_COPIED = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
# What a manifest notes; without Classifact in a checkout that is not installed, or an ONNX Runtime of another name.
_TOOLS = (
    "classifact",
    "torch",
    "transformers",
    "optimum",
    "optimum-onnx",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "tokenizers",
    "numpy",
)
# What float rounding of another order of sums leaves; a wrong graph is off by orders of magnitude more.
FP32_DIFFERENCE = 1e-4
# Half precision has 11 bits; what a few layers make of that stays far below this, what overflows does not.
FP16_DIFFERENCE = 0.05


@dataclass(frozen=True, kw_only=True)
class ExportJob:
    """One export."""

    run: Path
    out: Path
    precisions: tuple[str, ...] = ("fp32", "int8")
    """Which files to write: "fp32", "int8" and "fp16"."""
    max_drop: float = 0.005
    """The largest drop of the metric in int8, see `ParityBounds`."""
    min_agreement: float = 0.98
    """The least agreement of int8 with torch, see `ParityBounds`."""
    exporter: str = AUTO
    """What writes the graph: "optimum", "transformers", "torch", or the first of them that can be imported."""
    skip: tuple[str, ...] = ()
    """Passes to leave out."""
    packing: bool = False
    """Whether to write the padding-free fp16 form too, which no gate has passed."""
    timing: bool = True
    """Whether graphs are raced; without, every pass is kept and ONNX Runtime keeps its own settings, so that nothing
    depends on the machine's speed.
    """
    quiet: bool = False
    prove: bool = False
    """Whether a file fails where the rows do not show that its drop is within max_drop."""
    anyway: bool = False
    """Whether to export a model that is no better than one answer for all rows."""
    rows: tuple[Path, ...] = ()
    """Files of rows without labels that agreement is measured on too."""
    cascade: bool = False
    """Whether to make a student that answers most rows without the encoder, with its certificate."""
    unlabelled: tuple[Path, ...] = ()
    """Files of rows without labels that teach it and prove it."""
    golden: str = VALIDATION
    """Where golden rows are from: "validation", or "synthetic" (made-up words, so that no row's text is shipped)."""

    def graph_job(self) -> GraphJob:
        """What files to make. int8's probabilities may move: its decisions and its metric count."""
        bounds = {
            "fp32": ParityBounds(max_drop=self.max_drop, min_agreement=0.999, max_difference=FP32_DIFFERENCE),
            "int8": ParityBounds(max_drop=self.max_drop, min_agreement=self.min_agreement, max_difference=1.0),
            "fp16": ParityBounds(max_drop=self.max_drop, min_agreement=0.995, max_difference=FP16_DIFFERENCE),
        }
        return GraphJob(
            bounds={name: replace(bounds[name], prove=self.prove) for name in self.precisions},
            exporter=choose_exporter(self.exporter),
            skip=self.skip,
            packing=self.packing,
        )


def export(job: ExportJob) -> ExportManifest:
    """Export a run's best checkpoint to a bundle at `job.out`, which appears whole or not at all.

    Raises InputError and ArtifactError for a run that cannot be exported, GateError where a file fails its gate or
    the model has learnt nothing.
    """
    progress = Progress(quiet=job.quiet)
    graph_job = job.graph_job()
    with atomic_folder(job.out) as folder:
        with progress.step("reading the run"):
            source = TrainedRun.open(job.run)
            network = open_network(source.checkpoint.path)
            # Before minutes of work: another version of a library may read these weights as another function.
            progress.say(check_golden(source.checkpoint, network))
            others, teaching = _rows_without_labels(job, source)
            sample = Sample.of(source.validation, source.checkpoint.encoder())
        with progress.step(f"torch on {len(sample):,} validation rows", len(sample)) as tick:
            logits = reference_logits(network, sample, tick)
        contract = source.checkpoint.contract
        labels = source.validation.labels[sample.chosen]
        truth = Truth.of(logits, labels, contract.labels, source.checkpoint.metric)
        constant = Constant.of(labels, contract.labels, truth.metric)
        learnt = truth.beats(constant)
        # Files of a model that gives one answer agree with it: parity would pass, and prove nothing.
        if not learnt and not job.anyway:
            raise nothing_learnt(truth, constant)
        measure = Measure(
            sample=sample,
            truth=truth,
            progress=progress,
            timing=job.timing,
            unlabelled=None if others is None else _unlabelled(others, source, network, progress),
            made_golden=None if job.golden == VALIDATION else synthetic_golden(network, source.checkpoint, progress),
        )
        graphs = write_graphs(graph_job, source, measure, folder)
        _write_config(source, folder)
        write_reference(folder / REFERENCE, sample, truth.scores, contract.labels)
        manifest = ExportManifest(
            name=source.name,
            model_type=str(network.config.model_type),
            contract=contract,
            graphs=graphs,
            files={},
            batch_tokens=BATCH_TOKENS,
            exporter=graph_job.exporter,
            versions={"python": platform.python_version(), **installed_versions(_TOOLS)},
            training=source.training,
            test_metrics=source.test_metrics if job.golden == VALIDATION else without_texts(source.test_metrics),
            measured_on=measured_on(source.checkpoint),
            golden=job.golden,
            decisions=source.decisions,
            constant={**asdict(constant), "beaten": learnt},
            unproven={PACKED_FILE: packing.NOTE} if job.packing else {},
            cascade=_cascade(job, source, teaching, graphs, folder),
        )
        # The card before the hashes, the manifest after them: it names the hash of every other file.
        write_card(folder / "README.md", manifest)
        manifest = replace(manifest, files=hash_files(folder))
        write_manifest(folder, manifest)
    return manifest


def _rows_without_labels(job: ExportJob, source: TrainedRun) -> tuple[UnlabelledRows | None, CascadeRows | None]:
    """Those that parity is measured on too, and those of the student."""
    # Before all that takes minutes: a file that is not there, or too few rows, must not cost those.
    spec = source.checkpoint.contract.input
    others = read_unlabelled(job.rows, spec) if job.rows else None
    teaching = cascade_rows(job.run, job.unlabelled, source.validation, spec) if job.cascade else None
    if teaching is not None:
        require_enough(teaching, source)
    return others, teaching


def _cascade(
    job: ExportJob, source: TrainedRun, rows: CascadeRows | None, graphs: dict[str, GraphFile], folder: Path
) -> Cascade | None:
    if rows is None:
        return None
    return build_cascade(
        CascadeJob(
            source=source,
            rows=rows,
            graphs=graphs,
            folder=folder,
            progress=Progress(quiet=job.quiet),
            timing=job.timing,
        )
    )


def _unlabelled(rows: UnlabelledRows, source: TrainedRun, network: Any, progress: Progress) -> Unlabelled:
    """At most MOST_UNLABELLED_ROWS of the rows, and torch's scores of them."""
    sample = Sample.of(rows, source.checkpoint.encoder(), at_most=MOST_UNLABELLED_ROWS)
    progress.say(f"{len(sample):,} of {len(rows):,} rows without labels are compared; {rows.dropped:,} had no text")
    with progress.step(f"torch on {len(sample):,} rows without labels", len(sample)) as tick:
        logits = reference_logits(network, sample, tick)
    return Unlabelled(sample=sample, scores=source.checkpoint.contract.labels.decode(logits))


def _write_config(source: TrainedRun, folder: Path) -> None:
    """config.json with our label names, and the tokenizer's files as both lanes read them: other tools agree with us.

    A chat template is left out: its name would become a file's name where another tool saves the tokenizer.
    """
    space = source.checkpoint.contract.labels
    config = read_json(source.checkpoint.path / "config.json")
    config["id2label"] = {str(number): name for number, name in enumerate(space.names)}
    config["label2id"] = {name: number for number, name in enumerate(space.names)}
    # Other tools apply a sigmoid to each label where this says multi, and a softmax where it says single.
    config["problem_type"] = f"{space.kind}_label_classification"
    write_json(folder / "config.json", config)
    for name in _COPIED:
        shutil.copyfile(source.checkpoint.path / name, folder / name)
    for name, clean in ((SETTINGS, clean_settings(folder)), (SPECIAL, clean_special(folder))):
        # Else the file stays byte for byte what training wrote.
        if clean != read_json(folder / name):
            write_json(folder / name, clean)
