"""Which words of a text a label rests on: LIME and occlusion, with two figures that say whether to believe them.

LIME is that of Ribeiro et al. 2016 (arXiv 1602.04938), on the model's own batches and on log-odds: a trained encoder's
probabilities are so near 0 and 1 that they hardly move.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainer.contract.errors import ClassifactError
from trainer.contract.explaining.words import RowOfWords, Unit, cut_row
from trainer.contract.inputs import InputSpec
from trainer.contract.labels import LabelSpace
from trainer.contract.visible import probability

Method = Literal["lime", "occlusion"]
Floats = NDArray[np.float64]
Keeps = NDArray[np.bool_]
# As in the authors' code: exp(-d^2 / width^2) under a root, cosine distances from 0 to 100, ridge penalty 1.
_WIDTH = 25.0
_PENALTY = 1.0
# Log-odds that move less are rounding.
_FLAT = 1e-3
# The deletion test: sets of other words, and the log-odds by which the top words must beat their mean.
_DRAWS = 40
_MARGIN = 0.1
# Perturbed texts and their characters that are held at a time.
_ROWS = 512
_CHARS = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The model that is asked: a bundle's on ONNX Runtime, or a checkpoint's on torch."""

    labels: LabelSpace
    """What its logits mean."""
    input: InputSpec
    """How a record becomes its text."""
    logits: Callable[[Sequence[str], Sequence[str] | None], NDArray[np.float32]]
    """Texts and their pairs, if it takes pairs, to float32 [N, C]."""


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """How to explain."""

    labels: tuple[str, ...] = ()
    """Which to explain; none: those that the row is given, or would be if it were answered, else the likeliest."""
    samples: int = 1000
    """Perturbed texts that LIME's local model is fitted on."""
    seed: int = 0
    """Of the words that are left out at random."""
    by: Method = "lime"
    """Which method orders the words and chooses those of the deletion test."""


@dataclass(frozen=True, kw_only=True)
class Weight:
    """What one word does for the label."""

    unit: Unit
    """Where it stands."""
    word: str
    """Its text."""
    lime: float
    """Log-odds that the local model gives it: above 0 it speaks for the label."""
    occlusion: float
    """Log-odds that the label loses when this word alone is left out."""


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """The label's probability without its top words, against that without as many others."""

    words: int
    """How many are left out at once: a fifth, at least one."""
    draws: int
    """How often others were drawn."""
    before: float
    """Probability of the whole text."""
    without_top: float
    """Without the words that speak most for the label."""
    without_others: float
    """Without as many others, drawn at random: the mean."""
    matters: bool
    """Whether the top words lower the log-odds by 0.1 more than that, and by more than 95 % of the draws do."""

    def sentence(self, label: str) -> str:
        """The test in words."""
        which = "its top word" if self.words == 1 else f"its {self.words} top words"
        others = "another word" if self.words == 1 else f"{self.words} other words"
        figures = (
            f"Without {which} the probability of {label} goes from {probability(self.before)} to "
            f"{probability(self.without_top)}; without {others}, drawn at random, to "
            f"{probability(self.without_others)} (mean of {self.draws} draws)"
        )
        if self.matters:
            return f"{figures}. So these words move it more than others do."
        return f"{figures}. Other words do as well, so the list says little about this label."


@dataclass(frozen=True, kw_only=True)
class LabelExplanation:
    """Why one label has its probability."""

    label: str
    """Its name."""
    probability: float
    """Of the whole text."""
    given: bool
    """Whether the row is given this label; a row that is not answered is given none."""
    words: list[Weight]
    """The largest weight first, whatever its sign."""
    fit: float | None
    """R^2 of LIME's local model on perturbed texts that it was not fitted on; None where the label hardly moves."""
    deletion: Deletion | None
    """None where there are fewer than two words."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """One row, explained."""

    row: RowOfWords
    """Its texts, cut into words."""
    samples: int
    """Perturbed texts that the local models were fitted on."""
    labels: list[LabelExplanation]
    """In the order asked for, or of the bundle."""


def explain(model: Asked, record: Mapping[str, object], options: ExplainOptions) -> Explanation:
    """Explain the labels of one row: column to value.

    Raises BadRow where it cannot be scored, InputError for a label that is none, ClassifactError where the model gives
    NaN. The same call gives the same words and weights on one machine.
    """
    asked = [model.labels.id(name) for name in dict.fromkeys(options.labels)]
    row = cut_row(record, model.input)
    count = len(row.units)
    sampled = _sample(count, options)
    # The row itself, each word left out, then LIME's.
    keeps = np.concatenate([np.ones((1, count), dtype=np.bool_), ~np.eye(count, dtype=np.bool_), sampled])
    logits = _logits(model, row, keeps)
    scores = model.labels.decode(logits[:1])
    decided = scores.decisions[0]
    likely = np.flatnonzero(decided).tolist() if model.labels.kind == "multi" else [int(decided)]
    # A row that is not answered is given no label, and explained by those it would have.
    given = likely if scores.answered[0] else []
    asked = asked or likely or [int(scores.probabilities[0].argmax())]
    explained = []
    for label in asked:
        odds = log_odds(model.labels, logits, label)
        words, fit = _weights(row, odds, sampled)
        explained.append(
            LabelExplanation(
                label=model.labels.names[label],
                probability=float(str(scores.probabilities[0, label])),
                given=label in given,
                words=sorted(words, key=lambda word: -abs(_of(word, options))),
                fit=fit,
                deletion=_deletion(model, row, label, [_of(word, options) for word in words], options),
            )
        )
    return Explanation(row=row, samples=len(sampled), labels=explained)


def _of(word: Weight, options: ExplainOptions) -> float:
    return word.lime if options.by == "lime" else word.occlusion


def _weights(row: RowOfWords, odds: Floats, sampled: Keeps) -> tuple[list[Weight], float | None]:
    """Every word's weights in the order of the text, and the fit of the local model."""
    count = len(row.units)
    # The row itself is one of LIME's texts, and the nearest.
    keeps = np.concatenate([np.ones((1, count), dtype=np.bool_), sampled])
    lime, fit = local_model(keeps, np.concatenate([odds[:1], odds[count + 1 :]]))
    found = zip(row.units, lime.tolist(), (odds[0] - odds[1 : count + 1]).tolist(), strict=True)
    words = [Weight(unit=unit, word=row.shown(unit), lime=near, occlusion=alone) for unit, near, alone in found]
    return words, fit


