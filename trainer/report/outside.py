"""Files of later stages, a bundle's manifest and a scored file's report, read as the JSON that they are.

Training knows neither export nor scoring, so nothing of theirs is imported: what the page needs is looked up, and a
file that lacks it is refused by name.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.system.files import read_json, sha256

MANIFEST = "manifest.json"
# Bytes of a file of figures that is still read: what is larger is none.
_MOST = 64_000_000


def read_manifest(bundle: Path, measured_on: dict[str, str]) -> dict[str, Any]:
    """A bundle's manifest. measured_on: hashes of the run's checkpoint.

    Raises InputError where there is no bundle, ArtifactError where it lacks a part or was made of another checkpoint.
    """
    if not bundle.is_dir():
        raise InputError(
            "there is no bundle here", where=bundle, expected="a folder that export made", do="check --bundle"
        )
    found = _object(bundle / MANIFEST, ("name", "contract", "graphs", "files", "versions"), "export again")
    of = found.get("measured_on")
    if of and of != measured_on:
        raise ArtifactError(
            "the bundle was not made of this run's checkpoint, or of other decisions",
            where=bundle / MANIFEST,
            found=str(of.get("weights", "none"))[:16] if isinstance(of, dict) else "none",
            expected=f"weights {measured_on['weights'][:16]}...",
            do="export the run again, or give the run that the bundle is of",
        )
    return found


def read_scores(report: Path, bundle: Path | None) -> dict[str, Any]:
    """The report that `score` left beside a scored file.

    Raises InputError where it is none, or tells of another bundle than the one that is given.
    """
    if not report.is_file():
        raise InputError(
            "there is no report here",
            where=report,
            expected="the file OUT.report.json that `classifact score` left beside OUT",
            do="check --scores",
        )
    found = _object(report, ("rows_read", "rows_scored", "bundle", "precision"), "give the report of a scored file")
    if bundle is not None:
        own, told = (
            sha256(bundle / MANIFEST),
            found["bundle"].get("sha256") if isinstance(found["bundle"], dict) else None,
        )
        if told != own:
            raise InputError(
                "the file was scored with another bundle",
                where=report,
                found=f"sha256 {str(told)[:16]}...",
                expected=f"sha256 {own[:16]}... ({bundle})",
                do="give the bundle that scored it, or score again",
            )
    return found


def _object(path: Path, keys: Sequence[str], do: str) -> dict[str, Any]:
    if path.is_file() and path.stat().st_size > _MOST:
        raise InputError(
            "the file is too large for what it should be", where=path, found=f"{path.stat().st_size:,} bytes"
        )
    content = read_json(path)
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        raise ArtifactError("the file lacks what the page shows", where=path, found=f"no {', '.join(missing)}", do=do)
    return dict(content)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """A JSON lines file of ours; none where it is missing. Raises ArtifactError for a line that is none."""
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise ArtifactError("the file cannot be read", where=path, found=str(error), do="restore it") from None
