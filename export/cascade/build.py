"""A student for a bundle: its rows scored by the bundle's own file, trained, certified, written, described."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.bundle import GraphFile
from export.cascade.certificate import (
    AGREEMENTS,
    VERSION,
    Cascade,
    MetricEffect,
    Realised,
    Target,
    answers,
    differing,
)
from export.cascade.certify import DELTA, certify_all
from export.cascade.rows import CascadeRows, Texts
from export.cascade.student import STUDENT_FILE, Student, write_student
from export.cascade.training import Taught, train_student
from export.cascade.windows import WINDOWS, windows
from export.proof.runtime import open_session, run_batches
from export.trained_run import BATCH_TOKENS, TrainedRun
from trainer.contract.encoding import Encoded, budget_batches
from trainer.contract.errors import GateError
from trainer.contract.figures import metrics
from trainer.contract.figures.exact import interval, rows_needed
from trainer.contract.figures.resample import Interval, resampled
from trainer.contract.inputs import row_key
from trainer.contract.labels import Scores
from trainer.contract.system.progress import Progress

# The file that teaches is the one that scores the other rows: on a processor int8, where there is one.
_PREFERRED = ("int8", "fp32", "fp16")
# Held rows that say how sure the student should be; fewer say too little, and rows that it learnt say too much.
_LEAST_HELD = 100


@dataclass(frozen=True, kw_only=True)
class CascadeJob:
    """What a student is made of."""

    source: TrainedRun
    rows: CascadeRows
    """What teaches it, sets its guards and measures the rest."""
    graphs: Mapping[str, GraphFile]
    """The bundle's files."""
    folder: Path
    """The bundle's."""
    progress: Progress
    timing: bool = True


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """What the teacher says of some rows, and the student."""

    encoder: Scores
    student: Scores

    def join(self, other: "_Compared") -> "_Compared":
        """These rows and others."""
        return _Compared(encoder=self.encoder.joined(other.encoder), student=self.student.joined(other.student))


class _Teacher:
    """The bundle's own file, in the batches that scoring would make of the rows."""

    def __init__(self, job: CascadeJob) -> None:
        self.precision = next(name for name in _PREFERRED if name in job.graphs)
        graph = job.graphs[self.precision]
        self._session = open_session(job.folder / graph.file, graph.disabled_optimizers)
        self._encoder, self._progress = job.source.checkpoint.encoder(), job.progress
        self.vocabulary, self.special = self._encoder.vocabulary, self._encoder.special_ids

    def teach(self, rows: Texts, what: str) -> Taught:
        """Read and score rows; see `score`."""
        return self.score(self._encoder.encode(rows.texts, rows.pairs), what)

    def score(self, encoded: Encoded, what: str) -> Taught:
        """Score N rows. Raises GateError where the file gives no numbers."""
        # Dynamic int8 depends on batch mates, so the teacher is asked in batches like those of scoring.
        order = np.argsort(-encoded.lengths, kind="stable")
        batches = budget_batches(encoded.lengths, order, BATCH_TOKENS)
        with self._progress.step(f"{self.precision} on {len(encoded):,} {what}", len(encoded)) as tick:
            found = run_batches(self._session, [self._encoder.pad(encoded, batch) for batch in batches], tick)
        logits = np.empty((len(encoded), found[0].shape[1]), dtype=np.float32)
        logits[np.concatenate(batches)] = np.concatenate(found)
        if not np.isfinite(logits).all():
            raise GateError("the encoder gives logits that are not numbers", do="export another --precision")
        return Taught(encoded=encoded, logits=logits)


def require_enough(rows: CascadeRows, source: TrainedRun) -> None:
    """Raise GateError where the rows are too few to prove any agreement, however the student comes out."""
    shares = 1 + len(answers(source.checkpoint.contract.labels))
    count, needed = len(_unseen(source, rows)) + len(rows.guards), rows_needed(1 - AGREEMENTS[0], DELTA / shares)
    if count < needed:
        raise GateError(
            "too few rows to prove an agreement of a student",
            where="rows that neither model was trained on",
            found=f"{count:,}",
            expected=f"at least {needed:,} for {AGREEMENTS[0]}",
            do="give more rows with --unlabelled, or leave out --cascade",
        )


