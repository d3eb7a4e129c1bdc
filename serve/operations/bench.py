"""How fast a bundle scores an input on this machine, and where the time goes."""

import errno
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from serve.job import ScoreJob, run
from trainer.contract.errors import ClassifactError

_KEPT = (
    "rows_scored",
    "seconds",
    "rows_per_second",
    "tokens_per_second",
    "padding_share",
    "non_session_share",
    "cpu_seconds",
    "session_cpu_seconds",
    "peak_memory_mb",
    "precision",
    "provider",
    "workers",
    "phases",
    "cascade",
)


def bench(job: ScoreJob) -> dict[str, Any]:
    """Run a whole job, its output thrown away, and keep its figures.

    seconds are of the loop, reading and writing included, opening the bundle not. non_session_share: processor time of
    everything that is not the session, in all of the loop's. Raises ClassifactError where temporary files find no room.
    """
    # A whole job, journal and all: a rate without reading and writing would promise what no job keeps.
    with tempfile.TemporaryDirectory() as folder:
        try:
            report = run(replace(job, out=Path(folder) / "scores.parquet", tuned=False))
        except (ClassifactError, OSError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if not isinstance(cause, OSError) or cause.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            # A job's own words offer to go on with what is kept; here nothing is.
            raise ClassifactError(
                "the scores cannot be written, though they are thrown away afterwards",
                where=folder,
                found=cause.strerror,
                do="make room there, or name another folder by TMPDIR",
            ) from cause
    return {name: report[name] for name in _KEPT}
