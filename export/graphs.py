"""The ONNX files of a bundle: made, chosen by measuring, gated."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from export.bundle import FILES, GraphFile, Parity, instruction_set
from export.graph import export_graph
from export.int8 import Int8Search
from export.measure import TIMED_ROWS, Measure, Variant
from export.optimize import Optimized, Rows, choose_settings, optimize
from export.parity import Bounds, gate
from export.runtime import release_memory
from export.source import Source
from export.storage import move_graph, opset, save_graph


@dataclass(frozen=True, kw_only=True)
class GraphJob:
    """What files to make. bounds: of each precision, in the order they are made. skip: passes to leave out."""

    bounds: Mapping[str, Bounds]
    skip: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Made:
    """A file in the scratch folder, how it compares with torch, and how it was made."""

    variant: Variant
    parity: Parity
    golden_difference: float
    gains: dict[str, float]
    quantization: str | None = None
    kept_in_float: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Speed:
    """gains: of the settings, then of what made the file."""

    rows_per_second: float
    over_exported: float
    gains: dict[str, float]


def write_graphs(job: GraphJob, source: Source, measure: Measure, folder: Path) -> dict[str, GraphFile]:
    """Make, measure and gate the file of each precision, under `folder`.

    Raises GateError where one is not the same classifier.
    """
    with tempfile.TemporaryDirectory(dir=folder) as name:
        exported = Path(name) / "exported.onnx"
        release_memory()
        with measure.progress.step("exporting the graph"):
            save_graph(export_graph(source.checkpoint.path, exported.parent), exported)
        release_memory()
        contract = source.checkpoint.contract
        rows = Rows(longest=contract.encoding.max_tokens, pairs=contract.input.pair is not None)
        optimized = optimize(exported, rows, measure, job.skip)
        made: dict[str, _Made] = {}
        for precision, bounds in job.bounds.items():
            made[precision] = _float(optimized, measure) if precision == "fp32" else _int8(optimized, measure, bounds)
            gate(precision, made[precision].parity, bounds)
        speeds = _speeds(exported, made, measure)
        (folder / "onnx").mkdir()
        return {
            precision: _entry(precision, each, optimized, folder / FILES[precision], speeds.get(precision))
            for precision, each in made.items()
        }


def _float(optimized: Optimized, measure: Measure) -> _Made:
    variant, gains = choose_settings(optimized.path, measure)
    golden = measure.golden_difference(variant)
    return _Made(
        variant=variant, parity=measure.parity(variant), golden_difference=golden, gains=optimized.gains | gains
    )


def _int8(optimized: Optimized, measure: Measure, bounds: Bounds) -> _Made:
    scratch = optimized.path.parent
    best = Int8Search(graph=optimized.graph, measure=measure, bounds=bounds, scratch=scratch).best()
    return _Made(
        variant=best.variant,
        parity=best.parity,
        golden_difference=measure.golden_difference(best.variant),
        gains=best.gains,
        quantization=str(best.how),
        kept_in_float=best.how.keep,
    )


def _speeds(exported: Path, made: Mapping[str, _Made], measure: Measure) -> dict[str, _Speed]:
    """How fast each file is, beside the exported one as anybody opens it; empty without timing."""
    if not measure.timing:
        return {}
    plain = Variant(path=exported, plain=True)
    # Two races, since each session holds the weights; on the clock, so that every thread needs many batches.
    many = {"rows": 3 * TIMED_ROWS, "rounds": 3}
    settings = measure.race({"plain": plain, "exported": Variant(path=exported)}, **many)
    found = measure.race({"plain": plain, **{name: each.variant for name, each in made.items()}}, **many)
    return {
        name: _Speed(
            rows_per_second=found.rows_per_second(name),
            over_exported=found.speed(name, over="plain"),
            gains={"a thread a batch": settings.speed("exported", over="plain"), **each.gains},
        )
        for name, each in made.items()
    }


def _entry(precision: str, made: _Made, optimized: Optimized, path: Path, speed: _Speed | None) -> GraphFile:
    """Move a file to its place in the bundle and describe it."""
    move_graph(made.variant.path, path)
    onnx.checker.check_model(str(path), full_check=True)
    return GraphFile(
        file=FILES[precision],
        opset=opset(onnx.load(path, load_external_data=False)),
        bytes=sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*")),
        parity=made.parity,
        instruction_set=instruction_set(),
        # Another machine sums in another order: three times what was seen here, and a floor.
        golden_bound=max(1e-3 if precision == "fp32" else 0.05, 3 * made.golden_difference),
        passes=optimized.passes,
        disabled_optimizers=made.variant.disabled_optimizers,
        gains=speed.gains if speed else {},
        speed=speed.over_exported if speed else None,
        rows_per_second=speed.rows_per_second if speed else None,
        quantization=made.quantization,
        kept_in_float=made.kept_in_float,
    )
