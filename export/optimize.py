"""The fastest graph that is provably the same: exact passes, and ONNX Runtime's own fusions, each kept by its gain."""

from dataclasses import dataclass
from pathlib import Path

import onnx

from export.graph import save_graph
from export.measure import Measure, Variant
from export.passes import PASSES, apply_passes

# A pass below this loses beyond doubt; one between is kept, so that exports repeat although timings never do.
LOSES = 0.95
# Switching a fusion off must gain this much: nearer to 1 nothing is known.
WINS = 1.02
# Fusions of ONNX Runtime that were seen to lose on some processor: see export/README.md.
FUSIONS = ("SkipLayerNormFusion",)


@dataclass(frozen=True, kw_only=True)
class Optimized:
    """A graph after its passes, the file it lies in, and the gain of each pass that was kept.

    Gains are None where nothing was timed.
    """

    graph: onnx.ModelProto
    path: Path
    gains: dict[str, float | None]


def optimize(exported: Path, longest: int, measure: Measure, skip: tuple[str, ...]) -> Optimized:
    """Apply the passes to a file, one after another; what each leaves is written beside it.

    longest: the most tokens of a row. skip: passes to leave out.
    """
    kept: dict[str, float | None] = {}
    graph, before = onnx.load(exported), exported
    for name in (name for name in PASSES if name not in skip):
        with measure.progress.step(f"pass {name}"):
            graph, applied = apply_passes(graph, longest, [name])
        if not applied:
            continue
        after = exported.with_name(f"{name}.onnx")
        save_graph(graph, after)
        gain = _gain(measure, Variant(path=before), Variant(path=after))
        if gain is not None and gain < LOSES:
            graph = onnx.load(before)
            continue
        kept[name], before = gain, after
    return Optimized(graph=graph, path=before, gains=kept)


def choose_settings(path: Path, measure: Measure) -> tuple[Variant, dict[str, float]]:
    """Switch off what loses on this machine. Returns the file with its settings, and the gain of each."""
    best, gains = Variant(path=path), {}
    for name in FUSIONS:
        other = Variant(path=path, disabled_optimizers=(*best.disabled_optimizers, name))
        gain = _gain(measure, best, other)
        if gain is not None and gain >= WINS:
            best, gains[f"without {name}"] = other, gain
    return best, gains


def _gain(measure: Measure, before: Variant, after: Variant) -> float | None:
    if not measure.timing:
        return None
    return measure.race({"before": before, "after": after}).gain("after", over="before")
