"""The formats and compressions that files of rows may have, by their suffix: one list for training and scoring."""

from pathlib import PurePath

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "xlsx",
}
COMPRESSIONS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}
# What a folder is searched for. Texts, JSON files and workbooks lie in folders for many a reason: they are to be named.
_ROWS = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".pq"})


def holds_rows(name: str) -> bool:
    """Whether a file that was not named, but lies in a folder, is taken for rows."""
    suffixes = [suffix.lower() for suffix in PurePath(name).suffixes]
    return bool(suffixes) and suffixes[-2 if suffixes[-1] in COMPRESSIONS and len(suffixes) > 1 else -1] in _ROWS


def split_suffixes(name: str) -> tuple[str | None, str | None]:
    """A file name's format and compression, None where its suffixes name none."""
    suffixes = [suffix.lower() for suffix in PurePath(name).suffixes]
    compression = COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    if compression:
        suffixes.pop()
    return (FORMATS.get(suffixes[-1]) if suffixes else None), compression


def is_hidden(path: PurePath, asked: str = "") -> bool:
    """Whether a part of a relative path begins with "." or "_", as copies, caches and marks of other tools do.

    asked: the pattern that found it; a part that it spells with the same first character was asked for.
    """
    wanted = {part[0] for part in PurePath(asked).parts if part[0] in "._" and part not in (".", "..")}
    return any(part[0] in "._" and part[0] not in wanted and part not in (".", "..") for part in path.parts)
