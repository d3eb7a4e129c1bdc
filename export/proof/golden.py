"""The golden rows: which they are, what every file makes of them here, and how far another machine may be from that."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from export.bundle import GOLDEN_CAP, GoldenBounds
from export.proof.runtime import Logits, run_batches
from export.trained_run import BATCH_TOKENS, Sample, spread
from trainer.contract.encoding import Ints, budget_batches
from trainer.contract.labels import LabelSpace, Scores
from trainer.contract.system.files import json_bytes

# Golden rows where labels are few, and how many of them lie near a decision or, of the others, are at least taken.
GOLDEN_ROWS, NEAR_ROWS = 64, 32
# The least that a logit may move on another machine, as a share of the largest golden logit. In float it is rounding;
# in int8 a rounding may fall the other way; a GPU adds fp16's products in another precision, which was not measured.
FLOORS = {"fp32": 1e-4, "int8": 0.02, "fp16": 0.02}
# Half of the golden rows lie near a decision, where a rounding decides.
AGREEMENT_SLACK = 0.05


@dataclass(frozen=True, kw_only=True)
class GoldenScores:
    """What one file makes of the golden rows."""

    logits: Logits
    """[G, C], in the batches of `serve check`."""
    bounds: GoldenBounds
    """How far the scores of other machines may lie from these."""


@dataclass(frozen=True, kw_only=True)
class GoldenRows:
    """G rows of a sample."""

    sample: Sample
    logits: Logits
    """Torch's logits, [G, C]."""
    space: LabelSpace
    tokens: int = BATCH_TOKENS
    """The padded tokens of a batch of `serve check`."""

    @classmethod
    def of(cls, sample: Sample, logits: Logits, space: LabelSpace) -> "GoldenRows":
        """Choose them from rows with torch's logits [N, C]."""
        rows = golden_rows(sample, space.decode(logits), space)
        chosen = Sample.of(sample.rows.take(rows), sample.encoder, at_most=len(rows))
        return cls(sample=chosen, logits=logits[rows], space=space)

    def score(self, session: ort.InferenceSession, precision: str) -> GoldenScores:
        """Score the rows as `serve check` does, and in other batches, which says how far rounding moves this file."""
        own = self._run(session, self.tokens)
        # Another instruction set moves a file less than other batches do: see "Golden rows" in benchmarks/README.md.
        moved = [self._run(session, budget) for budget in (1, 4 * self.tokens)]
        largest = float(np.abs(own).max())
        floor, cap = FLOORS[precision] * largest, GOLDEN_CAP * largest
        bound = float(np.clip(max(np.abs(other - own).max() for other in moved), floor, cap))
        truth = self.space.decode(self.logits)
        return GoldenScores(
            logits=own,
            bounds=GoldenBounds(
                logits=bound,
                # Two logits that move by so much against each other move a probability by at most half of it.
                probabilities=bound / (2 * self.space.temperature),
                from_torch=_rms(own - self.logits)
                + float(np.clip(max(_rms(each - own) for each in moved), floor, cap)),
                # By the worst batching: other batch mates alone must not fail a sound machine.
                agreement=min(truth.agreement(self.space.decode(each)) for each in (own, *moved)) - AGREEMENT_SLACK,
            ),
        )

    def write(self, path: Path, files: Mapping[str, Logits]) -> None:
        """One JSON object a line: text, pair, token ids, torch's logits and those of each file, [G, C]."""
        pairs, encoded = self.sample.rows.pairs, self.sample.encoded
        lines = []
        for row, text in enumerate(self.sample.rows.texts):
            golden = {
                "text": text,
                "pair": None if pairs is None else pairs[row],
                "ids": encoded.ids[encoded.offsets[row] : encoded.offsets[row + 1]].tolist(),
                "logits": self.logits[row].tolist(),
                "files": {name: logits[row].tolist() for name, logits in files.items()},
            }
            lines.append(json_bytes(golden))
        path.write_bytes(b"\n".join([*lines, b""]))

    def _run(self, session: ort.InferenceSession, tokens: int) -> Logits:
        """Logits [G, C] in batches of so many padded tokens; a row longer than that stands alone."""
        lengths = self.sample.encoded.lengths
        batches = budget_batches(lengths, np.argsort(-lengths, kind="stable"), tokens)
        found = run_batches(session, [self.sample.encoder.pad(self.sample.encoded, batch) for batch in batches])
        logits = np.empty_like(self.logits)
        logits[np.concatenate(batches)] = np.concatenate(found)
        return logits


def golden_rows(sample: Sample, scores: Scores, space: LabelSpace) -> Ints:
    """Which rows become golden, ascending: some of all lengths, and for each label those nearest to its decision.

    Rows that are decided clearly look right on a machine that halves every logit. Of each label the nearest rows on
    both sides of its decision are taken, at least one of each; so many labels make more golden rows. Where rows may be
    left unanswered, so are those nearest to that. Equal texts are
    taken once: a scorer computes them once, and int8 scores depend on which rows share a batch.
    """
    pairs = sample.rows.pairs or [""] * len(sample)
    first: dict[tuple[str, str], int] = {}
    for row, key in enumerate(zip(sample.rows.texts, pairs, strict=True)):
        first.setdefault(key, row)
    rows = np.array(list(first.values()), dtype=np.int64)
    given, distance = decisions_and_margins(scores, space)
    count = max(1, NEAR_ROWS // (2 * len(space)))
    near = {
        row
        for label in range(len(space))
        for side in (rows[given[rows, label]], rows[~given[rows, label]])
        for row in side[np.argsort(distance[side, label], kind="stable")][:count].tolist()
    }
    if space.abstain is not None:
        # A machine may leave other rows unanswered, though it decides them alike.
        unsure = np.abs(scores.confidence - space.abstain.below)
        for side in (rows[scores.answered[rows]], rows[~scores.answered[rows]]):
            near.update(side[np.argsort(unsure[side], kind="stable")][: NEAR_ROWS // 4].tolist())
    of_all_lengths = rows[spread(sample.encoded.lengths[rows], max(NEAR_ROWS, GOLDEN_ROWS - len(near)))]
    return np.union1d(of_all_lengths, np.array(sorted(near), dtype=np.int64))


def decisions_and_margins(scores: Scores, space: LabelSpace) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which labels each row is given, and how far it is from the other answer for each label, both [N, C].

    In units of the logarithm of probability over threshold; for multi-label, of the odds over those of the threshold;
    of expected costs, where those decide.
    """
    # A probability of 0 in float32 is an underflow, not a certainty.
    tiny = np.finfo(np.float64).tiny
    probabilities = scores.probabilities.astype(np.float64)
    if space.kind == "multi":
        limits = np.array(space.thresholds or (0.5,) * len(space))
        odds = np.log(probabilities + tiny) - np.log(1 - probabilities + tiny)
        return scores.decisions.astype(np.bool_), np.abs(odds - np.log(limits) + np.log1p(-limits))
    weighed = np.log(probabilities + tiny) - np.log(np.array(space.thresholds or (1.0,) * len(space)))
    if space.costs is not None:
        weighed = -probabilities @ np.array(space.costs)
    ordered = np.sort(weighed, axis=1)
    # Beside the decided label stands the runner-up, beside every other label the decided one.
    best_other = np.where(weighed == ordered[:, -1:], ordered[:, -2:-1], ordered[:, -1:])
    return scores.decisions[:, None] == np.arange(len(space)), np.abs(weighed - best_other)


def _rms(differences: Logits) -> float:
    return float(np.sqrt(np.square(differences).mean()))
