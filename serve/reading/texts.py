"""Rows to the texts that the model reads, the bad ones told apart: once for jobs, samples and `Scorer.score_iter`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from export.bundle import Bundle
from trainer.contract.errors import BadRow, InputError
from trainer.contract.inputs import InputSpec
from trainer.contract.text_files.records import Record

_Row = TypeVar("_Row")


@dataclass(frozen=True, kw_only=True)
class ReadTexts:
    """What some rows hold."""

    kept: list[int] = field(default_factory=list)
    """Places, among the rows given, of those that can be scored."""
    texts: list[str] = field(default_factory=list)
    """Of the kept rows."""
    pairs: list[str] | None = None
    """Second texts of the kept rows; None where the model reads one text."""
    bad: dict[int, BadRow] = field(default_factory=dict)
    """The other rows: place to what is wrong."""


def read_texts(rows: Iterable[_Row], read: Callable[[_Row], tuple[str, str | None]], *, paired: bool) -> ReadTexts:
    """Read every row by `read`, which raises BadRow."""
    found = ReadTexts(pairs=[] if paired else None)
    for place, row in enumerate(rows):
        try:
            text, pair = read(row)
        except BadRow as error:
            found.bad[place] = error
            continue
        found.kept.append(place)
        found.texts.append(text)
        if found.pairs is not None:
            found.pairs.append(pair or "")
    return found


def read_record(record: Record, spec: InputSpec, max_chars: int) -> tuple[str, str | None]:
    """A record's text and pair. Raises BadRow, also for a text of more than `max_chars` characters."""
    # What the reader found broken keeps its own reason.
    if record.values is None:
        raise BadRow(record.reason, record.detail)
    text, pair = spec.read(record.values)
    # After cleaning, which is what the tokenizer gets: one endless text would hold up a whole window.
    longest = max(len(text), len(pair or ""))
    if longest > max_chars:
        raise BadRow("too_long", f"the text has {longest} characters, --max-chars is {max_chars}")
    return text, pair


def reading_from(bundle: Bundle, columns: tuple[str, ...] | None) -> Bundle:
    """The bundle, its texts taken from columns of other names, in its order; None: from those that it was trained on.

    Raises InputError where there are not as many.
    """
    spec = bundle.contract.input
    if columns is None:
        return bundle
    if len(columns) != len(spec.columns):
        raise InputError(
            "--text-column names another number of columns than the bundle reads",
            found=", ".join(columns),
            expected=f"columns for {', '.join(spec.columns)}",
            do="name one for each, joined by commas",
        )
    pair = columns[-1] if spec.pair is not None else None
    text = columns[:-1] if pair is not None else columns
    # Only the names change; how the columns join, and what null means, stay as in training.
    contract = replace(bundle.contract, input=replace(spec, text=text, pair=pair))
    return replace(bundle, manifest=replace(bundle.manifest, contract=contract))
