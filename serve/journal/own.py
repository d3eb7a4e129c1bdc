"""A folder of our own beside what users made: nobody else's links are followed, nobody else's files are removed."""

import os
import shutil
import stat
from pathlib import Path
from typing import IO

from trainer.contract.errors import InputError
from trainer.contract.system.files import sync_folder

_NAMES = ("journal", "lock", "errors.jsonl", "report.json", "parts")


def make_folder(path: Path) -> None:
    """Make a folder that only this user can write into, if it is not there. Raises InputError where that cannot be."""
    try:
        for parent in reversed([parent for parent in path.parents if not parent.exists()]):
            parent.mkdir(exist_ok=True)
            sync_folder(parent.parent)
        # Where the output lies others may write; in here nobody else shall.
        path.mkdir(mode=0o700, exist_ok=True)
        # Without this a power loss may take the folder, and with it all that was synced inside.
        sync_folder(path.parent)
    except OSError as error:
        raise InputError(
            "the output's folder cannot be written",
            where=error.filename or path.parent,
            found=error.strerror,
            do="choose another place with --out, or mend its permissions",
        ) from None


def require_own_folder(folder: Path) -> None:
    """Raise InputError where a work folder is a link or holds one: somebody else made it, and we would write there."""
    for path in (folder, *(sorted(folder.rglob("*")) if folder.is_dir() and not folder.is_symlink() else ())):
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if path == folder and not stat.S_ISLNK(status.st_mode):
            continue
        # A file with a second name may be somebody's, too.
        if not stat.S_ISDIR(status.st_mode) and (not stat.S_ISREG(status.st_mode) or status.st_nlink > 1):
            raise InputError(
                "the work folder holds a link, which no job of ours makes",
                where=path,
                found=f"a link to {path.readlink()}" if path.is_symlink() else "a file with another name elsewhere",
                do=f"look at who made {folder}, remove it, and begin anew",
            )


def open_own(path: Path) -> IO[bytes]:
    """Open a file of the work folder, unbuffered and appending: nothing is written later than we say.

    A link is not followed, whenever it was put there: OSError.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o666), "ab", buffering=0)


def remove_own(folder: Path) -> None:
    """Remove a work folder, if it is there. Raises InputError where it holds what no job of ours makes."""
    if not folder.exists() and not folder.is_symlink():
        return
    require_own_folder(folder)
    # The name is ours by habit only: a user may have chosen it, too.
    odd = [path for path in folder.iterdir() if path.name not in _NAMES and not path.name.startswith("rows-")]
    if odd:
        raise InputError(
            "a folder has the name of our finished work and is none",
            where=folder,
            found=odd[0].name,
            do="rename that folder, or choose another output",
        )
    shutil.rmtree(folder)
