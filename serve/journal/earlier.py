"""What an earlier job left at a local place: its output, its unfinished work, or nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serve.journal.notes import compare, lock, plain, read_notes
from serve.journal.own import remove_own, require_own_folder
from serve.journal.state import JobTarget, work_folder
from trainer.contract.errors import InputError
from trainer.contract.system.files import read_json, refuse_existing


def require_free(target: JobTarget, *, resume: bool) -> None:
    """Raise InputError where the job cannot begin: its output exists, another process writes it, or an unfinished job
    lies in the way.
    """
    require_own_folder(target.work)
    if target.part_rows is None and target.out.is_dir():
        raise InputError(
            "the output is a folder",
            where=target.out,
            do="name a file in it; or say --part-rows N for a folder of parts",
        )
    journal = target.work / "journal"
    if journal.exists():
        # Before anybody is told to remove the work of a process that is alive.
        lock(target.work, target.out).close()
    # A journal without a state was killed before its first window: nothing would be lost by beginning anew.
    states = noted_states(read_notes(journal)) if journal.exists() else []
    if states and not resume:
        raise InputError(
            "an unfinished job for this output is here",
            where=target.work,
            found=f"{states[-1]['read']} rows done",
            do="go on with it by --resume, or remove that folder to begin anew",
        )
    if not target.work.exists() and not (resume and earlier_job(target.out)):
        # The side file and the report too: they may be the user's only word of an earlier run.
        for path in (target.out, target.errors, target.report):
            refuse_existing(path)


def finished_report(target: JobTarget, identity: Mapping[str, object]) -> dict[str, Any] | None:
    """The report of an output that this very job made already, or None.

    Raises InputError where another job made it.
    """
    if not target.out.exists() or not target.report.exists() or target.work.exists():
        return None
    # Left where a kill came between the output's name and the end.
    remove_own(target.done)
    report = read_json(target.report)
    if not isinstance(report, dict) or not isinstance(report.get("job"), dict):
        return None
    compare(report["job"], plain(identity), target.out)
    return report


def earlier_job(out: Path) -> dict[str, Any] | None:
    """The identity of the job that is under way for an output, or that made it; None where there is none."""
    # Before anything in it is believed.
    require_own_folder(work_folder(out))
    journal, report = work_folder(out) / "journal", out.with_name(f"{out.name}.report.json")
    notes = read_notes(journal) if journal.exists() else []
    if notes:
        return dict(notes[0]["job"])
    found = read_json(report) if out.exists() and report.exists() else None
    job = found.get("job") if isinstance(found, dict) else None
    return job if isinstance(job, dict) else None


def noted_states(notes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How far the job was, note by note."""
    return [entry["state"] for entry in notes if "state" in entry]
