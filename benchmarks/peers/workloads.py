"""What is scored: a run, its bundle, and rows; given by the user, or made here from data that lies on this machine.

Rows are files of JSON lines: `records` as the bundle reads them, `texts` as it joins them. Both are in one shuffled
order, so that the first N are a fair sample of all.
"""

import csv
import json
import random
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import Any

from benchmarks.peers import leash
from export.bundle import Bundle
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import BadRow, InputError
from trainer.contract.inputs import InputSpec
from trainer.contract.system.files import json_line
from trainer.contract.system.machine import cpu_count

# More rows than this are not needed to tell rates apart; on a GPU a round of fewer would be over too soon.
MOST_ROWS = 7_600
MOST_ROWS_GPU = 30_000


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One classifier and the rows it scores."""

    name: str
    """As tables show it."""
    checkpoint: Path
    bundle: Path
    folder: Path
    """Where the files for contestants lie."""
    labels: tuple[str, ...]
    """Names, in the order of their numbers."""
    truth: tuple[int | None, ...]
    """The right label of each row; None where the rows do not tell."""

    def texts(self) -> list[str]:
        """All rows, in their shuffled order."""
        return [line["text"] for line in read_lines(self.folder / "texts.jsonl")]

    @property
    def settings(self) -> dict[str, Any]:
        """What every contestant's `load` is given."""
        contract = Checkpoint.open(self.checkpoint).contract
        return {
            "checkpoint": str(self.checkpoint),
            "bundle": str(self.bundle),
            "exported": str(self.folder / "exported"),
            "texts": str(self.folder / "texts.jsonl"),
            "records": str(self.folder / "records.jsonl"),
            "calibration": str(self.folder / "calibration.jsonl"),
            "labels": list(self.labels),
            "max_tokens": contract.encoding.max_tokens,
            "processors": cpu_count(),
        }


def workload(name: str, run: Path, bundle: Path, rows: Path | None, folder: Path, most: int = MOST_ROWS) -> Workload:
    """Write what contestants read.

    rows: CSV or JSON lines with the bundle's columns and, if it is known, a column `label`; None: the run's test split,
        else its validation split. folder: is filled. most: rows that are taken, at random. Raises InputError for rows
        that the bundle cannot read.
    """
    opened, checkpoint = Bundle.open(bundle), Checkpoint.best(run)
    labels, spec = opened.contract.labels.names, opened.contract.input
    if opened.contract.labels.kind != "single" or spec.pair is not None:
        raise InputError("only bundles that give one label to one text are compared here", where=bundle)
    splits = [run / "splits" / f"{each}.jsonl" for each in ("test", "validation")]
    source = rows or next(path for path in splits if path.exists())
    records = list(_records(source, spec))
    random.Random(0).shuffle(records)  # noqa: S311 -- an order, not a secret
    records = records[:most]
    folder.mkdir(parents=True, exist_ok=True)
    columns = [{column: record[column] for column in spec.columns} for record, _ in records]
    write_lines(folder / "records.jsonl", columns)
    write_lines(folder / "texts.jsonl", [{"text": spec.read(record)[0]} for record in columns])
    # Ranges of static int8 are taken from rows that nothing is measured on.
    write_lines(folder / "calibration.jsonl", [{"text": record["text"]} for record in read_lines(splits[1])])
    if not (folder / "exported" / "model.onnx").exists():
        _export(checkpoint.path, folder / "exported")
    numbers = {name: number for number, name in enumerate(labels)}
    return Workload(
        name=name,
        checkpoint=checkpoint.path,
        bundle=bundle,
        folder=folder,
        labels=labels,
        truth=tuple(numbers.get(label) for _, label in records),
    )


def columns_of(text: str, spec: InputSpec) -> dict[str, str]:
    """A text that a run has kept, joined, as columns that are read as that text again.

    Raises InputError where it cannot be cut into as many.
    """
    *others, last = spec.text
    if spec.on_null == "empty":
        return {**dict.fromkeys(others, ""), last: text}
    # No column may be empty: each takes as much as there is something to see in, up to a place of the joiner.
    columns, pieces = {}, text.split(spec.join) if spec.join else list(text)
    for name in others:
        columns[name] = pieces.pop(0) if pieces else ""
        while pieces and not _seen(columns[name]):
            columns[name] += spec.join + pieces.pop(0)
    columns[last] = spec.join.join(pieces)
    if not all(map(_seen, columns.values())):
        raise InputError(
            "a text of the run cannot be taken apart into its columns again",
            found=text[:80],
            expected=f"something in each of {', '.join(spec.text)}",
            do="give the rows as they were: --rows FILE",
        )
    return columns


def _seen(text: str) -> bool:
    try:
        InputSpec(text=("text",)).read({"text": text})
    except BadRow:
        return False
    return True


def _records(source: Path, spec: InputSpec) -> Iterator[tuple[dict[str, str], str]]:
    """Records with the bundle's columns, and their labels, empty where they are not told."""
    if source.suffix == ".csv":
        with source.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            spec.require(reader.fieldnames or (), source)
            yield from ((dict(row), row.get("label", "")) for row in reader)
        return
    for line in read_lines(source):
        # A run's split holds the joined text.
        record = line if set(spec.text) <= set(line) else columns_of(line["text"], spec)
        yield record, (line.get("labels") or [line.get("label", "")])[0]


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """A file of JSON lines, one for each object."""
    path.write_text("".join(f"{json_line(line)}\n" for line in lines), encoding="utf-8")


def _export(checkpoint: Path, folder: Path) -> None:
    """As optimum writes it: what its users, OpenVINO's and ONNX Runtime's begin with."""
    code = "import sys; from optimum.exporters.onnx import main_export as export; export(sys.argv[1], sys.argv[2], "
    code += "task='text-classification', do_validation=False)"
    leash.run([sys.executable, "-c", code, str(checkpoint), str(folder)], stdout=PIPE, stderr=PIPE)
