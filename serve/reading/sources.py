"""What the user named as input, as a list of files (or streams) that each know their format and how to be opened."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Literal

from serve.reading.expand import STDIN, expand, told_names
from serve.reading.urls import file_name, open_url, url_state
from trainer.contract.errors import ClassifactError, InputError, UsageError
from trainer.contract.text_files.formats import split_suffixes
from trainer.contract.text_files.opened import DAMAGE, unpacked
from trainer.contract.text_files.records import Dialect, read_records

# What is read; a workbook and a JSON array are told how to become one of these.
INPUT_FORMATS = ("csv", "tsv", "jsonl", "parquet")
COMPRESSION_NAMES = ("none", "gzip", "bzip2", "xz", "zstd")

# Options that do nothing for inputs of other formats: a field of `Reading`, its option, the formats of `Dialect`.
_OF_FORMATS = (
    ("delimiter", "--delimiter", {"csv"}),
    ("header", "--no-header", {"csv"}),
    ("quoting", "--quoting", {"csv"}),
    ("encoding", "--encoding", {"csv", "jsonl"}),
)
_NAMES = {"csv": "CSV or TSV", "jsonl": "JSON lines"}
# A gzip file holds its own name, too.
_PACKED_NOTHING = 320


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How input files are written; None is what a file's suffix says."""

    format: str | None = None
    compression: str | None = None
    """One of COMPRESSION_NAMES."""
    delimiter: str | None = None
    header: bool = True
    columns: tuple[str, ...] | None = None
    quoting: Literal["minimal", "none"] = "minimal"
    encoding: str = "utf-8"
    window: int = 4096
    """The most rows that are sorted, scored and written together."""
    max_chars: int = 1_000_000
    """A longer text is an error row."""
    keep: tuple[str, ...] | None = None
    """The columns that are passed through, in this order; None: all."""
    limit: int | None = None
    """The most records that are read, of all inputs together."""
    text_columns: tuple[str, ...] | None = None
    """Those that make the text, where the inputs call them otherwise than the bundle."""


@dataclass(frozen=True, kw_only=True)
class InputSource:
    """One input."""

    name: str
    dialect: Dialect | None
    """None for Parquet."""
    compression: str | None = None
    keep: tuple[str, ...] | None = None
    """The columns that are passed through; None: all."""
    limit: int | None = None
    """The most records that are read; None: all."""
    size: int | None = None
    """In bytes, as stored; None for what cannot be looked at twice."""
    modified: int | str | None = None
    """Of a file its time of change in ns, of a URL what its file system says that changes with the content; None for
    what cannot be looked at twice.
    """

    @property
    def once(self) -> bool:
        """Whether the bytes can be read only once: standard input and pipes."""
        return self.name == STDIN or ("://" not in self.name and Path(self.name).is_fifo())

    def open(self) -> BinaryIO:
        """The bytes, uncompressed. Raises InputError where the input cannot be opened."""
        return self.unpacked(self.open_raw())

    def open_raw(self) -> BinaryIO:
        """The bytes as they are stored."""
        if self.name == STDIN:
            return sys.stdin.buffer
        if "://" in self.name:
            return open_url(self.name)
        try:
            return Path(self.name).open("rb")
        except OSError as error:
            raise InputError(
                "the input cannot be opened", where=self.name, found=error.strerror, do="check its permissions"
            ) from None

    def share(self, raw: BinaryIO) -> float | None:
        """How much of the stored bytes is read, 0 to 1; None where their number is not known."""
        return min(1.0, raw.tell() / self.size) if self.size else None

    def unpacked(self, raw: BinaryIO) -> BinaryIO:
        """Stored bytes to bytes."""
        return unpacked(raw, self.compression)

    def state(self) -> tuple[int | None, int | str | None]:
        """Size and time of change now, to be compared with what they were."""
        if self.size is None:
            return None, None
        if "://" in self.name:
            return url_state(self.name)
        status = Path(self.name).stat()
        return status.st_size, status.st_mtime_ns


@contextlib.contextmanager
def undamaged(source: InputSource, do: str = "restore the file") -> Iterator[None]:
    """Raise InputError, naming the source, where its bytes are damaged while the block reads them."""
    try:
        yield
    except Exception as error:
        # What reads a URL raises errors of its own, which share no base but this one.
        if isinstance(error, ClassifactError) or not (isinstance(error, DAMAGE) or "://" in source.name):
            raise
        raise InputError(
            "the input cannot be read to its end",
            where=source.name,
            found=str(error)[:300] or type(error).__name__,
            do=do,
        ) from error


