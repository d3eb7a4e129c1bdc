"""The ONNX files of a bundle: made, chosen by measuring, gated."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from export.bundle import GOLDEN, GRAPH_FILES, PACKED_FILE, USUAL_BATCH, GraphFile, Parity, instruction_set
from export.exporters.choose import export_graph
from export.fp16 import packing
from export.fp16.convert import Half, extreme, to_half
from export.int8.choose import Int8Search
from export.passes.choose import Optimized, RowLimits, choose_settings, optimize
from export.passes.graph_file import move_graph, opset, save_graph
from export.proof.golden import GoldenScores
from export.proof.measure import Measure, Variant
from export.proof.parity import ParityBounds, gate
from export.proof.runtime import release_memory
from export.trained_run import TrainedRun

# Blocks of rows that files are timed on, of a usual batch each: at most so many, fewer where rows are long.
_BLOCKS, _BLOCK_TOKENS = 5, 16_384


@dataclass(frozen=True, kw_only=True)
class GraphJob:
    """What files to make."""

    bounds: Mapping[str, ParityBounds]
    """The gates of each precision, in the order they are made."""
    exporter: str
    """What writes the graph, one of EXPORTERS."""
    skip: tuple[str, ...] = ()
    """Passes to leave out."""
    packing: bool = False
    """Whether to write the padding-free form too."""


@dataclass(frozen=True, kw_only=True)
class _Made:
    """A file in the scratch folder, how it compares with torch, and how it was made."""

    variant: Variant
    parity: Parity
    golden: GoldenScores
    passes: tuple[str, ...]
    gains: dict[str, float]
    quantization: str | None = None
    kept_in_float: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Speed:
    """How fast a file is beside the exported one, and in rows."""

    rows_per_second: float
    over_exported: float
    """In the same batches."""
    over_usual: float
    """In batches of 32."""


def write_graphs(job: GraphJob, source: TrainedRun, measure: Measure, folder: Path) -> dict[str, GraphFile]:
    """Make, measure and gate the file of each precision, and write them and the golden rows into `folder`.

    Raises GateError where one is not the same classifier.
    """
    with tempfile.TemporaryDirectory(dir=folder) as name:
        exported = Path(name) / "exported.onnx"
        release_memory()
        with measure.progress.step(f"exporting the graph with {job.exporter}"):
            save_graph(export_graph(source.checkpoint.path, exported.parent, job.exporter), exported)
        release_memory()
        contract = source.checkpoint.contract
        lengths, pairs = measure.sample.encoded.lengths, contract.input.pair is not None
        rows = RowLimits.of(lengths, contract.encoding.max_tokens, pairs=pairs)
        optimized = optimize(exported, rows, measure, job.skip)
        graphs = _Graphs(exported=exported, optimized=optimized, rows=rows, measure=measure)
        made: dict[str, _Made] = {}
        for precision, bounds in job.bounds.items():
            made[precision] = graphs.make(precision, bounds)
            # At once: fp32 comes first, and where the graph itself is wrong no other file is worth its minutes.
            gate(precision, made[precision].parity, bounds)
        speeds = _speeds(exported, made, measure)
        # All have passed: from here on files move into the bundle.
        (folder / "onnx").mkdir()
        if job.packing:
            save_graph(graphs.packed(), folder / PACKED_FILE)
        measure.golden_rows.write(folder / GOLDEN, {precision: each.golden.logits for precision, each in made.items()})
        return {
            precision: replace(
                _entry(precision, each, folder / GRAPH_FILES[precision], speeds.get(precision)),
                max_drop=job.bounds[precision].max_drop,
            )
            for precision, each in made.items()
        }


@dataclass(frozen=True, kw_only=True)
class _Graphs:
    """The exported graph and its optimized form, both in a scratch folder, and what each precision makes of them."""

    exported: Path
    optimized: Optimized
    rows: RowLimits
    measure: Measure

    def make(self, precision: str, bounds: ParityBounds) -> _Made:
        """The file of a precision, in the scratch folder."""
        return {"fp32": self._float, "int8": self._int8, "fp16": self._half}[precision](bounds)

    def packed(self) -> onnx.ModelProto:
        """The padding-free form of fp16. Every layer works on every token: rows are put together after the last."""
        with self.measure.progress.step("padding-free fp16"):
            return packing.pack(self._to_half(passes=()).graph)

    def _float(self, _bounds: ParityBounds) -> _Made:
        variant, gains = choose_settings(self.optimized.path, self.measure)
        return self._made("fp32", variant, passes=self.optimized.passes, gains=self.optimized.gains | gains)

    def _int8(self, bounds: ParityBounds) -> _Made:
        scratch = self.exported.parent
        best = Int8Search(graph=self.optimized.graph, measure=self.measure, bounds=bounds, scratch=scratch).best()
        return _Made(
            variant=best.variant,
            parity=best.parity,
            golden=self.measure.golden(best.variant, "int8"),
            passes=self.optimized.passes,
            gains=best.gains,
            quantization=str(best.how),
            kept_in_float=best.how.keep,
        )

    def _half(self, _bounds: ParityBounds) -> _Made:
        with self.measure.progress.step("converting to fp16"):
            made = self._to_half(passes=("first_token",))
            variant = Variant(path=self.exported.with_name("half.onnx"))
            save_graph(made.graph, variant.path)
        # Fused, it was made of the graph as exported, with this one pass.
        standard = tuple(name for name in self.optimized.passes if name != "flash_attention")
        passes = ("fuse_attention", "first_token") if made.fused else standard
        return self._made("fp16", variant, passes=passes, gains={}, kept_in_float=made.kept)

    def _to_half(self, *, passes: tuple[str, ...]) -> Half:
        batches = extreme(self.measure.sample, self.measure.truth.scores.probabilities)
        graph = onnx.load(self.optimized.standard)
        return to_half(onnx.load(self.exported), graph, self.rows.longest, batches, passes=passes)

    def _made(self, precision: str, variant: Variant, **figures: Any) -> _Made:
        return _Made(
            variant=variant,
            parity=self.measure.parity(variant),
            golden=self.measure.golden(variant, precision),
            **figures,
        )


def _speeds(exported: Path, made: Mapping[str, _Made], measure: Measure) -> dict[str, _Speed]:
    """How fast each file is, beside the exported one as anybody opens it; empty without timing.

    fp16 is for GPUs: a processor that emulates it says nothing.
    """
    timed = {name: each for name, each in made.items() if name != "fp16"}
    if not measure.timing or not timed:
        return {}
    plain = Variant(path=exported, plain=True)
    usual = replace(plain, batch_rows=USUAL_BATCH)
    # On the clock, so that every thread needs many batches.
    blocks = measure.sample.within(_BLOCK_TOKENS, _BLOCKS * USUAL_BATCH) // USUAL_BATCH
    many = measure.sample.blocks(max(2, blocks), USUAL_BATCH)
    files = {name: each.variant for name, each in timed.items()}
    found = measure.race({"plain": plain, f"batches of {USUAL_BATCH}": usual, **files}, many, rounds=3)
    return {
        name: _Speed(
            rows_per_second=found.rows_per_second(name),
            over_exported=found.speed(name, over="plain"),
            over_usual=found.speed(name, over=f"batches of {USUAL_BATCH}"),
        )
        for name, each in timed.items()
    }


def _entry(precision: str, made: _Made, path: Path, speed: _Speed | None) -> GraphFile:
    """Move a file to its place in the bundle and describe it."""
    move_graph(made.variant.path, path)
    # In its place, with its external data: the file that is shipped, not the one that was raced.
    onnx.checker.check_model(str(path), full_check=True)
    return GraphFile(
        file=GRAPH_FILES[precision],
        opset=opset(onnx.load(path, load_external_data=False)),
        # With the weights beside it, where a large graph has them there.
        bytes=sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*")),
        parity=made.parity,
        instruction_set=instruction_set(),
        golden=made.golden.bounds,
        passes=made.passes,
        disabled_optimizers=made.variant.disabled_optimizers,
        gains=made.gains,
        speed=speed.over_exported if speed else None,
        speed_over_usual=speed.over_usual if speed else None,
        rows_per_second=speed.rows_per_second if speed else None,
        quantization=made.quantization,
        kept_in_float=made.kept_in_float,
    )
