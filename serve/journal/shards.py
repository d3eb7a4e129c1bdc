"""A job in shares, for a queue of machines without a cluster: share K of N scores every N-th window; `merge` joins.

A shard file is frames: a window's ordinal and length (two 8-byte integers), then its rows in the output's format. The
first frame is the output's start. Windows are cut as in an undivided job, so the merged output has its very bytes.
"""

import heapq
import json
import re
import secrets
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from serve.journal.state import JobState, ScoredWindow
from serve.journal.work_folder import Journal
from serve.reading.windows import Window
from serve.scoring.audit import joined
from serve.writing.rejects import ErrorBound
from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.figures.drift import merged_drift
from trainer.contract.system.files import atomic_file, read_json, refuse_existing, sha256, write_json

_FRAME = struct.Struct("<QQ")
# No window has this ordinal: the frame of the output's start.
_HEAD = 2**64 - 1
_SUMS = (
    "rows_read",
    "rows_scored",
    "rows_abstained",
    "rows_rejected",
    "cells_left_out",
    "rows_cut",
    "tokens",
    "tokens_cut",
    "tokens_cut_estimated",
    "distinct_texts",
    "batches_halved",
    "cpu_seconds",
)
# What is read of a share's report.
_REPORTED = (
    *(*_SUMS, "version", "started", "ended", "bundle", "reasons"),
    *("cell_reasons", "drift", "cascade", "sha256", "job"),
)


class FrameFormat:
    """What a shard's file begins with; its rows come framed through a `ShardJournal`."""

    final = True
    suffix = ""

    def __init__(self, head: bytes) -> None:
        self._head = head

    def head(self) -> bytes:
        """The output's start, as a frame."""
        return _FRAME.pack(_HEAD, len(self._head)) + self._head

    def encode(self, block: object) -> bytes:
        """Rows are encoded by the output's own format."""
        raise NotImplementedError

    def finish(self, spool: Path, out: BinaryIO) -> None:
        """Nothing is left to do."""


class ShardJournal(Journal):
    """A journal that frames each window's rows; a window without rows is a frame too."""

    def append(self, scored: ScoredWindow) -> None:
        """Add a window's frame."""
        # A window's result carries the ordinal of the next one.
        frame = _FRAME.pack(scored.ordinal - 1, len(scored.rows)) + scored.rows
        super().append(replace(scored, rows=frame))


def shard_path(out: Path, shard: tuple[int, int]) -> Path:
    """The file of share K of N."""
    return out.with_name(f"{out.name}.shard-{shard[0]}-of-{shard[1]}")


def share_of(windows: Iterator[Window], shard: tuple[int, int]) -> Iterator[Window]:
    """The windows of share K of N, K counted from 1."""
    return (window for window in windows if window.ordinal % shard[1] == shard[0] - 1)


def parse_shard(text: str) -> tuple[int, int]:
    """ "K/N" with K from 1 to N. Raises ValueError."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(f"expected K/N with K from 1 to N, found {text!r}")
    return int(found[1]), int(found[2])


def merge_files(out: Path, bound: ErrorBound) -> dict[str, Any]:
    """Join the shards that lie beside `out` into it; they are kept.

    Returns the report. Raises InputError where one is missing or of another job, ArtifactError where one was changed,
    ClassifactError where too many rows of all were rejected.
    """
    for path in (out, out.with_name(f"{out.name}.errors.jsonl"), out.with_name(f"{out.name}.report.json")):
        refuse_existing(path)
    shards = _shards(out)
    reports = [_report(path) for path in shards]
    job = same_job(reports, shards)
    # Machines that failed, and copies that were cut short, are found before anything is written.
    for path, report in zip(shards, reports, strict=True):
        if sha256(path) != report["sha256"]:
            raise ArtifactError("a shard was changed", where=path, do="score that shard again")
    totals = totals_of(reports)
    require_scored(totals, bound, out.parent)
    errors = out.with_name(f"{out.name}.errors.jsonl")
    _join(out, shards, job["output"])
    if totals["status"] != "done":
        _join_errors(errors, shards, job)
    whole = {
        "out": str(out),
        "errors": str(errors) if totals["status"] != "done" else None,
        "shards": len(shards),
        **totals,
        "sha256": sha256(out),
        "job": job,
    }
    write_json(out.with_name(f"{out.name}.report.json"), whole)
    return whole


def _shards(out: Path) -> list[Path]:
    pattern = re.compile(re.escape(out.name) + r"\.shard-(\d+)-of-(\d+)")
    found = {}
    for path in out.parent.iterdir():
        match = pattern.fullmatch(path.name)
        if match:
            found[int(match[1]), int(match[2])] = path
    counts = {count for _, count in found}
    if len(counts) != 1:
        raise InputError(
            "there is no shard of this output" if not found else "the shards are of differently divided jobs",
            where=out,
            found=", ".join(sorted(path.name for path in found.values())),
            expected=f"{out.name}.shard-1-of-N to -N-of-N",
            do="score with --shard K/N first",
        )
    count = counts.pop()
    missing = [f"{number}/{count}" for number in range(1, count + 1) if (number, count) not in found]
    if missing:
        raise InputError("shards are missing", where=out.parent, found=", ".join(missing), do="score them first")
    return [found[number, count] for number in range(1, count + 1)]


def _report(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = read_json(path.with_name(f"{path.name}.report.json"))
    return report


def totals_of(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """The sums of the shares' counts, and what they have in common: the bundle, the time from first to last."""
    sums = {name: round(sum(report[name] for report in reports), 3) for name in _SUMS}
    return {
        "version": reports[0]["version"],
        "started": min(report["started"] for report in reports),
        "ended": max(report["ended"] for report in reports),
        "bundle": reports[0]["bundle"],
        "status": "done with rejects" if sums["rows_rejected"] or sums["cells_left_out"] else "done",
        **sums,
        "drift": merged_drift([report["drift"] for report in reports]),
        "reasons": _sum(report["reasons"] for report in reports),
        "cell_reasons": _sum(report["cell_reasons"] for report in reports),
        "cascade": joined([report["cascade"] for report in reports], int(sums["rows_scored"])),
    }


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    return dict(sum(map(Counter, counts), Counter[str]()))


