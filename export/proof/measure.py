"""What every graph of an export is measured with: the same rows in the same batches, for parity and for speed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import onnxruntime as ort

from export.bundle import Parity
from export.proof.golden import GoldenRows, GoldenScores
from export.proof.parity import Truth
from export.proof.runtime import Logits, open_plain_session, open_session, release_memory, run_batches
from export.proof.timing import Race, race
from export.trained_run import Sample
from trainer.contract.labels import Scores
from trainer.contract.system.progress import Progress

# What a race scores in a turn: at most so many rows, fewer where they are long, so that all races take about as long.
TIMED_ROWS, TIMED_TOKENS = 48, 4096
TIMING_ROUNDS = 4


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A graph file, and how it is run."""

    path: Path
    disabled_optimizers: tuple[str, ...] = ()
    """Optimizers of ONNX Runtime that are switched off for it."""
    plain: bool = False
    """Whether it is run as by anybody who opens the file and sets nothing."""
    batch_rows: int | None = None
    """Rows of a batch; None: the batches that scoring makes."""


@dataclass(frozen=True, kw_only=True)
class Unlabelled:
    """Rows that serve for agreement alone."""

    sample: Sample
    scores: Scores
    """torch's."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """The rows, the truth, and how graphs are compared on them."""

    sample: Sample
    """The validation rows."""
    truth: Truth
    """Torch's scores of the sample."""
    progress: Progress
    timing: bool = True
    """Whether graphs are raced at all."""
    unlabelled: Unlabelled | None = None
    made_golden: GoldenRows | None = None
    """Golden rows that are not validation rows."""

    @property
    def golden_rows(self) -> GoldenRows:
        """What `serve check` compares a machine by."""
        return self.made_golden or GoldenRows.of(self.sample, self.truth.logits, self.truth.space)

    def logits(self, variant: Variant, sample: Sample | None = None) -> Logits:
        """A file's logits in row order, [N, C], of the sample where no other is given."""
        sample = sample or self.sample
        release_memory()
        session = open_session(variant.path, variant.disabled_optimizers)
        with self.progress.step(f"{variant.path.name} on the same rows", len(sample)) as tick:
            return sample.in_order(run_batches(session, sample.padded(), tick))

    def parity(self, variant: Variant) -> Parity:
        """How a file compares with torch. Raises GateError where it gives no numbers."""
        more = self.unlabelled
        if more is None:
            return self.truth.compare(self.logits(variant))
        logits = self.logits(variant)
        return self.truth.compare(logits, (more.scores, self.truth.decode(self.logits(variant, more.sample))))

    def golden(self, variant: Variant, precision: str) -> GoldenScores:
        """What a file makes of the golden rows, batched as `serve check` batches them."""
        session = open_session(variant.path, variant.disabled_optimizers)
        return self.golden_rows.score(session, precision)

    def race(self, variants: Mapping[str, Variant], sample: Sample | None = None, rounds: int = TIMING_ROUNDS) -> Race:
        """Graphs side by side, on the same rows: a few of all lengths where no others are given."""
        rows = sample or self.sample.subset(self.sample.within(TIMED_TOKENS, TIMED_ROWS))
        release_memory()
        # A session holds the weights: one for each file, however many ways it is run in.
        opened = cache(_opened)
        runners: dict[str, Callable[[], object]] = {
            name: partial(
                run_batches,
                opened(replace(each, batch_rows=None)),
                rows.padded(each.batch_rows),
                # A plain session has every core at work on one batch, so batches come one after another.
                threads=1 if each.plain else None,
            )
            for name, each in variants.items()
        }
        with self.progress.step(f"timing {' against '.join(variants)}"):
            return race(runners, rows=len(rows), rounds=rounds)


def _opened(variant: Variant) -> ort.InferenceSession:
    if variant.plain:
        return open_plain_session(variant.path)
    return open_session(variant.path, variant.disabled_optimizers)
