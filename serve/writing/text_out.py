"""Scored rows to bytes that can be appended to a file: CSV, TSV and JSON lines; Parquet is in `parquet_out.py`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from export.cascade.certificate import Bools
from serve.scoring.decided import ABSTAINED, decided_names, most_likely
from serve.writing.json_text import cell_text, json_text
from serve.writing.layout import Layout
from trainer.contract.labels import LabelSpace, Scores
from trainer.contract.text_files.records import Record

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class RowBlock:
    """N rows: their records, all their columns where the input has types, and what the model says."""

    records: list[Record]
    table: "pa.Table | None"
    scores: Scores
    places: list[int | None]
    """Each row's place in `scores`; None for a row without scores."""
    reasons: list[str | None]
    """Why a row has no scores; None for a row with scores."""
    by_student: Bools | None = None
    """Which of the scored rows the student answered, by place; None where there is none."""

    @property
    def tiers(self) -> list[str | None]:
        """What answered each row, in a word; None for a row without scores."""
        names = [] if self.by_student is None else ["student" if one else "encoder" for one in self.by_student]
        return [None if place is None else names[place] if names else "encoder" for place in self.places]

    def rows(self, columns: tuple[str, ...] | None) -> Iterator[Mapping[str, object]]:
        """Column to value, row by row. columns: those that are written; None for all that a row has."""
        if self.table is not None:
            from serve.reading.plain_values import plain_rows, selected

            yield from plain_rows(self.table if columns is None else selected(self.table, columns))
        elif columns is None:
            yield from (record.values or {} for record in self.records)
        else:
            for record in self.records:
                values = record.values or {}
                yield {column: values.get(column) for column in columns}


class Format(Protocol):
    """An output format. What `head` and `encode` return is appended to one file, which `finish` makes the output of."""

    final: bool
    suffix: str
    """Of the name of a part."""

    def head(self) -> bytes:
        """The file's start."""

    def encode(self, block: RowBlock) -> bytes:
        """The bytes of some rows."""

    def finish(self, spool: Path, out: BinaryIO) -> None:
        """Make the output of the appended file, where `final` is false: where it is true the file is the output."""


class CsvFormat:
    """Quotes only where needed, lines end in a line feed; null is an empty field.

    Several labels are joined by `|`; where a label's name holds one, they are a JSON list, and so are confidences.
    """

    final = True

    def __init__(self, layout: Layout, labels: LabelSpace, delimiter: str) -> None:
        self.suffix = ".tsv" if delimiter == "\t" else ".csv"
        self._layout = layout
        self._labels = labels
        self._delimiter = delimiter
        self._lists = any("|" in name for name in labels.names)
        # Python's own writer leaves a lone carriage return unquoted before 3.13, and no reader takes that back.
        self._special = re.compile(f'["\r\n{delimiter}]')

    def head(self) -> bytes:
        """The header line."""
        return self._line([*self._layout.written, *self._layout.scores.names]).encode()

    def encode(self, block: RowBlock) -> bytes:
        """A line a row."""
        scored = self._scored(block)
        names = self._layout.scores
        errors = [
            [*([tier or ""] if names.scored_by else []), *([reason or ""] if names.error else [])]
            for tier, reason in zip(block.tiers, block.reasons, strict=True)
        ]
        empty = [""] * (len(names.names) - len(errors[0]) if errors else 0)
        lines = [
            self._line([*map(cell_text, values.values()), *(empty if place is None else scored[place]), *error])
            for values, place, error in zip(block.rows(self._layout.written), block.places, errors, strict=True)
        ]
        return "".join(lines).encode()

    def finish(self, spool: Path, out: BinaryIO) -> None:
        """Nothing is left to do."""

    def _scored(self, block: RowBlock) -> list[list[str]]:
        """The fields of each row that has scores."""
        # Whole columns at once: NumPy spells a thousand numbers in the time of a few calls.
        decisions = decided_names(self._labels, block.scores)
        confidences = decided_texts(self._labels, block.scores)
        answered = block.scores.answered.tolist()
        many = self._labels.kind == "multi"
        fields = [
            self._cells(*row, many=many and given) for *row, given in zip(decisions, confidences, answered, strict=True)
        ]
        if self._layout.scores.probabilities:
            given = probability_texts(block.scores.probabilities).tolist()
            fields = [[*row, *texts] for row, texts in zip(fields, given, strict=True)]
        if self._layout.scores.top:
            top = top_texts(self._labels, block.scores, self._layout.scores.top_k)
            fields = [[*row, *self._cells(*found, many=True)] for row, found in zip(fields, top, strict=True)]
        if self._layout.scores.reason:
            fields = [[*row, "" if given else ABSTAINED] for row, given in zip(fields, answered, strict=True)]
        return fields

    def _cells(self, names: list[str], texts: list[str], *, many: bool) -> list[str]:
        """Labels and their probabilities as two fields. many: whether there may be other than one of them."""
        if many and self._lists:
            return [json_text(names), json_text([float(text) for text in texts])]
        return ["|".join(names), "|".join(texts)]

    def _line(self, fields: list[str]) -> str:
        quoted = ['"' + text.replace('"', '""') + '"' if self._special.search(text) else text for text in fields]
        return self._delimiter.join(quoted) + "\n"