def require_scored(totals: dict[str, Any], bound: ErrorBound, where: object) -> None:
    """Raise ClassifactError where an undivided job would: its shares may each hold rejected rows alone."""
    state = JobState(
        read=totals["rows_read"],
        scored=totals["rows_scored"],
        rejected=totals["rows_rejected"],
        reasons=totals["reasons"],
    )
    bound.require(
        state, where=where, do="mend the input and score anew, or allow as many by --max-errors, here too", whole=True
    )


def same_job(reports: list[dict[str, Any]], shards: Sequence[Path | str]) -> dict[str, Any]:
    """What the shards have in common. Raises InputError where that is not all but their number."""
    for path, report in zip(shards, reports, strict=True):
        _require_ours(path, report)
    first = {name: value for name, value in reports[0]["job"].items() if name != "shard"}
    for path, report in zip(shards, reports, strict=True):
        for name in {*first, *report["job"]} - {"shard"}:
            if report["job"].get(name) != first.get(name):
                raise InputError(
                    f"the shards are of different jobs: {name} differs",
                    where=path,
                    found=report["job"].get(name),
                    expected=first.get(name),
                    do="score that shard again with the settings of the others",
                )
    return first


def _require_ours(where: Path | str, report: dict[str, Any]) -> None:
    """Raise ArtifactError where a share's report lacks what is summed: another version of Classifact wrote it, say."""
    missing = [name for name in _REPORTED if name not in report]
    if missing or not isinstance(report["job"], dict):
        raise ArtifactError(
            "a share's report cannot be merged",
            where=where,
            found=f"version {report.get('version', 'unknown')}, without {', '.join(missing) or 'a job'}",
            do="merge with the version that scored the shares, or score that share again with this one",
        )


def _join(out: Path, shards: list[Path], kind: str) -> None:
    """Write the shards' windows in order."""
    files: list[BinaryIO] = [path.open("rb") for path in shards]
    # A name that nobody could have planted a link under.
    spool = out.with_name(f".{out.name}.{secrets.token_hex(8)}.partial")
    try:
        if kind == "parquet":
            from serve.writing.parquet_out import write_spooled

            with spool.open("xb") as rows:
                _write_frames(files, rows, out)
            with atomic_file(out) as made:
                write_spooled(spool, cast("BinaryIO", made))
        else:
            with atomic_file(out) as made:
                _write_frames(files, made, out)
    finally:
        spool.unlink(missing_ok=True)
        for file in files:
            file.close()


def _write_frames(files: list[BinaryIO], rows: IO[bytes], out: Path) -> None:
    # Every share begins with the output's start, and the output has it once.
    heads = [_frame(file) for file in files]
    rows.write(heads[0][1] if heads[0] else b"")
    frames = heapq.merge(*(_frames(file) for file in files), key=lambda frame: frame[0])
    # Frames of empty windows are there too, so a gap is a loss and not a window of rejected rows.
    for expected, (ordinal, content) in enumerate(frames):
        if ordinal != expected:
            raise ArtifactError(
                "a window is missing", where=out, found=ordinal, expected=expected, do="score the shards again"
            )
        rows.write(content)


def _frames(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    while (frame := _frame(file)) is not None:
        yield frame


def _frame(file: BinaryIO) -> tuple[int, bytes] | None:
    head = file.read(_FRAME.size)
    if not head:
        return None
    ordinal, length = _FRAME.unpack(head)
    return ordinal, file.read(length)


def _join_errors(errors: Path, shards: list[Path], job: dict[str, Any]) -> None:
    """Rejected rows in the order of the inputs and of their lines."""
    # By place among the inputs, not by name: the user's order need not be the alphabet's.
    order = {job[f"input {number}"][0]: number for number in range(job["inputs"])}
    paths = [path.with_name(f"{path.name}.errors.jsonl") for path in shards]

    def place(line: bytes) -> tuple[int, int]:
        """Where a rejected row lies: the number of its file, and its line."""
        row = json.loads(line)
        return order[row["file"]], row["line"]

    files = [path.open("rb") for path in paths if path.exists()]
    try:
        with atomic_file(errors) as made:
            made.writelines(heapq.merge(*files, key=place))
    finally:
        for file in files:
            file.close()
