"""What every graph of an export is measured with: the same rows in the same batches, for parity and for speed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.bundle import Parity
from export.parity import Truth
from export.progress import Progress
from export.rows import GOLDEN_ROWS
from export.runtime import Logits, open_session, release_memory, run_batches
from export.source import Sample, spread
from export.timing import Race, race

TIMED_ROWS = 64
ROUNDS = 5


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A graph file and the optimizers of ONNX Runtime that are switched off for it."""

    path: Path
    disabled_optimizers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Measure:
    """sample, truth: the validation rows and torch's scores of them. timing: whether graphs are raced at all."""

    sample: Sample
    truth: Truth
    progress: Progress
    timing: bool = True

    def logits(self, variant: Variant) -> Logits:
        """A file's logits of the sample, in row order, [N, C]."""
        release_memory()
        session = open_session(variant.path, variant.disabled_optimizers)
        with self.progress.step(f"{variant.path.name} on the same rows", len(self.sample)) as tick:
            return self.sample.in_order(run_batches(session, self.sample.padded(), tick))

    def parity(self, variant: Variant) -> Parity:
        """How a file compares with torch. Raises GateError where it gives no numbers."""
        return self.truth.compare(self.logits(variant))

    def golden_difference(self, variant: Variant) -> float:
        """The largest probability difference from torch over the golden rows, batched as `serve check` batches them."""
        rows = spread(self.sample.encoded.lengths, GOLDEN_ROWS)
        golden = self.sample.subset(GOLDEN_ROWS)
        session = open_session(variant.path, variant.disabled_optimizers)
        found = self.truth.space.decode(golden.in_order(run_batches(session, golden.padded())))
        return float(np.abs(found.probabilities - self.truth.scores.probabilities[rows]).max())

    def race(self, variants: Mapping[str, Variant]) -> Race:
        """Graphs side by side, on rows of all lengths."""
        batches = self.sample.subset(TIMED_ROWS).padded()
        release_memory()
        sessions = {name: open_session(each.path, each.disabled_optimizers) for name, each in variants.items()}
        with self.progress.step(f"timing {' against '.join(variants)}"):
            return race(sessions, batches, ROUNDS)
