"""A sample of a job's rows: what forecasts and tuning measure with."""

from export.bundle import Bundle
from serve.reading.sources import Reading, Source
from serve.reading.texts import read_record, read_texts
from serve.reading.windows import read_windows
from serve.writing.layout import require_columns
from trainer.contract.inputs import InputSpec
from trainer.contract.text_files.records import Record

Texts = tuple[list[str], list[str] | None]


def first_texts(sources: list[Source], reading: Reading, bundle: Bundle) -> Texts:
    """The texts (and pairs) of the first window. Raises InputError as a job would."""
    spec = bundle.contract.input
    window = next(read_windows(sources, spec.columns, reading.window), None)
    require_columns(sources, window, spec)
    return good_texts(window.records if window else [], spec, reading.max_chars)


def good_texts(records: list[Record], spec: InputSpec, max_chars: int) -> Texts:
    """The texts (and pairs) of the records that can be scored."""
    found = read_texts(records, lambda record: read_record(record, spec, max_chars), paired=spec.pair is not None)
    return found.texts, found.pairs


def golden_texts(bundle: Bundle) -> Texts:
    """The golden rows, for want of better ones; repeats would be scored once, so each gets a number."""
    rows = bundle.golden()
    texts = [f"{number} {row.text}" for number in range(16) for row in rows]
    pairs = [row.pair or "" for _ in range(16) for row in rows]
    return texts, pairs if bundle.contract.input.pair is not None else None
