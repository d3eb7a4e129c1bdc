"""The one place that locks: a lock on a file that ends with its process, however it ends."""

import errno
import fcntl
import os
from pathlib import Path
from typing import IO

from trainer.contract.errors import InputError


def hold(path: Path, *, wait: bool = False) -> IO[bytes]:
    """Make the file where there is none, and hold it until the returned one is closed or this process ends.

    Raises BlockingIOError where another process has it and `wait` is off, InputError where the file system locks
    nothing or the file is a link.
    """
    try:
        # Made through a link, the file would lie where somebody else chose, whenever the link was put there.
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise InputError("the lock is a link, which is none of ours", where=path, do="look who made it") from None
    file = os.fdopen(handle, "ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        file.close()
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):
            raise InputError(
                "the file system cannot lock a file, which keeps two commands out of one output",
                where=path,
                found=error.strerror,
                do="write to a local disk, or mount this one with locks (Lustre: -o flock)",
            ) from error
        raise
    return file
