"""The bundle directory: what export leaves and serve opens. Text in it is data; nothing in it is executed.

manifest.json                                   everything below, hashed, with the figures it was accepted on
config.json tokenizer.json tokenizer_config.json special_tokens_map.json
onnx/model.onnx onnx/model_quantized.onnx onnx/model_fp16.onnx      one file a precision
golden.jsonl                                    validation rows with the logits of torch and of each ONNX file
reference.json                                  the training distribution that drift is measured against
README.md                                       model card
"""

import json
import platform
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from export.cascade.certificate import Cascade
from trainer.contract.checkpoint import Contract, from_json
from trainer.contract.encoding import TextEncoder
from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.schema import bounded
from trainer.contract.system.files import read_json, sha256, write_json
from trainer.contract.system.machine import cpu_count, cpu_flags

BUNDLE_SCHEMA = 2
VALIDATION, SYNTHETIC = "validation", "synthetic"
MANIFEST, GOLDEN, REFERENCE = "manifest.json", "golden.jsonl", "reference.json"
Precision = Literal["fp32", "int8", "fp16"]
# The most that a golden logit may move on another machine, as a share of the largest: a fifth of what halving does.
GOLDEN_CAP = 0.1
USUAL_BATCH = 32  # What libraries' examples score with, and so do most who export.
GRAPH_FILES = {"fp32": "onnx/model.onnx", "int8": "onnx/model_quantized.onnx", "fp16": "onnx/model_fp16.onnx"}
PACKED_FILE = "onnx/model_fp16_packed.onnx"


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How one file compares with torch in fp32 on the validation rows, and on rows without labels if there are any."""

    rows: int
    label_agreement: float
    """Share of rows with the same decision."""
    max_difference: float
    """The largest difference of a probability, over rows and labels."""
    p99_difference: float
    """99 % of those differences are at most this."""
    metric: str
    torch_value: float
    value: float
    drop: float
    """Torch's `metric` minus this file's (for a loss: the other way round), so positive is worse."""
    drop_low: float
    """The lower end of the drop's 95 % paired bootstrap interval."""
    drop_high: float
    unlabelled_rows: int = 0
    """Rows without labels (`--rows`) that agreement and differences were measured on beside the `rows`."""


@dataclass(frozen=True, kw_only=True)
class GoldenBounds:
    """How far a machine's scores of the golden rows may lie from those of the export."""

    logits: float
    """The largest difference of one from this file's own at export."""
    probabilities: float
    """The largest difference of one from this file's own at export."""
    from_torch: float
    """Root of the mean squared difference from torch's logits, which holds all that quantizing costs."""
    agreement: float
    """The least share of rows that are decided as torch decides them, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class GraphFile:
    """One ONNX file of a bundle."""

    file: str
    opset: int
    bytes: int
    parity: Parity
    instruction_set: str
    """That of the machine the figures were measured on."""
    golden: GoldenBounds
    """The bounds that `serve check` holds a machine to."""
    passes: tuple[str, ...] = ()
    """The exact rewrites applied, in order."""
    disabled_optimizers: tuple[str, ...] = ()
    """ONNX Runtime's own fusions that cost time on this graph and are switched off."""
    gains: dict[str, float] = field(default_factory=dict)
    """How many times faster some passes and settings made it, in processor time (passes are timed on fp32)."""
    speed: float | None = bounded(default=None, above=0)
    """How many times faster on the clock than fp32 as exported, opened with nothing set, in the same batches."""
    speed_over_usual: float | None = None
    """The same, over batches of USUAL_BATCH rows of about one length, as scored without a token budget."""
    rows_per_second: float | None = None
    """Validation rows a second in the best round. This and the speeds are None if nothing was timed."""
    max_drop: float | None = None  # The bound of the metric's drop that was asked for.
    quantization: str | None = None
    """How an int8 file was made."""
    kept_in_float: tuple[str, ...] = ()
    """The matrix products, and the look-up of words, that are not quantized."""


