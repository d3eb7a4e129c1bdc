"""A sample of a job's rows: what forecasts and tuning measure with."""

from export.bundle import Bundle
from serve.reading.sources import InputSource, Reading
from serve.reading.texts import read_record, read_texts
from serve.reading.windows import Window, read_windows
from serve.writing.layout import require_columns
from trainer.contract.inputs import InputSpec
from trainer.contract.text_files.records import Record

SampleTexts = tuple[list[str], list[str] | None]


def first_texts(sources: list[InputSource], reading: Reading, bundle: Bundle) -> SampleTexts:
    """The texts (and pairs) of the first window. Raises InputError as a job would."""
    spec = bundle.contract.input
    window = next(read_windows(sources, spec.columns, reading.window), None)
    require_columns(sources, window, spec)
    return good_texts(window.records if window else [], spec, reading.max_chars)


def good_texts(records: list[Record], spec: InputSpec, max_chars: int) -> SampleTexts:
    """The texts (and pairs) of the records that can be scored."""
    found = read_texts(records, lambda record: read_record(record, spec, max_chars), paired=spec.pair is not None)
    return found.texts, found.pairs


def golden_texts(bundle: Bundle) -> SampleTexts:
    """The golden rows, for want of better ones; repeats would be scored once, so each gets a number."""
    rows = bundle.golden()
    texts = [f"{number} {row.text}" for number in range(16) for row in rows]
    pairs = [row.pair or "" for _ in range(16) for row in rows]
    return texts, pairs if bundle.contract.input.pair is not None else None


def count_rows(sources: list[InputSource], window: Window | None) -> int | None:
    """Rows of all inputs: counted where Parquet says it, else from the first window's rows and bytes."""
    if window is None:
        return 0
    if window.share is None or any(source.size is None for source in sources):
        return None
    # Rows of one file are taken to be about as long as those of another: reading all would take as long as a job.
    per_byte = len(window.records) / (window.share * (window.source.size or 1))
    rows = round(sum(per_byte * (source.size or 0) for source in sources))
    # The first input's limit is that of all together.
    return rows if sources[0].limit is None else min(rows, sources[0].limit)


def rows_of_inputs(sources: list[InputSource], columns: tuple[str, ...], size: int) -> int | None:
    """The same, from the first window of so many rows; None where an input can be read only once."""
    if any(source.once for source in sources):
        return None
    return count_rows(sources, next(read_windows(sources, columns, size), None))