def _sample(count: int, options: ExplainOptions) -> Keeps:
    """Which words LIME's texts keep, bool [S, W]: of each, 1 to W words are left out, each number as likely."""
    generator = np.random.default_rng(options.seed)
    if count == 0:
        return np.ones((0, 0), dtype=np.bool_)
    left_out = generator.integers(1, count + 1, options.samples)
    order = generator.random((options.samples, count)).argsort(axis=1).argsort(axis=1)
    return np.asarray(order >= left_out[:, None])


def local_model(keeps: Keeps, target: Floats) -> tuple[Floats, float | None]:
    """A ridge regression of the target [S] on the kept words, bool [S, W], weighted by nearness to the whole text.

    Returns each word's weight [W], and R^2 of texts that were left out of the fit, one at a time: with hundreds of
    words the fit on its own texts would flatter. One solve is enough, by the hat matrix (Allen 1974, PRESS).
    """
    if not keeps.shape[1]:
        return np.zeros(0), None
    # Cosine distance of 0 and 1 to all ones.
    distance = 100 * (1 - np.sqrt(keeps.mean(axis=1)))
    near = np.sqrt(np.exp(-((distance / _WIDTH) ** 2)))
    share = near / near.sum()
    # Centred, so that the intercept goes without penalty.
    centred = keeps - share @ keeps
    moved = target - share @ target
    inner = (centred * near[:, None]).T @ centred + _PENALTY * np.eye(keeps.shape[1])
    weights = np.linalg.solve(inner, centred.T @ (near * moved))
    if np.ptp(target) < _FLAT:
        return weights, None
    hat = share + near * np.einsum("sw,ws->s", centred, np.linalg.solve(inner, centred.T))
    missed = (moved - centred @ weights) / (1 - hat)
    missed_by_mean = moved / (1 - share)
    return weights, float(1 - (near @ missed**2) / (near @ missed_by_mean**2))


def log_odds(labels: LabelSpace, logits: NDArray[np.floating], label: int) -> Floats:
    """ln p / (1 - p) of one label, [N], of logits [N, C]: exact where the probability is 0 or 1 to the last digit."""
    scaled = logits.astype(np.float64) / labels.temperature
    if labels.kind == "multi":
        return np.asarray(scaled[:, label])
    others = np.delete(scaled, label, axis=1)
    return np.asarray(scaled[:, label] - np.logaddexp.reduce(others, axis=1))


def _deletion(
    model: Asked, row: RowOfWords, label: int, weights: list[float], options: ExplainOptions
) -> Deletion | None:
    count = len(weights)
    if count < 2:
        return None
    words = max(1, count // 5)
    order = np.argsort(-np.array(weights), kind="stable")
    generator = np.random.default_rng([options.seed, 1])
    keeps = np.ones((_DRAWS + 2, count), dtype=np.bool_)
    keeps[1, order[:words]] = False
    for keep in keeps[2:]:
        keep[generator.choice(order[words:], words, replace=False)] = False
    logits = _logits(model, row, keeps)
    odds = log_odds(model.labels, logits, label)
    chances = model.labels.decode(logits).probabilities[:, label]
    above = odds[2:] - odds[1]
    return Deletion(
        words=words,
        draws=_DRAWS,
        before=float(chances[0]),
        without_top=float(chances[1]),
        without_others=float(chances[2:].mean()),
        matters=bool(above.mean() >= _MARGIN and (above > 0).mean() >= 0.95),
    )


def _logits(model: Asked, row: RowOfWords, keeps: Keeps) -> NDArray[np.float32]:
    """Logits of the row with some words left out, float32 [N, C]. Raises ClassifactError where one is no number."""
    paired = row.spec.pair is not None
    found = []
    for part in _parts(row, keeps):
        read = [row.without(keep) for keep in part]
        pairs = [pair or "" for _, pair in read] if paired else None
        found.append(model.logits([text for text, _ in read], pairs))
    logits = np.concatenate(found)
    if not np.isfinite(logits).all():
        raise ClassifactError(
            "the model gives no number for a text with some words left out",
            do="use another precision (fp16 may overflow), or run `classifact check`",
        )
    return logits


def _parts(row: RowOfWords, keeps: Keeps) -> Iterator[Keeps]:
    """A few at a time: texts are made from them, and a text may be long."""
    size = max(1, min(_ROWS, _CHARS // max(1, sum(map(len, row.texts.values())))))
    for start in range(0, len(keeps), size):
        yield keeps[start : start + size]