@dataclass(frozen=True, kw_only=True)
class ExportManifest:
    """What manifest.json holds."""

    name: str
    model_type: str
    contract: Contract
    graphs: dict[str, GraphFile]
    files: dict[str, str]
    """Relative path to SHA-256, for every file but the manifest."""
    batch_tokens: int
    """Padded tokens of a batch, at parity and in scoring: dynamic int8 scores depend on which rows share a batch."""
    versions: dict[str, str]
    training: dict[str, Any] = field(default_factory=dict)
    test_metrics: dict[str, Any] | None = None
    decisions: dict[str, Any] | None = None
    """How the contract's decisions were chosen, and what was shown of them; None where nothing was decided."""
    constant: dict[str, Any] | None = None
    """What the best answer that does not look at the text is worth, and whether the model beats it."""
    exporter: str = "optimum"
    """What wrote the graph; bundles that do not say were written by optimum."""
    unproven: dict[str, str] = field(default_factory=dict)
    """Files that no gate of the export could run, and why."""
    cascade: Cascade | None = None
    """The student that answers most rows without the encoder, and what was proven of it; None where there is none."""
    measured_on: dict[str, str] = field(default_factory=dict)
    """SHA-256 of weights and contract; bundles of earlier versions do not say."""
    golden: str = VALIDATION
    """Where golden rows are from: "validation" rows, or "synthetic" ones of made-up words."""

    def __post_init__(self) -> None:
        if not self.graphs or not {*self.graphs} <= {*GRAPH_FILES}:
            raise ValueError(f"graphs: expected some of {', '.join(GRAPH_FILES)}, found {', '.join(self.graphs)!r}")


