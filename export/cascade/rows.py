"""Which rows teach the student, which set its guards, and which measure what is then realised: no row does two things.

Unlabelled rows are divided by a keyed hash of what they say, so that repeats stay together and a second export divides
them alike. Rows that the encoder was trained on teach, and never set a guard: of those it is surer than of others.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.unlabelled import read_unlabelled
from trainer.contract.errors import GateError
from trainer.contract.inputs import InputSpec, row_key
from trainer.contract.labelled import LabelledRows
from trainer.contract.train_rows import TrainRows

# Of the rows without labels: what teaches, and what measures the rest; between them, what sets the guards. A class is
# bounded by its own rows, so guards need more of them than the student does.
STUDENT_SHARE, FURTHER_SHARE = 0.3, 0.1
# What teaches where the training rows outnumber them: then these teach enough, and guards are what is short.
SMALL_STUDENT_SHARE = 0.05
# What a student learns from, and what proves it, at most: minutes of the encoder on two cores.
MOST_STUDENT_ROWS = 100_000
LEAST_STUDENT_ROWS = 200
_KEY = b"classifact.cascade"


@dataclass(frozen=True, kw_only=True)
class Texts:
    """N different rows after `InputSpec.read`, in the order of their keys."""

    texts: list[str]
    pairs: list[str] | None

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, kw_only=True)
class CascadeRows:
    """The rows of one student."""

    train: Texts
    """N rows that teach it."""
    unseen: NDArray[np.bool_]
    """Which of them the encoder was not trained on, bool [N]."""
    known: frozenset[int]
    """The keys of all rows that the encoder was trained on, as far as the run knows them."""
    guards: Texts
    """Unlabelled rows that set the guards; the validation rows set them too."""
    further: Texts
    """That measure what is realised; no row where none is given."""


def cascade_rows(run: Path, files: Sequence[Path], validation: LabelledRows, spec: InputSpec) -> CascadeRows:
    """The run's training rows and the unlabelled files, divided.

    Raises GateError where there is too little to learn from, InputError for a file that cannot be read.
    """
    train = TrainRows.open(run)
    known = _keyed(train.texts, train.pairs)
    taken = set(train.keys) | set(_keyed(validation.texts, validation.pairs))
    given = read_unlabelled(files, spec) if files else None
    fresh = {} if given is None else _keyed(given.texts, given.pairs, without=taken)
    if given is not None and train.keys:
        # What was trained on may be given again: it is known by its key.
        known |= _keyed(given.texts, given.pairs, only=train.keys)
    parts: dict[str, dict[int, tuple[str, str | None]]] = {"student": {}, "guards": {}, "further": {}}
    teaches = STUDENT_SHARE if len(fresh) > len(known) else SMALL_STUDENT_SHARE
    # Those with the smallest keys, which say nothing of what a row is like.
    for key, row in list(fresh.items())[:MOST_STUDENT_ROWS]:
        parts[_part(key, teaches)][key] = row
    teaching = dict(sorted((parts["student"] | known).items())[:MOST_STUDENT_ROWS])
    if len(teaching) < LEAST_STUDENT_ROWS:
        raise GateError(
            "too few rows for a student to learn from",
            where=run,
            found=f"{len(known):,} training rows with their texts, {len(fresh):,} others",
            expected=f"at least {LEAST_STUDENT_ROWS}",
            do="give more rows with --unlabelled: the training file itself may be one (runs made before this version "
            "kept no texts of training rows)",
        )
    paired = spec.pair is not None
    return CascadeRows(
        train=_texts(teaching, paired),
        unseen=np.array([key in parts["student"] for key in teaching], dtype=np.bool_),
        known=train.keys,
        guards=_texts(parts["guards"], paired),
        further=_texts(parts["further"], paired),
    )


def _part(key: int, teaches: float) -> str:
    """What a row does: a hash of its key under a key of ours, which has nothing to do with the order of `row_key`."""
    digest = blake2b(key.to_bytes(8, "little"), digest_size=8, key=_KEY).digest()
    place = int.from_bytes(digest, "little") / 2**64
    return "student" if place < teaches else "further" if place >= 1 - FURTHER_SHARE else "guards"


def _keyed(
    texts: Iterable[str],
    pairs: Iterable[str] | None,
    *,
    without: Iterable[int] = (),
    only: Iterable[int] | None = None,
) -> dict[int, tuple[str, str | None]]:
    """Different rows by their keys, in the order of those."""
    excluded, wanted = frozenset(without), None if only is None else frozenset(only)
    second = iter(pairs) if pairs is not None else None
    found: dict[int, tuple[str, str | None]] = {}
    for text in texts:
        pair = next(second) if second is not None else None
        key = row_key(text, pair)
        if key not in excluded and (wanted is None or key in wanted):
            found.setdefault(key, (text, pair))
    return dict(sorted(found.items()))


def _texts(rows: dict[int, tuple[str, str | None]], paired: bool) -> Texts:
    return Texts(
        texts=[text for text, _ in rows.values()], pairs=[pair or "" for _, pair in rows.values()] if paired else None
    )
