"""The output format by the output's name."""

from pathlib import Path

from serve.writing.layout import Layout
from serve.writing.text_out import CsvFormat, Format, JsonFormat
from trainer.contract.errors import InputError, nearest
from trainer.contract.labels import LabelSpace

SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


def output_format(name: str) -> str:
    """The format that an output's name asks for. Raises InputError where it is none of ours."""
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            "the output's format is unknown",
            where=name,
            found=repr(suffix),
            expected=", ".join(SUFFIXES),
            do=nearest(suffix, SUFFIXES) or "end the output's name in one of these",
        )
    return SUFFIXES[suffix]


def make_format(kind: str, layout: Layout, labels: LabelSpace) -> Format:
    """The format of a name that `output_format` gave."""
    if kind == "parquet":
        from serve.writing.parquet_out import ParquetFormat

        return ParquetFormat(layout, labels)
    if kind == "jsonl":
        return JsonFormat(layout, labels)
    return CsvFormat(layout, labels, "\t" if kind == "tsv" else ",")
