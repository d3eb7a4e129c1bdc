"""What export reads: a training run's best checkpoint and its validation rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.unlabelled import UnlabelledRows
from trainer.contract.checkpoint import DECISIONS, Checkpoint
from trainer.contract.encoding import Batch, Encoded, Ints, TextEncoder, budget_batches
from trainer.contract.errors import ArtifactError
from trainer.contract.figures.stamped import SPLIT_SCHEMA, read_figures
from trainer.contract.labelled import LabelledRows
from trainer.contract.redact import file_names
from trainer.contract.system.files import read_json

SAMPLE_ROWS = 2_000
LEAST_GATE_ROWS = 32
# Small batches win on CPU, where a layer's activations then stay in the cache (export/README.md has the ratios), and
# int8 scores depend on batch mates: scoring takes the same budget by default.
BATCH_TOKENS = 512
_STAYING = ("curves", "mismatches", "predictions")


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A training run as export reads it."""

    name: str
    """That of the run's folder."""
    checkpoint: Checkpoint
    """The best one."""
    validation: LabelledRows
    """The rows that the gates measure on."""
    training: dict[str, Any]
    """The run's own figures, for the manifest and the card."""
    test_metrics: dict[str, Any] | None
    """What `evaluate` wrote of the test split, if it was run."""
    decisions: dict[str, Any] | None = None
    """What `decide` wrote, if it was run."""

    @classmethod
    def open(cls, run: Path) -> "TrainedRun":
        """Read a run and check its best checkpoint.

        Raises InputError where there is no run, ArtifactError where a file of it is missing or damaged, or the
        validation rows are too few to prove anything with, or its test figures or decisions are of other weights.
        """
        checkpoint = Checkpoint.best(run)
        checkpoint.verify()
        validation = LabelledRows.open(run / "splits" / "validation.jsonl", checkpoint.contract.labels)
        if len(validation) < LEAST_GATE_ROWS:
            raise ArtifactError(
                "too few validation rows to prove an export with",
                where=run / "splits" / "validation.jsonl",
                found=len(validation),
                expected=f"at least {LEAST_GATE_ROWS}",
                do="train again with a larger validation split",
            )
        tested, decided = run / "test_metrics.json", run / DECISIONS
        figures = read_figures(tested, checkpoint, schema=SPLIT_SCHEMA) if tested.is_file() else None
        return cls(
            name=run.resolve().name,
            checkpoint=checkpoint,
            validation=validation,
            training=_named(run / "splits" / "splits.json"),
            test_metrics=None if figures is None else _travelling(figures),
            decisions=_without_curves(decided, checkpoint) if decided.is_file() else None,
        )


def _named(path: Path) -> dict[str, Any]:
    """The run's figures of its rows, the files without the folders that they lie in."""
    training = read_json(path)
    files = training.get("files", []) if isinstance(training, dict) else None
    if not isinstance(files, list) or not all(
        isinstance(each, dict) and isinstance(each.get("file"), str) for each in files
    ):
        do = "restore it from a copy, or train again"
        raise ArtifactError("the file does not tell which rows the run learnt from", where=path, do=do)
    names = file_names([each["file"] for each in files])
    return {**training, "files": [{**each, "file": names[each["file"]]} for each in files]}


def _travelling(figures: dict[str, Any]) -> dict[str, Any]:
    """The test figures that a bundle takes along: not the points of curves, not what lies in the run's own files, and
    no slice by a column of the rows, whose cells may be names of people.
    """
    taken = {name: value for name, value in figures.items() if name not in _STAYING}
    slices = figures.get("slices")
    if slices and slices["columns"]:
        taken["slices"] = slices | {"found": [part for part in slices["found"] if not part["column"]]}
        # The tree may have asked for that column.
        del taken["worst_slices"]
    return taken


def _without_curves(path: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    found = read_figures(path, checkpoint, do="decide again (`classifact decide RUN`), or move the file away")
    return {name: value for name, value in found.items() if name not in ("curves", "estimate")}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Rows to measure on, encoded and cut into the batches that scoring would make of them."""

    rows: LabelledRows | UnlabelledRows
    encoder: TextEncoder
    encoded: Encoded
    batches: list[Ints]
    """Row numbers of each batch, longest rows first, at most BATCH_TOKENS padded tokens: the batches that scoring makes
    of these rows, since int8 scores depend on batch mates.
    """
    chosen: Ints
    """Which of the rows that were given they are."""

    @classmethod
    def of(cls, rows: LabelledRows | UnlabelledRows, encoder: TextEncoder, *, at_most: int = SAMPLE_ROWS) -> "Sample":
        """At most `at_most` of the rows, evenly spread over all lengths, the shortest and the longest among them."""
        # Encoded twice: once for the lengths that choose, once in the order of what was chosen.
        chosen = spread(encoder.encode(rows.texts, rows.pairs).lengths, at_most)
        taken = rows.take(chosen)
        encoded = encoder.encode(taken.texts, taken.pairs)
        order = np.argsort(-encoded.lengths, kind="stable")
        batches = budget_batches(encoded.lengths, order, BATCH_TOKENS)
        return cls(rows=taken, encoder=encoder, encoded=encoded, batches=batches, chosen=chosen)

    def __len__(self) -> int:
        return len(self.rows)

    def within(self, tokens: int, most: int) -> int:
        """How many of the rows have so many tokens, on average; at least one, at most `most`."""
        return int(np.clip(tokens / self.encoded.lengths.mean(), 1, most))

    def subset(self, at_most: int) -> "Sample":
        """Fewer of the rows, spread over all lengths again."""
        return Sample.of(self.rows, self.encoder, at_most=at_most)

    def blocks(self, count: int, rows: int) -> "Sample":
        """So many times `rows` rows of nearly one length, spread over all lengths: of any batch size there is little
        padding in them, as among the many rows that scoring sorts.
        """
        order = np.argsort(-self.encoded.lengths, kind="stable")
        starts = np.linspace(0, max(0, len(order) - rows), count).round().astype(np.int64)
        # Blocks of few rows overlap, and no row is timed twice.
        chosen = np.unique(np.concatenate([order[start : start + rows] for start in starts.tolist()]))
        return Sample.of(self.rows.take(chosen), self.encoder)

    def padded(self, rows: int | None = None) -> list[Batch]:
        """The batches as arrays; where `rows` is given, batches of so many rows instead, longest first too."""
        batches = self.batches
        if rows is not None:
            order = np.concatenate(self.batches)
            batches = [order[start : start + rows] for start in range(0, len(order), rows)]
        return [self.encoder.pad(self.encoded, batch) for batch in batches]

    def in_order(self, results: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Logits of each batch, put back into row order, [N, C]."""
        logits = np.empty((len(self), results[0].shape[1]), dtype=np.float32)
        logits[np.concatenate(self.batches)] = np.concatenate(results)
        return logits


def spread(lengths: Ints, at_most: int) -> Ints:
    """Row numbers, ascending, of at most `at_most` rows spaced evenly over the rows sorted by length."""
    order = np.argsort(lengths, kind="stable")
    places = np.linspace(0, len(order) - 1, min(at_most, len(order))).round().astype(np.int64)
    return np.sort(order[places])
