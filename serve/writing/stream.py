"""Scored rows to standard output: no work folder, no resuming; rejected rows and the report go to standard error."""

import sys
from dataclasses import replace

from serve.journal.state import State
from serve.writing.text_out import Format
from trainer.contract.errors import InputError


class StreamSink:
    """Writes as rows come. Takes the place of a journal where the output is "-"."""

    def __init__(self, output: Format) -> None:
        if not output.final:
            raise InputError(
                "Parquet cannot be written to standard output",
                expected="--out-format csv, tsv or jsonl",
                do="name a file with --out",
            )
        self.state = State()
        # Held from now on: what libraries print meanwhile may be sent elsewhere.
        self._out = sys.stdout.buffer
        self._out.write(output.head())

    def append(self, rows: bytes, errors: bytes, state: State) -> None:
        """Write a window's rows, and its rejected rows to standard error."""
        self._out.write(rows)
        sys.stderr.write(errors.decode())
        self.state = replace(
            state,
            rows_bytes=self.state.rows_bytes + len(rows),
            errors_bytes=self.state.errors_bytes + len(errors),
        )
        self.commit()

    @property
    def rejected(self) -> str:
        """Where rejected rows go."""
        return "standard error"

    def commit(self) -> None:
        """Hand the rows to whoever reads."""
        self._out.flush()
