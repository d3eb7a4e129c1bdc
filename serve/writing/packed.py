"""Compressed text files that can still be appended to and cut: each window is a member (or frame) of its own.

Any reader of gzip (RFC 1952, 2.2) or Zstandard (RFC 8878, 3) takes a row of members as one file.
"""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from serve.writing.text_out import Format, RowBlock


def _zstd(content: bytes) -> bytes:
    import pyarrow as pa

    return cast("bytes", pa.compress(content, codec="zstd", asbytes=True))


# Without a time in it, so that the same rows are the same bytes.
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda content: gzip.compress(content, 6, mtime=0),
    ".zst": _zstd,
}


class PackedFormat:
    """A text format whose bytes are compressed as they come."""

    final = True

    def __init__(self, inner: Format, packing: str) -> None:
        self.suffix = inner.suffix + packing
        self._inner = inner
        self._pack = PACKERS[packing]

    def head(self) -> bytes:
        """The file's start; a member also where it is empty, since a file of no bytes is no gzip."""
        return self._pack(self._inner.head())

    def encode(self, block: RowBlock) -> bytes:
        """Some rows, as a member."""
        return self._pack(self._inner.encode(block))

    def finish(self, spool: Path, out: BinaryIO) -> None:
        """Nothing is left to do."""