class JsonFormat:
    """One object a row, columns as they came; several labels are a list."""

    final = True
    suffix = ".jsonl"

    def __init__(self, layout: Layout, labels: LabelSpace) -> None:
        self._layout = layout
        self._labels = labels

    def head(self) -> bytes:
        """JSON lines begin with the first row."""
        return b""

    def encode(self, block: RowBlock) -> bytes:
        """A line a row."""
        names = self._layout.scores
        multi = self._labels.kind == "multi"
        decisions = list(decided_names(self._labels, block.scores))
        confidences = [[float(text) for text in texts] for texts in decided_texts(self._labels, block.scores)]
        given = probability_texts(block.scores.probabilities) if names.probabilities else None
        top = list(top_texts(self._labels, block.scores, names.top_k)) if names.top else None
        answered = block.scores.answered.tolist()
        rows = block.rows(None if self._layout.columns is None else self._layout.written)
        lines = []
        for values, place, reason, tier in zip(rows, block.places, block.reasons, block.tiers, strict=True):
            # A row without scores has the columns all the same: null, and not missing.
            scored = {**values, **dict.fromkeys(names.names)}
            if place is not None:
                # What a row that is not answered has no labels for stays null; its confidence tells how far it is from
                # being one.
                if answered[place]:
                    scored[names.decision] = decisions[place] if multi else decisions[place][0]
                elif names.reason is not None:
                    scored[names.reason] = ABSTAINED
                if answered[place] or not multi:
                    scored[names.confidence] = confidences[place] if multi else confidences[place][0]
            if place is not None and given is not None:
                scored.update(zip(names.probabilities, map(float, given[place]), strict=True))
            if place is not None and top is not None:
                labels, texts = top[place]
                scored.update(zip(names.top, (labels, [float(text) for text in texts]), strict=True))
            if names.scored_by is not None:
                scored[names.scored_by] = tier
            if names.error is not None:
                scored[names.error] = reason
            lines.append(json_text(scored) + "\n")
        return "".join(lines).encode()

    def finish(self, spool: Path, out: BinaryIO) -> None:
        """Nothing is left to do."""


def decided_texts(labels: LabelSpace, scores: Scores) -> Iterator[list[str]]:
    """The probabilities of each row's labels, as text, in the order of `decided_names`; of a single-label row that is
    not answered, of the label that it would have.
    """
    if labels.kind == "single":
        # [N, 1], so that each row is a list here too.
        chosen = decided_probabilities(scores)[:, None]
        yield from probability_texts(chosen).tolist()
    else:
        texts = probability_texts(scores.probabilities)
        given = scores.decisions.astype(np.bool_) & scores.answered[:, None]
        yield from (texts[row][chosen].tolist() for row, chosen in enumerate(given))


def top_texts(labels: LabelSpace, scores: Scores, top_k: int | None) -> Iterator[tuple[list[str], list[str]]]:
    """Each row's most likely labels, and their probabilities as text."""
    texts = probability_texts(scores.probabilities)
    for row, best in enumerate(most_likely(scores.probabilities, top_k)):
        yield [labels.names[label] for label in best.tolist()], texts[row][best].tolist()


def decided_probabilities(scores: Scores) -> NDArray[np.float32]:
    """The probability of each row's label, for single-label, [N]."""
    return scores.probabilities[np.arange(len(scores.decisions)), scores.decisions.astype(np.int64)]


def probability_texts(probabilities: NDArray[np.float32]) -> NDArray[np.str_]:
    """The shortest text of each float32 that reads back as the same float32, in the array's shape."""
    # NumPy prints float32 as float32; Python would print the double that holds it.
    return probabilities.astype(np.str_)
