"""What a run keeps of its training rows: that they were learnt, and the texts of some, for who must learn like it.

A line a row: id, place and key; of at most KEPT_TEXTS rows the text too, and the pair where there is one.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.contract.errors import ArtifactError
from trainer.contract.system.files import atomic_file, json_bytes

TRAIN_ROWS_FILE = "train.jsonl"
# Of this many a student learns nearly what it can learn; a copy of a large set would fill the disk for nothing.
KEPT_TEXTS = 50_000


@dataclass(frozen=True, kw_only=True)
class TrainRows:
    """The training rows of every stage of a run."""

    keys: frozenset[int]
    """`row_key` of each row that was learnt, whether its text is kept or not; empty where the run kept none."""
    texts: list[str]
    """Those that are kept."""
    pairs: list[str] | None
    """Their second texts, where the recipe has any."""

    @classmethod
    def open(cls, run: Path) -> "TrainRows":
        """Read what `save_train_rows` wrote for the stages of a run. Raises ArtifactError for a damaged file."""
        keys, texts, pairs = set[int](), list[str](), list[str]()
        for path in sorted((run / "splits").rglob(TRAIN_ROWS_FILE)):
            try:
                for row in map(json.loads, path.read_bytes().splitlines()):
                    # Runs of earlier versions kept ids and places alone.
                    keys |= {int(row["key"], 16)} if "key" in row else set()
                    texts += [row["text"]] if "text" in row else []
                    pairs += [row["pair"]] if "pair" in row else []
                "".join(texts + pairs)  # Raises TypeError for a text that is none.
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise ArtifactError(
                    "the training rows cannot be read", where=path, found=repr(error), do="restore the file"
                ) from None
        return cls(keys=frozenset(keys), texts=texts, pairs=pairs or None)


def save_train_rows(
    path: Path, about: Iterable[tuple[int, str]], keys: NDArray[np.uint64], texts: Iterable[str], pairs: Iterable[str]
) -> None:
    """Write the training rows: id and place, key, text and, where the recipe has them, pair of each, in order.

    Texts are kept of the rows with the smallest keys, which say nothing of what a row is like.
    """
    last = np.partition(keys, KEPT_TEXTS - 1)[KEPT_TEXTS - 1] if len(keys) > KEPT_TEXTS else None
    second = iter(pairs)
    with atomic_file(path) as file:
        for (number, place), key, text in zip(about, keys.tolist(), texts, strict=True):
            row: dict[str, object] = {"id": number, "place": place, "key": f"{key:016x}"}
            pair = next(second, None)
            if last is None or key <= last:
                row |= {"text": text} if pair is None else {"text": text, "pair": pair}
            file.write(json_bytes(row) + b"\n")
