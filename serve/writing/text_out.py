"""Scored rows to bytes that can be appended to a file: CSV, TSV and JSON lines; Parquet is in `parquet_out.py`."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from serve.scorer import decided_names
from serve.writing.layout import Layout, json_text
from trainer.contract.labels import LabelSpace, Scores
from trainer.contract.records import Record

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class Block:
    """N rows: their records, all their columns where the input has types, and what the model says.

    places: each row's place in `scores`, None for a row without scores.
    """

    records: list[Record]
    table: "pa.Table | None"
    scores: Scores
    places: list[int | None]

    def rows(self) -> Iterator[Mapping[str, object]]:
        """Column to value, row by row."""
        if self.table is not None:
            from serve.reading.parquet_in import plain_rows

            yield from plain_rows(self.table)
        else:
            yield from (record.values or {} for record in self.records)


class Format(Protocol):
    """An output format. What `head` and `encode` return is appended to one file, which `finish` makes the output of."""

    final: bool

    def head(self) -> bytes:
        """The file's start."""

    def encode(self, block: Block) -> bytes:
        """The bytes of some rows."""

    def finish(self, spool: Path, out: BinaryIO) -> None:
        """Make the output of the appended file, where `final` is false: where it is true the file is the output."""


class CsvFormat:
    """Quotes only where needed, lines end in a line feed; null is an empty field; several labels are joined by `|`."""

    final = True

    def __init__(self, layout: Layout, labels: LabelSpace, delimiter: str) -> None:
        self._layout = layout
        self._columns = layout.columns or ()
        self._labels = labels
        self._delimiter = delimiter
        # Python's own writer leaves a lone carriage return unquoted before 3.13, and no reader takes that back.
        self._special = re.compile(f'["\r\n{delimiter}]')

    def head(self) -> bytes:
        """The header line."""
        return self._line([*self._columns, *self._layout.scores.names]).encode()

    def encode(self, block: Block) -> bytes:
        """A line a row."""
        decisions = ["|".join(names) for names in decided_names(self._labels, block.scores)]
        confidences = ["|".join(texts) for texts in decided_texts(self._labels, block.scores)]
        given = probability_texts(block.scores.probabilities) if self._layout.scores.probabilities else None
        empty = ("", "")
        lines = [
            self._line(
                [
                    *(self._text(values.get(column)) for column in self._columns),
                    *(empty if place is None else (decisions[place], confidences[place])),
                    *(() if given is None else [""] * len(self._labels) if place is None else given[place]),
                ]
            )
            for values, place in zip(block.rows(), block.places, strict=True)
        ]
        return "".join(lines).encode()

    def finish(self, spool: Path, out: BinaryIO) -> None:
        """Nothing is left to do."""

    def _line(self, fields: list[str]) -> str:
        quoted = ['"' + text.replace('"', '""') + '"' if self._special.search(text) else text for text in fields]
        return self._delimiter.join(quoted) + "\n"

    @staticmethod
    def _text(value: object) -> str:
        if isinstance(value, str):
            return value
        return "" if value is None else json_text(value)


class JsonFormat:
    """One object a row, columns as they came; several labels are a list."""

    final = True

    def __init__(self, layout: Layout, labels: LabelSpace) -> None:
        self._layout = layout
        self._labels = labels

    def head(self) -> bytes:
        """JSON lines begin with the first row."""
        return b""

    def encode(self, block: Block) -> bytes:
        """A line a row."""
        names = self._layout.scores
        multi = self._labels.kind == "multi"
        decisions = list(decided_names(self._labels, block.scores))
        confidences = [[float(text) for text in texts] for texts in decided_texts(self._labels, block.scores)]
        given = probability_texts(block.scores.probabilities) if names.probabilities else None
        lines = []
        for values, place in zip(block.rows(), block.places, strict=True):
            scored = {**values, **dict.fromkeys(names.names)}
            if place is not None:
                scored[names.decision] = decisions[place] if multi else decisions[place][0]
                scored[names.confidence] = confidences[place] if multi else confidences[place][0]
            if place is not None and given is not None:
                scored.update(zip(names.probabilities, map(float, given[place]), strict=True))
            lines.append(_json_line(scored))
        return b"".join(lines)

    def finish(self, spool: Path, out: BinaryIO) -> None:
        """Nothing is left to do."""


def decided_texts(labels: LabelSpace, scores: Scores) -> Iterator[list[str]]:
    """The probabilities of each row's labels, as text, in the order of `decided_names`."""
    if labels.kind == "single":
        chosen = decided_probabilities(scores)[:, None]
        yield from probability_texts(chosen).tolist()
    else:
        texts = probability_texts(scores.probabilities)
        yield from (texts[row][given].tolist() for row, given in enumerate(scores.decisions))


def decided_probabilities(scores: Scores) -> NDArray[np.float32]:
    """The probability of each row's label, for single-label, [N]."""
    return scores.probabilities[np.arange(len(scores.decisions)), scores.decisions.astype(np.int64)]


def probability_texts(probabilities: NDArray[np.float32]) -> NDArray[np.str_]:
    """The shortest text of each float32 that reads back as the same float32, in the array's shape."""
    return probabilities.astype(np.str_)


def _json_line(values: Mapping[str, object]) -> bytes:
    try:
        return json_text(values).encode() + b"\n"
    except UnicodeEncodeError:
        # Half of a surrogate pair can be written only as the escape that it came as.
        return json.dumps(values, default=str).encode() + b"\n"
