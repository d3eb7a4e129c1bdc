"""What scoring says of drift: a sentence on the screen, and a file of its own for those who watch over jobs."""

import os
from pathlib import Path
from typing import Any

from export.bundle import REFERENCE
from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.system.files import read_json, refuse_existing, write_json

NO_REFERENCE = f"drift is not judged: the bundle has no {REFERENCE}; export again"
# What of a job's report says which rows drift is told of.
_ABOUT = ("version", "started", "ended", "bundle", "out", "rows_read", "rows_scored", "rows_rejected", "rows_cut")
# What a job puts beside its output.
_OWN = (".report.json", ".errors.jsonl", ".shard-")


def require_possible(path: Path, out: object, bundle: Path | None, *, resume: bool) -> None:
    """Raise InputError where a file of drift could not be written: before a job, not after hours of it.

    out: what the job writes. resume: whether a file of drift, which an earlier end of this job wrote, may be replaced.
    """
    if _is_of_job(path.absolute(), Path(str(out)).absolute()):
        raise InputError("--drift-report is a file of the job's own", where=path, do="choose another name")
    if not (resume and _is_drift(path)):
        refuse_existing(path)
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InputError("the folder of --drift-report is missing", where=path, do="make it first")
    if not os.access(folder, os.W_OK):
        raise InputError("the folder of --drift-report cannot be written", where=path, do="mend its permissions")
    if bundle is not None and not (bundle / REFERENCE).is_file():
        raise InputError("there is nothing to compare with", where=bundle / REFERENCE, do="export the bundle again")


def _is_of_job(path: Path, out: Path) -> bool:
    """Whether a job with this output writes that file, or a share of it does."""
    beside = path.parent == out.parent and path.name.startswith(tuple(f"{out.name}{end}" for end in _OWN))
    return path == out or path.is_relative_to(out) or beside


def _is_drift(path: Path) -> bool:
    try:
        return {*read_json(path)} == {*_ABOUT, "drift"}
    # Not there, or anything else than what `write_drift` writes.
    except (ArtifactError, OSError, TypeError):
        return False


def write_drift(path: Path, report: dict[str, Any]) -> None:
    """Write what a job's report says of drift, and of which rows, as JSON."""
    write_json(path, {**{name: report[name] for name in _ABOUT}, "drift": report["drift"]})


def drift_sentence(report: dict[str, Any]) -> str:
    """What a job's report says of drift, for a person."""
    found: str = NO_REFERENCE if report["drift"] is None else report["drift"]["sentence"]
    return found


def short(report: dict[str, Any]) -> dict[str, Any]:
    """A report without what is long: the last line on a screen."""
    drift = report["drift"]
    told = None if drift is None else {name: drift[name] for name in ("found", "sentence")}
    return {**{name: value for name, value in report.items() if name != "job"}, "drift": told}
