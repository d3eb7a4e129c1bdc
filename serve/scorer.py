"""The scorer as a library: rows in, labels and probabilities out.

`Scorer` is the opened bundle, `Scores` (of the contract) what it says of many rows as arrays, `RowScore` what it says
of one row that may also be bad.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from operator import add
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

from export.bundle import Bundle
from export.cascade.certificate import Bools
from serve.reading.texts import ReadTexts, read_texts
from serve.scoring.batching import Encoding, Plan, WindowCascade, plan
from serve.scoring.cascade import OpenCascade
from serve.scoring.decided import ABSTAINED, decided_names, finite_rows
from serve.scoring.long_text import Prefix
from serve.scoring.session import CPU, open_sessions
from serve.scoring.settings import ScorerOptions, Settings, options_of
from serve.scoring.tables import rows_given, score_table
from serve.scoring.thresholds import with_thresholds
from serve.scoring.workers import Logits, Pending, Workers
from trainer.contract.errors import BadRow, ClassifactError, InputError
from trainer.contract.labels import Scores
from trainer.contract.system.machine import cpu_count

T = TypeVar("T")
# Rows that are planned together by the methods that take any number of texts.
_WINDOW = 4096
# Padded tokens of a GPU's batch: on an H200 three times the tokens a second that a processor's 512 reach; see `tune`.
_GPU_TOKENS = 32768


@dataclass(frozen=True, kw_only=True)
class RowScore:
    """One row of `Scorer.score_iter`, scored or not."""

    row: object
    """As it was given."""
    labels: tuple[str, ...]
    """Of single-label one name, of multi-label any number; none where the row has no answer."""
    probabilities: NDArray[np.float32] | None
    """float32 [C]; None where the row could not be scored."""
    reason: str | None = None
    """Why the row has no answer: "abstained" where it is not sure enough, which leaves its probabilities, else one of
    the words of a job's side file; None where it has one.
    """
    confidence: float | None = None
    """How sure the decision is (`Scores.confidence`), also where it is not given; None without scores."""
    scored_by: str | None = None
    """Where `agreement` was given: "student" or "encoder"."""


class Scorer:
    """An opened bundle that scores. Safe to use from several threads; close it, or use it as a context manager.

    Texts are read as the bundle's input says (HTML, Unicode); where that takes several columns, give mappings of
    columns to values, or texts that are joined already. Sentence pairs are tuples (text, pair) or mappings.
    """

    def __init__(self, bundle: Bundle, options: ScorerOptions) -> None:
        self.bundle = bundle
        self.thresholds = dict(options.thresholds)
        self.abstain = options.abstain
        labels = with_thresholds(bundle.contract.labels, self.thresholds)
        self.labels = labels if options.abstain else replace(labels, abstain=None)
        # A session opens outside of Python's lock: the tokenizer is read meanwhile.
        with ThreadPoolExecutor(1) as pool:
            opening = pool.submit(open_sessions, bundle, options.session)
            self.encoder = bundle.encoder()
            # One for each device: ONNX Runtime's sessions are safe to share, and each holds the weights once.
            sessions = opening.result()
        # A long text costs as much to tokenize as to score, and truncation drops most of its tokens.
        self._encoding = Encoding(encoder=self.encoder, prefix=Prefix(self.encoder))
        self._sessions = sessions
        self.session = sessions[0]
        self.cascade = OpenCascade.wanted(bundle, options, self.encoder, self.session.precision)
        on_processor = self.session.provider == CPU
        self.batch_tokens = options.batch_tokens or (bundle.manifest.batch_tokens if on_processor else _GPU_TOKENS)
        self.threads = options.session.threads
        # A GPU runs one batch at a time; the second thread prepares the next one meanwhile.
        own = max(1, cpu_count() // self.threads) if on_processor else 2
        self.workers_each = options.workers or own
        self._workers = Workers(sessions, self.workers_each, self.encoder)
        self.workers = self._workers.count
        spec = bundle.contract.input
        self._columns = spec.columns
        # What is given as plain text is joined already, so it is read as one column, by the same rules.
        self._plain = replace(spec, text=("text",), pair="pair" if spec.pair is not None else None)

    @classmethod
    def open(cls, path: str | Path, *, canary: bool = False, **settings: Unpack[Settings]) -> "Scorer":
        """Open a bundle for scoring.

        precision: "auto" (int8 on a processor where the bundle has it), "fp32", "int8" or "fp16".
        device: "auto", "cpu", "cuda", "cuda:1" or "cuda:0,1"; a device that the session does not get is an error,
            unless allow_cpu_fallback.
        workers, batch_tokens: as in `ScorerOptions`.
        thresholds: of some labels, in place of the bundle's; `with_thresholds` says how they decide.
        agreement: 0.995, say: the bundle's student answers the rows for which that share was proven. 1 or None: none.
        abstain: False to answer every row, also those that the bundle would leave unanswered.
        canary: score the bundle's golden rows first, as every job does; GateError where they score differently here.
        Raises InputError for a setting that cannot be.
        """
        scorer = cls(Bundle.open(Path(path)), options_of(**settings))
        if canary:
            # The check needs a scorer, so it cannot be imported above.
            from serve.operations.check import check, require_passed

            try:
                require_passed(check(scorer))
            except BaseException:
                scorer.close()
                raise
        return scorer

    def __enter__(self) -> "Scorer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers and free the devices. A closed scorer scores no more."""
        self._workers.close()
        for session in self._sessions:
            session.close()
        self._sessions = []

    def predict(self, texts: Iterable[object]) -> list[str | None] | list[list[str] | None]:
        """The label of each text (single-label), or its list of labels (multi-label); None where the bundle's rule
        leaves a text unanswered.
        """
        scores = self.scores(rows_given(texts, "predict", self._columns))
        named = zip(decided_names(self.labels, scores), scores.answered.tolist(), strict=True)
        if self.labels.kind == "single":
            return [names[0] if answered else None for names, answered in named]
        return [names if answered else None for names, answered in named]

    def predict_proba(self, texts: Iterable[object]) -> NDArray[np.float32]:
        """Probabilities, float32 [N, C], columns in the order of the bundle's labels."""
        return self.scores(rows_given(texts, "predict_proba", self._columns)).probabilities

    def predict_table(
        self, table: T, *, probabilities: bool = False, prefix: str = "", on_error: Literal["fail", "null"] = "fail"
    ) -> T:
        """A table of pandas, polars or pyarrow with the columns that a scored file has beside its own.

        probabilities: also a column p_NAME for each label. prefix: before the names of the columns that are added.
        on_error: a row that cannot be scored is an InputError that names the first of them ("fail"), or has nulls and
            its reason in one more column, `error` ("null").
        Raises InputError where the table lacks a column that makes the text, or has one that is added.
        """
        return score_table(self, table, probabilities=probabilities, prefix=prefix, on_error=on_error)

    def scores(self, texts: Iterable[object]) -> Scores:
        """Probabilities and decisions.

        Raises InputError naming the first row that is no text, ClassifactError where the model gives NaN.
        """
        rows = [self._checked(row, item) for row, item in enumerate(rows_given(texts, "scores", self._columns))]
        pairs = None if self._plain.pair is None else [pair or "" for _, pair in rows]
        logits = self._logits([text for text, _ in rows], pairs, None, self.cascade)
        broken = np.flatnonzero(~finite_rows(logits))
        if len(broken):
            raise ClassifactError(
                "the model gives no number for a row",
                where=f"row {broken[0]}",
                found=f"{len(broken)} of {len(logits)} rows",
                do="use another precision (fp16 may overflow), or run `classifact check`",
            )
        return self.labels.decode(logits)

    def score_iter(self, rows: Iterable[object], window: int = _WINDOW) -> Iterator[RowScore]:
        """Score rows (texts, mappings, tuples) as they come, in order, in memory that holds a few windows of them.

        Rows of a window are sorted and batched together; a row that cannot be scored is told of and does not stop the
        others.
        """
        pending: deque[tuple[list[object], ReadTexts, Pending]] = deque()
        source = iter(rows_given(rows, "score_iter", self._columns))
        while True:
            taken = list(islice(source, window))
            if taken:
                pending.append(self._begin(taken))
            # One window is scored while the next is read.
            if pending and (not taken or len(pending) > 1):
                yield from self._end(*pending.popleft())
            elif not taken:
                return

    def _begin(self, rows: list[object]) -> tuple[list[object], ReadTexts, Pending]:
        found = read_texts(rows, self._read, paired=self._plain.pair is not None)
        return rows, found, self.submit(found.texts, found.pairs)

    def _end(self, rows: list[object], found: ReadTexts, pending: Pending) -> Iterator[RowScore]:
        logits = pending.result()
        sound = finite_rows(logits)
        labels = self.labels
        # Rows that are no number are decoded as zeros and told of.
        scores = labels.decode(np.where(sound[:, None], logits, 0))
        by = [None if self.cascade is None else "student" if one else "encoder" for one in pending.plan.by_student]
        told = (decided_names(labels, scores), scores.answered.tolist(), scores.confidence.tolist(), by)
        scored = zip(*told, scores.probabilities, sound.tolist(), strict=True)
        for place, row in enumerate(rows):
            if place in found.bad:
                yield RowScore(row=row, labels=(), probabilities=None, reason=found.bad[place].reason)
                continue
            given, answered, sure, tier, probabilities, good = next(scored)
            if good:
                reason = None if answered else ABSTAINED
                known = {"reason": reason, "confidence": sure, "scored_by": tier}
                yield RowScore(row=row, labels=tuple(given), probabilities=probabilities, **known)
            else:
                yield RowScore(row=row, labels=(), probabilities=None, reason="nan_logits")

    def logits(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, batch_tokens: int | None = None
    ) -> Logits:
        """The encoder's logits of texts that were read already, float32 [N, C]; batch_tokens: the scorer's if None."""
        return self._logits(texts, pairs, batch_tokens, None)

    def _logits(
        self, texts: Sequence[str], pairs: Sequence[str] | None, batch_tokens: int | None, cascade: OpenCascade | None
    ) -> Logits:
        pending = []
        for start in range(0, len(texts), _WINDOW):
            second = None if pairs is None else pairs[start : start + _WINDOW]
            piece, both = texts[start : start + _WINDOW], None if cascade is None else WindowCascade(opened=cascade)
            window = plan(self._encoding, piece, second, batch_tokens or self.batch_tokens, both)
            pending.append(self._workers.submit(window, len(self.labels)))
        # Without texts there is no window, and numpy joins nothing.
        none = np.empty((0, len(self.labels)), dtype=np.float32)
        # An error names rows by their place among all texts.
        found = [window.result(partial(add, number * _WINDOW)) for number, window in enumerate(pending)]
        return np.concatenate([none, *found])

    def plan(self, texts: Sequence[str], pairs: Sequence[str] | None = None, audited: Bools | None = None) -> Plan:
        """A window's batches, not yet scored. audited: rows that the encoder answers whatever the student says, [N]."""
        both = None if self.cascade is None else WindowCascade(opened=self.cascade, audited=audited)
        return plan(self._encoding, texts, pairs, self.batch_tokens, both)

    def submit(self, texts: Sequence[str], pairs: Sequence[str] | None = None, audited: Bools | None = None) -> Pending:
        """Hand a window to the workers and return at once; see `plan`."""
        return self._workers.submit(self.plan(texts, pairs, audited), len(self.labels))

    @property
    def session_seconds(self) -> float:
        """Processor seconds that workers spent in the session so far (on a GPU: their waiting is not counted)."""
        return self._workers.session_seconds

    @property
    def batches_halved(self) -> int:
        """How many batches were cut in two because memory did not hold them; see `Workers`."""
        return self._workers.halved

    def _read(self, item: object) -> tuple[str, str | None]:
        """A row's text and pair. Raises BadRow."""
        if isinstance(item, Mapping):
            return self.bundle.contract.input.read(item)
        text, pair = item if isinstance(item, tuple) and self._plain.pair is not None else (item, None)
        return self._plain.read({"text": text, "pair": pair})

    def _checked(self, row: int, item: object) -> tuple[str, str | None]:
        try:
            return self._read(item)
        except BadRow as error:
            raise InputError("a row cannot be scored", where=f"row {row}", found=str(error)) from None
