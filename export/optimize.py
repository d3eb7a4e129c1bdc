"""The fastest graph that is provably the same: exact passes, and ONNX Runtime's own fusions, kept by what they gain."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import onnx

from export.measure import Measure, Variant
from export.passes import PASSES, apply_passes
from export.runtime import release_memory
from export.storage import save_graph

# Passes that together lose this much lose beyond doubt. Nearer to 1 they are kept, so that exports repeat byte for
# byte although timings never do.
LOSES = 0.95
# Switching fusions off must gain this much: nearer to 1 is noise. Switching one off never changes what is computed.
WINS = 1.015
# Fusions of ONNX Runtime that were seen to lose on some processor, the worst first: see export/README.md.
FUSIONS = ("SkipLayerNormFusion", "BiasGeluFusion")


@dataclass(frozen=True, kw_only=True)
class Optimized:
    """A graph after its passes, the file it lies in, the passes that changed it, and what each gained where timed."""

    graph: onnx.ModelProto
    path: Path
    passes: tuple[str, ...]
    gains: dict[str, float]


def optimize(exported: Path, longest: int, measure: Measure, skip: tuple[str, ...]) -> Optimized:
    """Apply the passes to a file, one after another; what each leaves is written beside it.

    longest: the most tokens of a row. skip: passes to leave out.
    """
    graph = onnx.load(exported)
    steps = {"as exported": Variant(path=exported)}
    for name in (name for name in PASSES if name not in skip):
        with measure.progress.step(f"pass {name}"):
            graph, applied = apply_passes(graph, longest, [name])
        if applied:
            steps[name] = Variant(path=exported.with_name(f"{name}.onnx"))
            save_graph(graph, steps[name].path)
        release_memory()
    gains, total = _gains(measure, steps)
    if total < LOSES:
        return Optimized(graph=onnx.load(exported), path=exported, passes=(), gains={})
    return Optimized(graph=graph, path=[*steps.values()][-1].path, passes=tuple([*steps][1:]), gains=gains)


def choose_settings(path: Path, measure: Measure) -> tuple[Variant, dict[str, float]]:
    """Switch off what loses on this machine. Returns the file with its settings, and what each gained."""
    steps = {"as it is": Variant(path=path)}
    for count, name in enumerate(FUSIONS, start=1):
        steps[f"without {name}"] = Variant(path=path, disabled_optimizers=FUSIONS[:count])
    gains, _ = _gains(measure, steps)
    best, reached, total = steps["as it is"], 1.0, 1.0
    kept = 0
    for count, (name, gain) in enumerate(gains.items(), start=1):
        total *= gain
        if total >= reached * WINS:
            best, reached, kept = steps[name], total, count
    return best, dict([*gains.items()][:kept])


def _gains(measure: Measure, steps: dict[str, Variant]) -> tuple[dict[str, float], float]:
    """How many times faster each step is than the one before, and the last than the first; untimed: none, 1."""
    if not measure.timing or len(steps) == 1:
        return {}, 1.0
    found = measure.race(steps)
    names = list(steps)
    gains = {name: found.gain(name, over=before) for before, name in itertools.pairwise(names)}
    return gains, found.gain(names[-1], over=names[0])
