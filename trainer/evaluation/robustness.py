"""How often a decision flips where the text is changed a little: on a sample of the rows, the same each time."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.contract.encoding import Encoded, Ints, TextEncoder
from trainer.contract.figures.exact import interval
from trainer.contract.inputs import InputSpec
from trainer.contract.labelled import LabelledRows
from trainer.contract.labels import Scores
from trainer.evaluation.changes import Change, changes
from trainer.evaluation.measured import Bools

# Rows drawn for a kind of change; fewer where they are long, so that a kind costs about so many tokens at most.
SAMPLE = 200
_TOKENS = 20_000
_LEAST = 50
_FLIPPED = 5
Ask = Callable[[LabelledRows, Encoded], Scores]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A classifier to ask again, and the rows as it saw them."""

    rows: LabelledRows
    encoded: Encoded
    scores: Scores
    encoder: TextEncoder
    input: InputSpec
    score: Ask
    """What the checkpoint makes of encoded rows."""
    seed: int


def measure_robustness(probe: Probe, swaps: Mapping[str, str]) -> dict[str, Any]:
    """Each kind of change with the share of decisions that flip, among rows whose text it changes.

    Rows are drawn among those, so that a swap of rare words finds its rows. A change is made before the recipe cleans
    the text, as it would be in a file.
    """
    mean = float(probe.encoded.lengths.mean()) if len(probe.rows) else 1.0
    sample = int(np.clip(_TOKENS / mean, _LEAST, SAMPLE))
    return {
        "sample": sample,
        "seed": probe.seed,
        "kinds": [_asked(probe, change, sample) for change in changes(swaps)],
    }


def _asked(probe: Probe, change: Change, sample: int) -> dict[str, Any]:
    rows, changed = _changed(probe, change, sample)
    encoded = probe.encoder.encode(changed.texts, changed.pairs)
    moved = np.array([not _same(encoded, row, probe.encoded, int(was)) for row, was in enumerate(rows)], dtype=np.bool_)
    flipped = np.zeros(len(rows), dtype=np.bool_)
    if moved.any():
        # Where the tokens are the same, so is the decision.
        asked = changed.take(np.flatnonzero(moved))
        found = probe.score(asked, probe.encoder.encode(asked.texts, asked.pairs))
        flipped[moved] = ~_alike(found, probe.scores.take(rows[moved]))
    count, flips = len(rows), int(flipped.sum())
    low, high = interval(flips, count)
    return {
        "kind": change.kind,
        "about": change.about,
        "swap": change.swap,
        "rows": count,
        "same_tokens": int((~moved).sum()),
        "flips": flips,
        "share": {"value": flips / count if count else np.nan, "low": low, "high": high},
        "flipped": probe.rows.ids[rows[flipped]][:_FLIPPED].tolist(),
    }


def _alike(one: Scores, other: Scores) -> Bools:
    """Whether each row's whole decision is the same, abstaining too."""
    same = np.asarray(one.decisions == other.decisions, dtype=np.bool_).reshape(len(other.decisions), -1)
    return np.asarray(same.all(axis=1) & (one.answered == other.answered))


def _changed(probe: Probe, change: Change, sample: int) -> tuple[Ints, LabelledRows]:
    """Places of the first rows, in an order drawn at random, that the change changes; and those rows changed."""
    # By the kind's name, so that one swap more in a recipe leaves the other kinds' rows as they were.
    generator = np.random.default_rng([probe.seed, zlib.crc32(change.kind.encode())])
    chosen: list[int] = []
    texts: list[str] = []
    pairs: list[str] = []
    for place in generator.permutation(len(probe.rows)).tolist():
        before = [probe.rows.texts[place], *([] if probe.rows.pairs is None else [probe.rows.pairs[place]])]
        after = [probe.input.clean(change.apply(text, generator)) for text in before]
        # A text of which nothing is left would be no row.
        if after != before and all(text.strip() for text in after):
            chosen.append(place)
            texts.append(after[0])
            pairs += after[1:]
        if len(chosen) == sample:
            break
    rows = np.array(chosen, dtype=np.int64)
    labels = probe.rows.labels[rows]
    places = [probe.rows.places[place] for place in chosen]
    return rows, LabelledRows(
        ids=probe.rows.ids[rows],
        texts=texts,
        pairs=pairs if probe.rows.pairs is not None else None,
        labels=labels,
        places=places,
    )


def _same(encoded: Encoded, row: int, other: Encoded, was: int) -> bool:
    """Whether two rows have the same tokens."""
    mine = slice(encoded.offsets[row], encoded.offsets[row + 1])
    theirs = slice(other.offsets[was], other.offsets[was + 1])
    return np.array_equal(encoded.ids[mine], other.ids[theirs]) and np.array_equal(
        encoded.types[mine], other.types[theirs]
    )