def build_cascade(job: CascadeJob) -> Cascade:
    """Train and certify a student and write it into the bundle's folder.

    Raises GateError where the rows prove no agreement at all.
    """
    source, space, rows = job.source, job.source.checkpoint.contract.labels, job.rows
    teacher = _Teacher(job)
    validation = teacher.teach(Texts(texts=list(source.validation.texts), pairs=_pairs(source)), "validation rows")
    train = teacher.teach(rows.train, "rows that teach the student")
    held = _held(rows.unseen)
    taught = _some(train, ~held)
    taught = taught.join(teacher.score(windows(taught.encoded, teacher.special, WINDOWS), "windows of them"))
    with job.progress.step(f"training the student on {len(taught.encoded):,} rows and windows"):
        student = train_student(taught, _some(train, held), space, teacher.vocabulary)
    write_student(job.folder / STUDENT_FILE, student)

    def compare(taught: Taught) -> _Compared:
        """What both tiers say of some rows."""
        return _Compared(encoder=space.decode(taught.logits), student=space.decode(student.logits(taught.encoded)))

    labelled = compare(validation)
    fresh = _unseen(source, rows)
    guards = _Compared(encoder=labelled.encoder.take(fresh), student=labelled.student.take(fresh))
    if len(rows.guards):
        guards = guards.join(compare(teacher.teach(rows.guards, "rows that set the guards")))
    targets, missing = certify_all(guards.student, guards.encoder, space)
    if not targets:
        raise GateError(
            "no agreement of a student can be proven: no bundle was written",
            where=f"{len(guards.encoder.decisions):,} rows that neither model was trained on",
            found="; ".join(f"{agreement}: {why}" for agreement, why in missing.items()),
            do="give more rows with --unlabelled, or leave out --cascade",
        )
    further = compare(teacher.teach(rows.further, "further rows")) if len(rows.further) else None
    return Cascade(
        version=VERSION,
        file=STUDENT_FILE,
        precision=teacher.precision,
        confidence=1 - DELTA,
        student_rows=len(rows.train),
        agreement=guards.student.agreement(guards.encoder),
        targets=tuple(
            replace(target, realised=_realised(target, further, job), effect=_effect(target, labelled, job))
            for target in targets
        ),
        missing=missing,
        rows_per_second=_rate(student, train.encoded) if job.timing else None,
    )


def _pairs(source: TrainedRun) -> list[str] | None:
    return None if source.validation.pairs is None else list(source.validation.pairs)


def _held(unseen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which teaching rows are held back to fit one number on, bool [N]: a quarter of those that the encoder was not
    trained on; all of them where a quarter is too few; a tenth of all rows where these are too few as well.
    """
    if unseen.sum() < _LEAST_HELD:
        return np.asarray(np.arange(len(unseen)) % 10 == 0)
    some = np.cumsum(unseen) % 4 == 0 if unseen.sum() >= 4 * _LEAST_HELD else True
    return np.asarray(unseen & some)


def _unseen(source: TrainedRun, rows: CascadeRows) -> NDArray[np.int64]:
    """Validation rows that set guards: each text once, none that stands among the training rows."""
    texts, pairs = source.validation.texts, source.validation.pairs
    keys = [row_key(text, None if pairs is None else pairs[row]) for row, text in enumerate(texts)]
    # Backwards, so that of equal keys the first row is what remains.
    first = dict(zip(reversed(keys), reversed(range(len(keys))), strict=True))
    return np.array(
        [row for row, key in enumerate(keys) if first[key] == row and key not in rows.known], dtype=np.int64
    )


def _some(taught: Taught, rows: NDArray[np.bool_]) -> Taught:
    places, lengths = np.flatnonzero(rows), taught.encoded.lengths
    tokens = np.repeat(rows, lengths)
    encoded = Encoded(
        ids=taught.encoded.ids[tokens],
        types=taught.encoded.types[tokens],
        offsets=np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths[places])]),
        cut=taught.encoded.cut[places],
    )
    return Taught(encoded=encoded, logits=taught.logits[places])


def _realised(target: Target, further: _Compared | None, job: CascadeJob) -> Realised | None:
    if further is None:
        return None
    taken = target.takes(further.student, job.source.checkpoint.contract.labels)
    wrong = int((taken & differing(further.student, further.encoder)).sum())
    low, high = interval(wrong, len(taken))
    return Realised(rows=len(taken), wrong=wrong, low=low, high=high)


def _effect(target: Target, labelled: _Compared, job: CascadeJob) -> MetricEffect:
    """The metric that chose the checkpoint, of the encoder alone and of both, on the same resampled rows."""
    space, labels = job.source.checkpoint.contract.labels, job.source.validation.labels
    metric = job.source.checkpoint.metric
    taken = target.takes(labelled.student, space)
    mixed = Scores(
        probabilities=np.where(taken[:, None], labelled.student.probabilities, labelled.encoder.probabilities),
        decisions=np.where(
            taken if space.kind == "single" else taken[:, None], labelled.student.decisions, labelled.encoder.decisions
        ),
    )
    values = [metrics.compute(metric, each, labels, space) for each in (labelled.encoder, mixed)]
    draws = [resampled([metric], each, labels, space)[metric] for each in (labelled.encoder, mixed)]
    found = Interval.of(values[1] - values[0], draws[1] - draws[0])
    return MetricEffect(
        metric=metric,
        rows=len(labels),
        encoder=values[0],
        cascade=values[1],
        difference=found.value,
        low=found.low,
        high=found.high,
    )


def _rate(student: Student, encoded: Encoded) -> float:
    """Rows a second on one thread, at its best of three."""
    # The fastest round is the one that other processes disturbed least.
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        student.logits(encoded)
        best = min(best, time.perf_counter() - started)
    return round(len(encoded) / best, 1)
