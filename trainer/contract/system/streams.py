"""Standard streams that a caller has closed (`>&-`, some cron jobs and daemons)."""

import os
import sys


def hold_standard_streams() -> None:
    """Put something in the place of each that is closed: the next file that is opened would get its number, and what
    libraries print would go into a user's output. Reading and writing there fail as on a closed stream, but for
    standard error, where nobody who would read it is missed.
    """
    for name, allowed in (("stdin", os.O_WRONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            # Of the free numbers the lowest is given: the stream's own.
            number = os.open(os.devnull, allowed)
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", closefd=False))
