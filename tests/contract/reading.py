"""Bytes to records, for the tests of the reader."""

import io

from trainer.contract.text_files.records import Dialect, Record, read_records

HEADERLESS = Dialect(header=False, columns=("a", "b"))
JSONL = Dialect(format="jsonl")


def read(content: bytes, dialect: Dialect | None = None) -> list[Record]:
    """All records of some bytes."""
    return list(read_records(io.BytesIO(content), dialect or Dialect(), "data.csv"))
