"""What the user named to the files that it stands for: folders and globs, without what is no input in them."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from serve.reading.urls import expand_url, side_bases
from trainer.contract.errors import InputError
from trainer.contract.text_files.formats import holds_rows, is_hidden, split_suffixes

STDIN = "-"
_SHOWN = 3


def expand(given: str) -> tuple[list[str], list[str]]:
    """The files that an input names, in order, and those that are left out of its folder or glob.

    Left out are names that begin with "." or "_" (unless the pattern does), what an earlier job wrote (outputs, which
    have a report beside them, reports and side files), and folders that a pattern matches or a link leads to. Raises
    InputError where nothing is named, a link leads nowhere, or a folder cannot be looked into.
    """
    if given == STDIN:
        return [given], []
    if not given:
        # Taken as a path it would be the folder at hand, with all that lies in it.
        raise InputError("an input has no name", found="''", do="name a file; a variable of the shell may be empty")
    if "://" in given:
        return expand_url(given)
    # A file that is there is meant, though its name holds a star.
    path = Path(given)
    if path.is_file() or path.is_fifo():
        return [given], []
    if path.is_dir():
        # By name, whatever order the file system has: windows, and with them int8 scores, depend on it.
        found = sorted(item for item in _walk(path) if _is_file(item) and split_suffixes(item.name)[0] is not None)
        out = [item for item in found if is_hidden(item.relative_to(path)) or _of_a_job(item, path)]
        # Another folder's files, which may hold this one.
        out += sorted(item for item in _walk(path) if item.is_dir())
        out += [item for item in found if not holds_rows(item.name)]
        expected = "a name that ends in .csv, .tsv, .jsonl, .ndjson, .parquet or .pq, compressed or not"
    elif any(character in given for character in "*?["):
        # pathlib matches relative patterns only.
        anchor = Path(path.anchor) if path.is_absolute() else Path()
        pattern = str(path.relative_to(anchor)) if path.is_absolute() else given
        # In the order of names, as a folder's files.
        matched = sorted(anchor.glob(pattern))
        found = [item for item in matched if _is_file(item)]
        out = [item for item in found if is_hidden(item, given) or _of_a_job(item, anchor)]
        out += [item for item in matched if item.is_dir()]
        expected = "a file that it matches"
    else:
        raise InputError("there is no such input", where=given, do="check the path; quote a glob")
    left = set(out)
    kept = [str(item) for item in found if item not in left]
    if not kept:
        raise InputError(
            "no input is there",
            where=given,
            found=told_names(map(str, out)),
            expected=expected,
            do="check the path, or name the files themselves",
        )
    return kept, list(dict.fromkeys(map(str, out)))


def _walk(folder: Path) -> Iterator[Path]:
    """What lies in a folder and below, files and links alike. Raises InputError where it cannot be looked into."""

    def refuse(error: OSError) -> None:
        """Raise InputError for a folder that cannot be looked into."""
        raise InputError(
            "a folder of the input cannot be read",
            where=error.filename,
            found=error.strerror,
            do="check its permissions; its rows would be missing",
        )

    for parent, folders, names in os.walk(folder, onerror=refuse):
        within = Path(parent)
        yield from (within / name for name in names)
        yield from (within / name for name in folders if (within / name).is_symlink())


def _is_file(path: Path) -> bool:
    """Whether a name leads to a file. Raises InputError where it is a link that leads nowhere: its rows are missing."""
    if path.is_symlink() and not path.exists() and split_suffixes(path.name)[0] is not None:
        raise InputError(
            "a link of the input leads nowhere",
            where=path,
            found=str(path.readlink()),
            do="restore what it leads to, or remove it",
        )
    return path.is_file()


def told_names(names: Iterable[str]) -> str:
    """How many names, and some of them; nothing of none."""
    given = [PurePath(name).name for name in names]
    rest = ", ..." if len(given) > _SHOWN else ""
    return f"{len(given)} left out: {', '.join(given[:_SHOWN])}{rest}" if given else ""


def _of_a_job(path: Path, root: Path) -> bool:
    """Whether an earlier job wrote the file: below `root`, a report lies beside it or a folder that it is in."""
    if any(base != path.name and path.with_name(base).exists() for base in side_bases(path.name)):
        return True
    # Part of a job's folder, which has its report beside it; but a folder that the user names is wanted.
    within = [path, *(parent for parent in path.parents if parent != root and parent.is_relative_to(root))]
    return any(item.name and item.with_name(f"{item.name}.report.json").exists() for item in within)
