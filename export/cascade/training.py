"""The student's training: a bag of word pieces and pairs of them, fitted to the encoder's own probabilities.

Soft labels are the teacher's probabilities (Hinton et al. 2015, arXiv 1503.02531), of rows and of windows of rows. One
thread and one seed: the same rows give the same bytes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 -- as everybody names it
from numpy.typing import NDArray

from export.cascade.student import Student, pair_buckets
from trainer.contract.encoding import Encoded, Ints
from trainer.contract.labels import LabelSpace
from trainer.contract.pieces import ragged

# Chosen on AG News and the SMS example by coverage at 0.995 (export/README.md has what else was tried).
HIDDEN, BUCKETS = 64, 2**16
EPOCHS, LEAST_STEPS, BATCH_ROWS, RATE = 6, 800, 128, 0.01
# Logarithms of weights are kept between minus this and this, so that half precision holds them.
_MOST_WEIGHT = 4.0
_SEED = 0
# Scales of the logits that are tried; a student that learnt its rows by heart is surer than it should be.
_SCALES = np.exp(np.linspace(np.log(0.1), np.log(4.0), 60))


@dataclass(frozen=True, kw_only=True)
class Taught:
    """N rows and what the teacher says of them."""

    encoded: Encoded
    logits: NDArray[np.float32]
    """[N, C]"""

    def join(self, other: "Taught") -> "Taught":
        """These rows and others."""
        ours, theirs = self.encoded, other.encoded
        encoded = Encoded(
            ids=np.concatenate([ours.ids, theirs.ids]),
            types=np.concatenate([ours.types, theirs.types]),
            offsets=np.concatenate([ours.offsets, ours.offsets[-1] + theirs.offsets[1:]]),
            cut=np.concatenate([ours.cut, theirs.cut]),
        )
        return Taught(encoded=encoded, logits=np.concatenate([self.logits, other.logits]))


def train_student(rows: Taught, held: Taught, space: LabelSpace, vocabulary: int) -> Student:
    """A student of the rows. held: rows beside them, on which the scale of its logits is fitted.

    vocabulary: the number of word pieces.
    """
    with _one_thread():
        student = _fit(rows, space, vocabulary)
    return scaled(student, held, space)


def scaled(student: Student, held: Taught, space: LabelSpace) -> Student:
    """The student with its logits scaled so that their probabilities come nearest to the teacher's on the held rows."""
    logits = student.logits(held.encoded)
    truth = space.decode(held.logits).probabilities.astype(np.float64)
    losses = [_loss(space.decode(logits * np.float32(scale)).probabilities, truth, space) for scale in _SCALES]
    best = np.float32(_SCALES[int(np.argmin(losses))])
    return replace(student, output=student.output * best, output_bias=student.output_bias * best)


def _loss(given: NDArray[np.float32], truth: NDArray[np.float64], space: LabelSpace) -> float:
    likely = np.clip(given.astype(np.float64), 1e-9, 1 - 1e-9)
    found = truth * np.log(likely)
    if space.kind == "multi":
        found += (1 - truth) * np.log1p(-likely)
    return -float(found.sum(axis=1).mean())


