"""The output format by the output's name."""

from pathlib import Path

from serve.writing.layout import Layout
from serve.writing.packed import PACKERS, PackedFormat
from serve.writing.text_out import CsvFormat, Format, JsonFormat
from trainer.contract.errors import InputError, UsageError, nearest
from trainer.contract.labels import LabelSpace

OUTPUT_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def output_format(name: str, wanted: str | None = None) -> str:
    """The format that an output's name asks for, such as "csv", or "csv.gz" where it is compressed.

    wanted: the format, whatever the name says; the name then says the compression alone. Of "-", standard output, it is
    JSON lines where nothing is wanted. Raises InputError where it is none of ours.
    """
    if name == "-":
        if wanted == "parquet":
            # Its footer is written last, and speaks of all that is before it.
            raise UsageError(
                "Parquet cannot be written to standard output",
                expected="--out-format csv, tsv or jsonl",
                do="name a file with --out",
            )
        return wanted or "jsonl"
    # "v1.2.csv.gz": only the last one or two say something.
    suffixes = [suffix.lower() for suffix in Path(name).suffixes]
    packing = suffixes.pop() if suffixes and suffixes[-1] in PACKERS else ""
    suffix = suffixes[-1] if suffixes else ""
    kind = wanted or OUTPUT_SUFFIXES.get(suffix)
    if kind is None:
        raise InputError(
            "the output's format is unknown",
            where=name,
            found=repr(suffix),
            expected=f"{', '.join(OUTPUT_SUFFIXES)} ({' or '.join(PACKERS)} may follow)",
            do=nearest(suffix, OUTPUT_SUFFIXES) or "end the output's name in one of these, or say --out-format",
        )
    if packing and kind == "parquet":
        raise InputError(
            "Parquet is compressed inside", where=name, do=f"take {packing} off the name: its columns are Zstandard"
        )
    return kind + packing


def make_format(kind: str, layout: Layout, labels: LabelSpace) -> Format:
    """The format of a name that `output_format` gave."""
    kind, _, packing = kind.partition(".")
    if packing:
        return PackedFormat(make_format(kind, layout, labels), f".{packing}")
    if kind == "parquet":
        # Arrow takes longer to import than a small file to score.
        from serve.writing.parquet_out import ParquetFormat

        return ParquetFormat(layout, labels)
    if kind == "jsonl":
        return JsonFormat(layout, labels)
    return CsvFormat(layout, labels, "\t" if kind == "tsv" else ",")
