"""How fast a bundle scores an input on this machine, and where the time goes."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from serve.job import ScoreJob, run

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
    everything that is not the session, in all of the loop's.
    """
    # A whole job, journal and all: a rate without reading and writing would promise what no job keeps.
    with tempfile.TemporaryDirectory() as folder:
        report = run(replace(job, out=Path(folder) / "scores.parquet", tuned=False))
    return {name: report[name] for name in _KEPT}