@dataclass(frozen=True, kw_only=True)
class GoldenRow:
    """A row's token ids [T], torch's fp32 logits [C], and those of each ONNX file by precision: these tell a machine
    that computes otherwise from what quantizing costs everywhere.
    """

    text: str
    pair: str | None
    ids: tuple[int, ...]
    logits: tuple[float, ...]
    files: dict[str, tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """An opened bundle: checked once, then read only."""

    path: Path
    manifest: ExportManifest

    @property
    def contract(self) -> Contract:
        """How records become text, text tokens, and logits decisions."""
        return self.manifest.contract

    @classmethod
    def open(cls, path: Path) -> "Bundle":
        """Check schema, hashes and output width.

        Raises ArtifactError naming the first file that is not what the manifest says.
        """
        manifest = _read_manifest(path)
        # At once: hashing two large graphs takes most of the time to a scorer's first row. The first error is raised.
        with ThreadPoolExecutor(cpu_count()) as pool:
            list(pool.map(lambda file: _require_unchanged(path, *file), manifest.files.items()))
        needed = [graph.file for graph in manifest.graphs.values()] + ["tokenizer.json", "config.json", GOLDEN]
        needed += [] if manifest.cascade is None else [manifest.cascade.file]
        unlisted = [name for name in needed if name not in manifest.files]
        if unlisted:
            what = "the manifest gives no hash for a file that is needed"
            raise ArtifactError(what, where=path / MANIFEST, found=", ".join(unlisted), do="export again")
        config = read_json(path / "config.json")
        names = config.get("id2label") if isinstance(config, dict) else None
        width = len(names) if isinstance(names, dict) else 0
        if width != len(manifest.contract.labels):
            what, labels = "config.json and the manifest disagree on the labels", len(manifest.contract.labels)
            raise ArtifactError(what, where=path, found=f"{width} in config.json", expected=labels, do="export again")
        return cls(path=path, manifest=manifest)

    def graph(self, precision: str) -> GraphFile:
        """The entry of one precision. Raises InputError where the bundle does not hold it."""
        try:
            return self.manifest.graphs[precision]
        except KeyError:
            what, held = f"the bundle holds no {precision} file", [*self.manifest.graphs]
            do = f"export with --precision {','.join([*held, precision])}"
            raise InputError(what, where=self.path, found=", ".join(held), do=do) from None

    def graph_path(self, precision: str) -> Path:
        """Where the ONNX file of a precision lies; `open` has hashed it."""
        return self.path / self.graph(precision).file

    def encoder(self) -> TextEncoder:
        """The text encoder, with the truncation that training used."""
        return TextEncoder.open(self.path / "tokenizer.json", self.contract.encoding)

    def golden(self) -> list[GoldenRow]:
        """The golden rows, one or more. Raises ArtifactError where the file holds none, or what is no golden row."""
        where = self.path / GOLDEN
        lines = where.read_bytes().splitlines()
        if not lines:
            raise ArtifactError("the bundle has no golden row", where=where, do="export again")
        return [self._golden_row(line, f"{where}, line {number}") for number, line in enumerate(lines, 1)]

    def _golden_row(self, line: bytes, where: str) -> GoldenRow:
        try:
            row = from_json(GoldenRow, json.loads(line), where)
        except (ValueError, RecursionError) as error:
            told = str(error)[:200]
            raise ArtifactError("a golden row is not JSON", where=where, found=told, do="export again") from None
        wanted = {"torch": row.logits, **{name: row.files.get(name, ()) for name in self.manifest.graphs}}
        for name, logits in wanted.items():
            if len(logits) != len(self.contract.labels):
                what, labels = f"a golden row's logits of {name} do not fit the labels", len(self.contract.labels)
                raise ArtifactError(what, where=where, found=len(logits), expected=labels, do="export again")
        return row


def golden_logits(rows: list[GoldenRow], precision: str | None = None) -> NDArray[np.float32]:
    """The logits of a precision's file for the golden rows as they were at export; torch's where None; [N, C]."""
    return np.array([row.logits if precision is None else row.files[precision] for row in rows], dtype=np.float32)


def write_manifest(folder: Path, manifest: ExportManifest) -> None:
    """Write manifest.json, the last file of a bundle."""
    write_json(folder / MANIFEST, {"schema": BUNDLE_SCHEMA, **asdict(manifest), "contract": manifest.contract.plain()})


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under a folder but the manifest, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def instruction_set() -> str:
    """The widest integer instructions of this machine that ONNX Runtime's int8 kernels use.

    AVX512_VNNI, AVX_VNNI, AVX512, AVX2 or X86_64; on ARM64 NEON_I8MM, NEON_DOT or NEON; else the machine's own name.
    """
    machine, flags = platform.machine().lower(), cpu_flags()
    if machine in ("arm64", "aarch64"):
        known = {"i8mm": "NEON_I8MM", "asimddp": "NEON_DOT"}
        return next((name for flag, name in known.items() if flag in flags), "NEON")
    known = {"avx512_vnni": "AVX512_VNNI", "avx_vnni": "AVX_VNNI", "avx512bw": "AVX512", "avx2": "AVX2"}
    return next((name for flag, name in known.items() if flag in flags), machine.upper())


def _require_unchanged(folder: Path, name: str, expected: str) -> None:
    """Raise ArtifactError where a file is not the one that the manifest gives the hash of.

    A link may lead anywhere: the hub's cache keeps every file as a link to a blob, and what has the right hash is what
    the manifest's author had. Of a file elsewhere that has another hash nothing is told.
    """
    file = folder / name
    if not name or "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        do = "do not use this folder: it was tampered with"
        raise ArtifactError("a file name leads out of its folder", where=folder, found=repr(name), do=do)
    if not file.is_file():
        raise ArtifactError("a file of the bundle is missing", where=file, do="copy the folder, or export, again")
    if (found := sha256(file)) == expected:
        return
    inside = file.resolve().is_relative_to(folder.resolve())
    raise ArtifactError(
        "a file of the bundle was changed",
        where=file,
        found=f"sha256 {found[:16]}..." if inside else "a link to another file",
        expected=f"sha256 {expected[:16]}...",
        do="copy the folder again, or export again; a changed file is never scored with",
    )


def _read_manifest(path: Path) -> ExportManifest:
    if not (path / MANIFEST).is_file():
        do = "export this run, and name the bundle" if (path / "best.json").is_file() else "check the path"
        found, expected = f"no {MANIFEST}", "a folder that `classifact export` made"
        raise InputError("there is no bundle here", where=path, found=found, expected=expected, do=do)
    data = read_json(path / MANIFEST)
    if not isinstance(data, dict) or data.pop("schema", None) != BUNDLE_SCHEMA:
        raise ArtifactError(
            "the bundle has another schema",
            where=path / MANIFEST,
            expected=f"schema {BUNDLE_SCHEMA}",
            do="use the Classifact version that wrote it, or export again",
        )
    return from_json(ExportManifest, data, path / MANIFEST)
