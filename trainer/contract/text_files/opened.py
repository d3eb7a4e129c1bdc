"""Stored bytes of a file of rows to its own bytes, and Parquet to records: what needs more than the standard library
imports it when it is used, since a scorer of CSV starts without pyarrow.
"""

import bz2
import contextlib
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from trainer.contract.errors import InputError
from trainer.contract.text_files.records import Record, refuse_repeated

_UNPACKERS: dict[str, Callable[[BinaryIO], Any]] = {
    "gzip": lambda raw: gzip.GzipFile(fileobj=raw),
    "bzip2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
}
# What the libraries raise where stored bytes are not what they should be: damaged, cut short, or something else.
DAMAGE: tuple[type[Exception], ...] = (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError)


class _Unpacked(io.BufferedReader):
    """Closes the stored bytes with itself, which the libraries do only for files that they opened."""

    def __init__(self, stream: io.RawIOBase, stored: BinaryIO) -> None:
        super().__init__(stream)
        self._stored = stored

    def close(self) -> None:
        """Close both."""
        super().close()
        self._stored.close()


def unpacked(raw: BinaryIO, compression: str | None) -> BinaryIO:
    """Stored bytes to bytes. compression: "gzip", "bzip2", "xz", "zstd" or None."""
    if compression in _UNPACKERS:
        return cast("BinaryIO", _Unpacked(_UNPACKERS[compression](raw), raw))
    if compression == "zstd":
        import pyarrow as pa

        return cast("BinaryIO", pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd"))
    return raw


@contextlib.contextmanager
def open_rows(path: Path, compression: str | None, damage: tuple[type[Exception], ...] = ()) -> Iterator[BinaryIO]:
    """A file's own bytes. Raises InputError where the block cannot read them; damage: what else it raises then."""
    try:
        with path.open("rb") as raw, unpacked(raw, compression) as stream:
            yield stream
    # The path is wrong, not what lies there: `show_errors` names it.
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (*DAMAGE, *damage) as error:
        raise InputError(
            "the file cannot be read", where=path, found=str(error)[:200], do="is it damaged? copy or write it again"
        ) from None


def seekable(stream: BinaryIO, compression: str | None) -> BinaryIO:
    """Bytes to jump in, which unpacked ones would be unpacked again for."""
    return stream if compression is None else io.BytesIO(stream.read())


def parquet_records(stream: BinaryIO, path: Path) -> Iterator[Record]:
    """Rows of a Parquet file; a line is the row's number from 1. Raises InputError for two columns of one name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(stream) as file:
            refuse_repeated(file.schema_arrow.names, path)
            rows = (values for batch in file.iter_batches() for values in batch.to_pylist())
            for line, values in enumerate(rows, 1):
                yield Record(line=line, values=values)
    except pa.ArrowException as error:
        # Not all of Arrow's errors are ValueErrors: what it has not implemented, for one.
        raise ValueError(str(error)) from error