def find_sources(
    inputs: Sequence[str], reading: Reading, say: Callable[[str], None] = lambda _: None
) -> list[InputSource]:
    """Every file that the inputs name, in order: files, globs, folders (sorted by name), URLs and "-".

    say: is told of the files of a folder or glob that are left out. Raises InputError where an input is missing or of a
    format we do not read.
    """
    names: list[str] = []
    for given in inputs:
        found, out = expand(given)
        names += found
        if out:
            why = "hidden, written by an earlier job, or of a kind that is read only where it is named"
            say(f"{given}: {told_names(out)} ({why})")
    sources = [_source(name, reading) for name in names]
    empty = [source for source in sources if _is_empty(source)] if len(sources) > 1 else []
    if empty and len(empty) < len(sources):
        # As other tools write a part without rows, not even a header.
        say(f"{told_names(source.name for source in empty)} (empty)")
        sources = [source for source in sources if source not in set(empty)]
    _require_used(sources, reading)
    return sources if reading.limit is None else _first_rows(sources, reading.limit)


def _require_used(sources: Sequence[InputSource], reading: Reading) -> None:
    """Raise UsageError for an option of some formats where no input is of one."""
    kinds = {"parquet" if source.dialect is None else source.dialect.format for source in sources}
    for name, option, formats in _OF_FORMATS:
        if kinds and not kinds & formats and getattr(reading, name) != getattr(Reading, name):
            raise UsageError(
                f"{option} is for {' and '.join(_NAMES[kind] for kind in sorted(formats))}, and no input is that",
                where=sources[0].name,
                do="leave it out, or say --format if the inputs are something else",
            )


def _is_empty(source: InputSource) -> bool:
    """Whether a text file holds not a byte."""
    if source.dialect is None or source.size is None or source.compression is None:
        return source.dialect is not None and source.size == 0
    # What packs nothing takes a few bytes all the same.
    if source.size > _PACKED_NOTHING:
        return False
    with contextlib.suppress(*DAMAGE), source.open() as stream:
        return not stream.read(1)
    # Damage is told of where the file is read.
    return source.size == 0


def _source(name: str, reading: Reading) -> InputSource:
    # A presigned address has its suffix before the query.
    guessed, packed = split_suffixes(file_name(name))
    kind = _readable(name, reading.format or guessed)
    compression = packed if reading.compression is None else reading.compression
    size: int | None = None
    modified: int | str | None = None
    if "://" in name:
        size, modified = url_state(name)
    elif name != STDIN and Path(name).is_file():
        status = Path(name).stat()
        size, modified = status.st_size, status.st_mtime_ns
    return InputSource(
        name=name,
        dialect=_dialect(kind, reading),
        compression=None if compression == "none" else compression,
        keep=reading.keep,
        size=size,
        modified=modified,
    )


def _readable(name: str, kind: str | None) -> str:
    """A format that is read here. Raises InputError, with the way to one, for any other."""
    if kind == "xlsx":
        raise InputError("a workbook cannot be scored", where=name, do="save its sheet as CSV (UTF-8)")
    if kind is None:
        raise InputError(
            "the input's format is unknown",
            where="standard input" if name == STDIN else name,
            expected="a name that ends in .csv, .tsv, .txt, .jsonl, .ndjson, .json, .parquet or .pq "
            "(.gz, .bz2, .xz or .zst may follow)",
            do=f"say --format {'|'.join(INPUT_FORMATS)}",
        )
    return "jsonl" if kind == "json" else kind


def _dialect(kind: str, reading: Reading) -> Dialect | None:
    if kind == "parquet":
        return None
    try:
        if kind == "jsonl":
            return Dialect(format="jsonl", encoding=reading.encoding)
        return Dialect(
            delimiter={"tsv": "\t"}.get(kind, ",") if reading.delimiter is None else reading.delimiter,
            header=reading.header,
            columns=reading.columns,
            quoting=reading.quoting,
            encoding=reading.encoding,
        )
    except ValueError as error:
        raise UsageError("the input's dialect cannot be used", found=str(error), do="see `score -h`") from None


def _first_rows(sources: list[InputSource], limit: int) -> list[InputSource]:
    """The sources that hold the first `limit` records: what is read before the last of them is counted."""
    found: list[InputSource] = []
    for source in sources:
        if source.once and len(sources) > 1:
            raise UsageError("--limit cannot count the rows of a pipe", where=source.name, do="give the pipe alone")
        found.append(replace(source, limit=limit))
        if source.once:
            break
        with undamaged(source):
            limit -= _count(source, limit)
        if limit <= 0:
            break
    return found


def _count(source: InputSource, most: int) -> int:
    if source.dialect is None:
        import pyarrow.parquet as pq

        with source.open() as stream:
            return min(most, int(pq.ParquetFile(stream).metadata.num_rows))
    with contextlib.closing(read_records(source.open(), source.dialect, source.name)) as records:
        return sum(1 for _ in islice(records, most))
