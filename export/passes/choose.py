"""The fastest graph that is provably the same: exact passes, and ONNX Runtime's own fusions, kept by what they gain."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from export.passes import PASSES, PREPARING, apply_passes
from export.passes.flash_attention import FROM_TOKENS
from export.passes.graph_file import save_graph
from export.proof.measure import Measure, Variant
from export.proof.runtime import release_memory
from trainer.contract.encoding import Ints

# A pass goes where it is slower by this in every round, and so beyond doubt. Otherwise it stays, so that exports repeat
# byte for byte although timings never do.
LOSES = 1.05
# Switching fusions off must gain this much: nearer to 1 is noise. Switching one off never changes what is computed.
WINS = 1.015
# A fusion that loses everywhere, and goes without a race: its kernel adds up a row one number after another, where the
# two operators that it replaces take many at once.
LOST = ("SkipLayerNormFusion",)
# Fusions that lose on some processors: see export/README.md.
FUSIONS = ("BiasGeluFusion",)


@dataclass(frozen=True, kw_only=True)
class RowLimits:
    """What a graph is for."""

    longest: int
    """The most tokens of a row."""
    pairs: bool
    """Whether rows may be pairs of texts."""
    usual: float
    """Tokens of the row that a token stands in, on average: long rows count as often as they have tokens."""

    @classmethod
    def of(cls, lengths: Ints, longest: int, *, pairs: bool) -> "RowLimits":
        """For rows like those with so many tokens."""
        return cls(longest=longest, pairs=pairs, usual=float(np.square(lengths).sum() / lengths.sum()))


@dataclass(frozen=True, kw_only=True)
class Optimized:
    """A graph after its passes, the file it lies in, the passes that changed it, and what each gained where timed."""

    graph: onnx.ModelProto
    path: Path
    passes: tuple[str, ...]
    gains: dict[str, float]
    standard: Path
    """The same without operators that only ONNX Runtime has: those have no kernel for fp16 on a processor."""


def optimize(exported: Path, rows: RowLimits, measure: Measure, skip: tuple[str, ...]) -> Optimized:
    """Apply the passes to a file, one after another; what each leaves is written beside it.

    skip: passes to leave out. A pass that loses time here is left out too.
    """
    best, raced, standard = exported, exported, exported
    if rows.usual < FROM_TOKENS:
        # By lengths, not by a race: exports repeat byte for byte although timings never do.
        skip = (*skip, "flash_attention")
    passes: list[str] = []
    gains: dict[str, float] = {}
    for names in _groups(skip):
        with measure.progress.step(f"{'passes' if len(names) > 1 else 'pass'} {', '.join(names)}"):
            graph, applied = apply_passes(onnx.load(best), rows.longest, names, pairs=rows.pairs)
        release_memory()
        if not applied:
            continue
        path = exported.with_name(f"{applied[-1]}.onnx")
        save_graph(graph, path)
        if PREPARING.isdisjoint(applied) and measure.timing:
            (name,) = applied
            # Two sessions at a time: all of them at once would hold the weights as often.
            found = measure.race({"before": Variant(path=raced), name: Variant(path=path)})
            if found.always("before", over=name, by=LOSES):
                continue
            gains[name] = found.gain(name, over="before")
            raced = path
        best = path
        standard = standard if "flash_attention" in applied else path
        passes.extend(applied)
    return Optimized(graph=onnx.load(best), path=best, passes=tuple(passes), gains=gains, standard=standard)


def _groups(skip: tuple[str, ...]) -> list[list[str]]:
    """The passes in order: those that are never raced together, and each of the others alone."""
    names = [name for name in PASSES if name not in skip]
    preparing = [name for name in names if name in PREPARING]
    return [*([preparing] if preparing else []), *([name] for name in names if name not in PREPARING)]


def choose_settings(path: Path, measure: Measure) -> tuple[Variant, dict[str, float]]:
    """Switch off what loses on this machine. Returns the file with its settings, and what each gained."""
    best = Variant(path=path, disabled_optimizers=LOST)
    gains: dict[str, float] = {}
    for name in FUSIONS if measure.timing else ():
        trial = replace(best, disabled_optimizers=(*best.disabled_optimizers, name))
        gain = measure.race({"with": best, f"without {name}": trial}).gain(f"without {name}", over="with")
        if gain >= WINS:
            best, gains[f"without {name}"] = trial, gain
    return best, gains
