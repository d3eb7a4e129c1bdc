"""Lines of a text stream for the csv module, decoded so that bytes that are no text mark the row they stand in."""

import codecs
import csv
from collections import deque
from io import BufferedReader, RawIOBase, TextIOWrapper
from typing import BinaryIO, cast

from trainer.contract.text_files.looks import refuse_array, refuse_other_kind

MAX_RECORD = 16 * 2**20
OPEN_QUOTE = "a quote is opened and never closed"
# At a file's start it is no part of the first column's name.
BYTE_ORDER_MARK = "\ufeff"
_PEEKED = 1024


def _escape_bytes(error: UnicodeError) -> tuple[str, int]:
    """Bytes that are no text become lone surrogates, U+DC00 plus the byte, which no decoder returns otherwise.

    Python's own "surrogateescape" does so for bytes from 128 up and fails on the others, which UTF-16 can contain.
    """
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error("classifact-escape", _escape_bytes)


class Lines:
    """Lines of a file for the csv module, which takes as many as a record needs; they can be given back."""

    def __init__(self, file: TextIOWrapper) -> None:
        self._file = file
        self._returned: deque[str] = deque()
        self._size = 0
        self._alone = 0
        self.taken: list[str] = []
        self.start = 1

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        if self.taken and self._alone > 0:
            raise csv.Error(OPEN_QUOTE)
        line = self._returned.popleft() if self._returned else self._read_line()
        if not line:
            raise StopIteration
        # A mark before a quote or a brace comes from files that were joined: it is not part of a cell either.
        if not self.taken and line.startswith(BYTE_ORDER_MARK) and (self.start == 1 or line[1:2] in ('"', "{")):
            line = line[1:]
        self.taken.append(line)
        # A record is bounded, so a quote that is never closed cannot pull the whole file into memory.
        self._size += len(line)
        if self._size > MAX_RECORD:
            raise TooLongError
        return line

    def _read_line(self) -> str:
        """The next line; of one that is too long only the start is kept, and one character more than a record may
        have.
        """
        line = rest = self._file.readline(MAX_RECORD + 1)
        while len(rest) > MAX_RECORD and not rest.endswith("\n"):
            rest = self._file.readline(MAX_RECORD + 1)
        return line if line is rest or line.endswith("\n") else line[:MAX_RECORD] + "\n"

    def close(self) -> None:
        """Close the file: left to the garbage collector, it would be called a leak."""
        self._file.close()

    @property
    def held(self) -> int:
        """Bytes that the taken lines may hold in memory: a character beyond ASCII makes each of its line take four."""
        return sum(len(line) if line.isascii() else 4 * len(line) for line in self.taken)

    def next_record(self) -> None:
        """Start a record at the next line."""
        self.start += len(self.taken)
        self._alone -= len(self.taken)
        self.taken, self._size = [], 0

    def give_back(self) -> None:
        """Keep the first line of what was taken and return the others, to be read as records of their own.

        All but the last of them must be whole records: a quote that one of them leaves open would meet the same end,
        and trying each would take a time that grows with the square of the lines.
        """
        self._alone = max(self._alone, len(self.taken) - 1)
        self._returned.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]


class TooLongError(Exception):
    """A record is longer than MAX_RECORD characters."""

    def __str__(self) -> str:
        return f"the record is longer than {MAX_RECORD} characters"


def open_lines(stream: BinaryIO, encoding: str, where: object, *, json: bool = False) -> Lines:
    """The lines of a stream. Raises InputError where its first bytes are those of another kind of file.

    json: whether each line is to be an object: then one array of them is another kind.
    """
    peeked = cast("BufferedReader", stream if hasattr(stream, "peek") else BufferedReader(cast("RawIOBase", stream)))
    try:
        head = peeked.peek(_PEEKED)[:_PEEKED]
        refuse_other_kind(head, encoding, where)
        if json:
            refuse_array(head, where)
    except BaseException:
        peeked.close()
        raise
    # Undecodable bytes mark the row they stand in, and no other.
    return Lines(TextIOWrapper(peeked, encoding=encoding, errors="classifact-escape", newline="\n"))
