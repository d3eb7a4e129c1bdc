"""What the user named as input, as a list of files (or streams) that each know their format and how to be opened."""

import gzip
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from trainer.contract.errors import InputError
from trainer.contract.records import Dialect

STDIN = "-"
_FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
FORMATS = ("csv", "tsv", "jsonl", "parquet")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How input files are written; None is what a file's suffix says.

    window: the most rows that are sorted, scored and written together. max_chars: a longer text is an error row.
    """

    format: str | None = None
    delimiter: str | None = None
    header: bool = True
    columns: tuple[str, ...] | None = None
    quoting: Literal["minimal", "none"] = "minimal"
    encoding: str = "utf-8"
    window: int = 4096
    max_chars: int = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Source:
    """One input. dialect is None for Parquet.

    size: in bytes, as stored. modified: of a file its time of change in ns, of a URL what its file system says that
        changes with the content. Both are None for what cannot be looked at twice.
    """

    name: str
    dialect: Dialect | None
    compression: str | None = None
    size: int | None = None
    modified: int | str | None = None

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
            return _open_url(self.name)
        try:
            return Path(self.name).open("rb")
        except OSError as error:
            raise InputError(
                "the input cannot be opened", where=self.name, found=error.strerror, do="check its permissions"
            ) from None

    def unpacked(self, raw: BinaryIO) -> BinaryIO:
        """Stored bytes to bytes."""
        if self.compression == "gzip":
            stream = gzip.GzipFile(fileobj=raw)
            # What GzipFile closes with itself: only a file that it opened, unless told otherwise.
            stream.myfileobj = cast("Any", raw)
            return cast("BinaryIO", stream)
        if self.compression == "zstd":
            import pyarrow as pa

            return cast("BinaryIO", pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd"))
        return raw

    def state(self) -> tuple[int | None, int | str | None]:
        """Size and time of change now, to be compared with what they were."""
        if self.size is None:
            return None, None
        if "://" in self.name:
            return _url_state(self.name)
        status = Path(self.name).stat()
        return status.st_size, status.st_mtime_ns


def find_sources(inputs: Sequence[str], reading: Reading) -> list[Source]:
    """Every file that the inputs name, in order: files, globs, folders (sorted by name), URLs and "-".

    Raises InputError where one is missing or of a format we do not read.
    """
    return [_source(name, reading) for given in inputs for name in _expand(given)]


def _expand(given: str) -> list[str]:
    if given == STDIN:
        return [given]
    if "://" in given:
        return _expand_url(given)
    path = Path(given)
    if path.is_file() or path.is_fifo():
        return [given]
    if path.is_dir():
        found = sorted(str(item) for item in path.rglob("*") if item.is_file() and _split(item.name)[0] is not None)
        if not found:
            raise InputError("the folder holds no file that we read", where=given, expected=" or ".join(_FORMATS))
        return found
    if any(character in given for character in "*?["):
        anchor = Path(path.anchor) if path.is_absolute() else Path()
        pattern = str(path.relative_to(anchor)) if path.is_absolute() else given
        found = sorted(str(item) for item in anchor.glob(pattern) if item.is_file())
        if found:
            return found
    raise InputError("there is no such input", where=given, do="check the path; quote a glob")


def _split(name: str) -> tuple[str | None, str | None]:
    """A file name's format and compression, None where its suffixes name none."""
    suffixes = [suffix.lower() for suffix in Path(name).suffixes]
    compression = _COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    if compression:
        suffixes.pop()
    return (_FORMATS.get(suffixes[-1]) if suffixes else None), compression


def _source(name: str, reading: Reading) -> Source:
    guessed, compression = _split(name)
    kind = reading.format or guessed
    if kind is None:
        raise InputError(
            "the input's format is unknown",
            where="standard input" if name == STDIN else name,
            expected=f"a name that ends in {', '.join(_FORMATS)} (also .gz or .zst after it)",
            do=f"say --format {'|'.join(FORMATS)}",
        )
    size: int | None = None
    modified: int | str | None = None
    if "://" in name:
        size, modified = _url_state(name)
    elif name != STDIN and Path(name).is_file():
        status = Path(name).stat()
        size, modified = status.st_size, status.st_mtime_ns
    return Source(name=name, dialect=_dialect(kind, reading), compression=compression, size=size, modified=modified)


def _dialect(kind: str, reading: Reading) -> Dialect | None:
    if kind == "parquet":
        return None
    try:
        if kind == "jsonl":
            return Dialect(format="jsonl", encoding=reading.encoding)
        return Dialect(
            delimiter=reading.delimiter or ("\t" if kind == "tsv" else ","),
            header=reading.header,
            columns=reading.columns,
            quoting=reading.quoting,
            encoding=reading.encoding,
        )
    except ValueError as error:
        raise InputError("the input's dialect cannot be used", found=str(error), do="see `score -h`") from None


def url_system(name: str) -> Any:
    """The file system of a URL, and the path in it. Raises InputError where there is no driver for it."""
    try:
        import fsspec
    except ImportError:
        raise InputError("a URL needs fsspec", where=name, do="pip install fsspec") from None
    try:
        return fsspec.core.url_to_fs(name)
    # Each file system has its own errors: a missing driver is an ImportError, a bad URL a ValueError.
    except (ImportError, ValueError) as error:
        raise InputError(
            "the URL cannot be opened", where=name, found=str(error), do="install what it names, or mend the URL"
        ) from None


def _open_url(name: str) -> BinaryIO:
    system, path = url_system(name)
    try:
        return cast("BinaryIO", system.open(path, "rb"))
    except OSError as error:
        raise InputError("the URL cannot be opened", where=name, found=str(error), do="check the address") from None


def _url_state(name: str) -> tuple[int | None, str]:
    system, path = url_system(name)
    system.invalidate_cache()
    try:
        return system.info(path).get("size"), str(system.ukey(path))
    except OSError as error:
        raise InputError("the URL cannot be opened", where=name, found=str(error), do="check the address") from None


def _expand_url(given: str) -> list[str]:
    system, path = url_system(given)
    if any(character in path for character in "*?["):
        found = sorted(system.glob(path))
    elif system.isdir(path):
        found = sorted(item for item in system.find(path) if _split(item)[0] is not None)
    else:
        return [given]
    if not found:
        raise InputError("there is no such input", where=given, do="check the address; quote a glob")
    return [str(system.unstrip_protocol(item)) for item in found]