@dataclass(frozen=True, kw_only=True)
class _Bags:
    """Feature numbers of N rows, flat, of the F different ones that occur."""

    features: Ints
    """What each number stands for, [F]: a word piece, or the vocabulary's size plus a bucket."""
    numbers: Ints
    offsets: Ints

    @classmethod
    def of(cls, encoded: Encoded, vocabulary: int) -> "_Bags":
        """Each row's pieces and, in buckets above the vocabulary, its pairs of neighbours."""
        buckets, pairs = pair_buckets(encoded.ids, encoded.lengths, BUCKETS)
        lengths = encoded.lengths + pairs
        # Stable, so that a row's pieces stand before its pairs.
        rows = np.repeat(np.tile(np.arange(len(pairs)), 2), np.concatenate([encoded.lengths, pairs]))
        flat = np.concatenate([encoded.ids.astype(np.int64), buckets + vocabulary])[np.argsort(rows, kind="stable")]
        features, numbers = np.unique(flat, return_inverse=True)
        return cls(features=features, numbers=numbers, offsets=np.concatenate([[0], np.cumsum(lengths)]))

    def batch(self, rows: Ints) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The different numbers that some rows have, which of them stands at each place, and where each row begins."""
        lengths = np.diff(self.offsets)[rows]
        numbers, places = np.unique(self.numbers[ragged(self.offsets[rows], lengths)], return_inverse=True)
        return torch.from_numpy(numbers), torch.from_numpy(places), torch.from_numpy(np.cumsum(lengths) - lengths)


def _fit(rows: Taught, space: LabelSpace, vocabulary: int) -> Student:
    bags = _Bags.of(rows.encoded, vocabulary)
    # The contract's temperature is the encoder's; the student learns the probabilities that are reported.
    wanted = torch.from_numpy(space.decode(rows.logits).probabilities)
    drawn = torch.Generator().manual_seed(_SEED)
    vectors = _first_vectors(len(bags.features), drawn).requires_grad_()
    bias = torch.zeros(HIDDEN, requires_grad=True)
    output = (HIDDEN**-0.5 * torch.randn(HIDDEN, len(space), generator=drawn)).requires_grad_()
    output_bias = torch.zeros(len(space), requires_grad=True)
    # A step moves only the vectors of its own rows: faster, and the student answers no fewer.
    optimizers = (torch.optim.SparseAdam([vectors]), torch.optim.Adam([bias, output, output_bias]))
    count = len(wanted)
    epoch = range(0, count, BATCH_ROWS)
    steps = list(epoch) * max(EPOCHS, -(-LEAST_STEPS // len(epoch)))
    order = torch.empty(0)
    for step, start in enumerate(steps):
        if start == 0:
            order = torch.randperm(count, generator=drawn)
        chosen = order[start : start + BATCH_ROWS]
        logits = torch.relu(_means(bags, chosen, vectors) + bias) @ output + output_bias
        loss = _training_loss(logits, wanted[chosen], space)
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = RATE * (1 - step / len(steps))
            optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has gaps.
        for optimizer in optimizers:
            optimizer.step()  # type: ignore[no-untyped-call]  # SparseAdam's has no types.
    # What no row showed says nothing: its vector is zero, and it weighs as at first.
    table = np.zeros((vocabulary + BUCKETS, HIDDEN + 1), dtype=np.float32)
    table[:, -1] = 1
    # Half precision is what is kept, so it is what is measured.
    table[bags.features] = _weighed(vectors.detach()).numpy().astype(np.float16)
    # The space divides logits by its temperature.
    temperature = np.float32(space.temperature)
    return Student(
        pieces=table[:vocabulary],
        pairs=table[vocabulary:],
        bias=bias.detach().numpy(),
        output=output.detach().numpy() * temperature,
        output_bias=output_bias.detach().numpy() * temperature,
    )


def _first_vectors(features: int, drawn: torch.Generator) -> torch.Tensor:
    """Where the vectors of the features begin, [F, H + 1]; last stands the logarithm of a feature's weight."""
    vectors = 0.1 * torch.randn(features, HIDDEN + 1, generator=drawn)
    vectors[:, -1] = 0
    return vectors


def _weighed(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors times their weights and, last, the weights."""
    weights = vectors[:, -1:].clamp(-_MOST_WEIGHT, _MOST_WEIGHT).exp()
    return torch.cat([vectors[:, :-1] * weights, weights], dim=1)


def _means(bags: _Bags, chosen: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """The weighted mean of each row's vectors, [B, H]."""
    numbers, places, begins = bags.batch(chosen.numpy())
    weighed = _weighed(F.embedding(numbers, vectors, sparse=True))
    sums = F.embedding_bag(places, weighed, begins, mode="sum")
    # A row without tokens has no weight: its mean is zero.
    return sums[:, :-1] / sums[:, -1:].clamp(min=1e-9)


def _training_loss(logits: torch.Tensor, wanted: torch.Tensor, space: LabelSpace) -> torch.Tensor:
    if space.kind == "multi":
        return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(1).mean()
    return F.cross_entropy(logits, wanted)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Threads would add in an order of their own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
