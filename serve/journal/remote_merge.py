"""The shares of a job at a URL are one set of parts already: `merge` checks that it is whole, and puts its report."""

import re
from typing import Any

from serve.journal.shards import require_scored, same_job, totals_of
from serve.journal.store import Store
from serve.writing.rejects import ErrorBound
from trainer.contract.errors import ArtifactError, InputError

_REPORT = re.compile(r"_report-(\d+)-of-(\d+)\.json")


def merge_parts(url: str, bound: ErrorBound) -> dict[str, Any]:
    """Check that every share's report is there, that they are of one job, and that exactly their objects are there.

    Returns the report, which is put as the undivided job's. Raises InputError where a share is missing or of another
    job, ArtifactError where an object is missing, of another size, or not theirs. Sizes are compared, bytes are not
    read.
    """
    # By names, sizes and reports alone: reading the parts would cost what scoring on many machines has spared.
    store = Store(url)
    names = store.names()
    if "_report.json" in names:
        raise InputError("the output is whole already", where=store.url, do="remove _report.json to check it again")
    shares = _shares(store, names)
    reports = [store.read(name) or {} for name in shares]
    job = same_job(reports, [f"{store.url}/{name}" for name in shares])
    expected = {name: size for report in reports for name, size in report["bytes"].items()}
    _require_whole(
        store, expected, {name: size for name, size in names.items() if not name.startswith(("_job", "_report"))}
    )
    totals = totals_of(reports)
    require_scored(totals, bound, store.url)
    errors = {name: digest for report in reports for name, digest in (report["errors_sha256"] or {}).items()}
    whole = {
        "out": store.url,
        "errors": f"{store.url}/_errors" if errors else None,
        "shards": len(shares),
        **totals,
        "sha256": dict(sorted((name, digest) for report in reports for name, digest in report["sha256"].items())),
        "errors_sha256": dict(sorted(errors.items())) or None,
        "bytes": dict(sorted(expected.items())),
        "job": job,
    }
    # Last, as for an undivided job: who finds it finds all parts.
    store.write("_report.json", whole)
    return whole


def _shares(store: Store, names: dict[str, int]) -> list[str]:
    """The reports' names, by number. Raises InputError where one is missing."""
    found = {(int(match[1]), int(match[2])): name for name in names if (match := _REPORT.fullmatch(name))}
    # Shares 1/2 and 2/3 have rows in common and miss others.
    counts = {count for _, count in found}
    if len(counts) != 1:
        raise InputError(
            "the shards are of differently divided jobs" if found else "there is no whole shard of this output",
            where=store.url,
            found=", ".join(sorted(found.values())),
            expected="_report-1-of-N.json to _report-N-of-N.json",
            do="score with --shard K/N first, or go on with --resume",
        )
    count = counts.pop()
    missing = [f"{number}/{count}" for number in range(1, count + 1) if (number, count) not in found]
    if missing:
        raise InputError(
            "shards are missing", where=store.url, found=", ".join(missing), do="score them, or go on with --resume"
        )
    return [found[number, count] for number in range(1, count + 1)]


def _require_whole(store: Store, expected: dict[str, int], found: dict[str, int]) -> None:
    """Raise ArtifactError where the objects are not exactly those that the shares put."""
    for what, names in (
        ("is missing", sorted(set(expected) - set(found))),
        ("is of no share", sorted(set(found) - set(expected))),
        ("was changed", sorted(name for name in set(expected) & set(found) if expected[name] != found[name])),
    ):
        if names:
            raise ArtifactError(
                f"an object {what}",
                where=f"{store.url}/{names[0]}",
                found=f"{found.get(names[0], 'no')} bytes ({len(names)} such objects)",
                expected=f"{expected.get(names[0], 'no')} bytes",
                do="remove what is no share's, or score that share again into an empty place",
            )
