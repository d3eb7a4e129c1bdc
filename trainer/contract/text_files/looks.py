"""What a file looks like where it is not what it was called: said by name, instead of as a column that is missing."""

import json
import re
from collections.abc import Iterable

from trainer.contract.errors import InputError

# First bytes (https://en.wikipedia.org/wiki/List_of_file_signatures), and what to do.
_UNPACK = "unpack it, or end its name in {} (scoring also takes --compression {})"
_STARTS = (
    (b"\x1f\x8b", "gzip", _UNPACK.format(".gz", "gzip")),
    (b"\x28\xb5\x2f\xfd", "Zstandard", _UNPACK.format(".zst", "zstd")),
    (b"BZh", "bzip2", _UNPACK.format(".bz2", "bzip2")),
    (b"\xfd7zXZ\x00", "xz", _UNPACK.format(".xz", "xz")),
    (b"PK\x03\x04", "a ZIP archive or a workbook", "unpack it; of a workbook save the sheet as CSV"),
    (b"PAR1\x15", "Parquet", "end its name in .parquet, or say that this is its format"),
)
_NAME_IT = "name the file's encoding: {0} (--encoding {0} in scoring, `encoding: {0}` in a recipe)"
_DELIMITERS = ";\t|,"
_ARRAY = re.compile(rb"(\xef\xbb\xbf)?\s*\[\s*(\{|\]?\s*$)")
# Fewer letters are no sign.
_LETTERS = 8


def refuse_other_kind(head: bytes, encoding: str, where: object) -> None:
    """Raise InputError where a text file's first bytes are those of another kind of file, or of another encoding."""
    for start, kind, remedy in _STARTS:
        # BZh is also how a column may begin; a bzip2 file goes on with a digit and the digits of pi.
        if head.startswith(start) and (kind != "bzip2" or head[4:10] == b"1AY&SY"):
            raise InputError("the file is not text", where=where, found=f"it looks like {kind}", do=remedy)
    found = _wide_encoding(head)
    if found and encoding.lower().replace("_", "-").startswith(("utf-8", "utf8", "ascii", "latin", "iso", "cp", "win")):
        raise InputError(
            f"the file is not {encoding}",
            where=where,
            found=f"it looks like {found[:6].upper()}",
            do=_NAME_IT.format(found),
        )


def refuse_array(head: bytes, where: object) -> None:
    """Raise InputError where JSON lines are one JSON array of objects."""
    if _ARRAY.match(head):
        raise InputError(
            "one JSON object a line is read",
            where=where,
            found="it looks like a JSON array",
            do="convert it: jq -c '.[]' rows.json > rows.jsonl",
        )


def delimiter_hint(columns: Iterable[str], wanted: Iterable[str]) -> str:
    """What to do where a header of one column holds another delimiter, with the wanted names behind it or not; empty
    where it holds none. Of training and of scoring: who reads it may be at either.
    """
    given = list(columns)
    if len(given) != 1:
        return ""
    if given[0].lower().startswith("sep=") and len(given[0]) == len("sep=;"):
        return f"the first line is Excel's: take it out of the file, and {_named(given[0][-1])}"
    for mark in _DELIMITERS:
        if mark in given[0] and set(wanted) & {name.strip(' "') for name in given[0].split(mark)}:
            return f"the header is one column: {_named(mark)}"
    mark = max(_DELIMITERS, key=given[0].count)
    return f"the header is one column: is {mark!r} the delimiter? Then {_named(mark)}" if mark in given[0] else ""


def _named(mark: str) -> str:
    written = json.dumps(mark, allow_nan=False)
    return f"name the delimiter (--delimiter {mark!r} in scoring, `delimiter: {written}` in a recipe)"


def _wide_encoding(head: bytes) -> str:
    """The UTF-16 or UTF-32 that the bytes look like: by the mark, else by a zero beside every Latin letter."""
    # The mark of UTF-32 begins as that of UTF-16 does.
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    even, odd = head[0:512:2], head[1:512:2]
    if len(odd) >= _LETTERS and odd.count(0) > 0.8 * len(odd) and even.count(0) < 0.2 * len(even):
        return "utf-16-le"
    if len(odd) >= _LETTERS and even.count(0) > 0.8 * len(even) and odd.count(0) < 0.2 * len(odd):
        return "utf-16-be"
    return ""
