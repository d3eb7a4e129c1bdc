"""Runs and bundles that several tests read; a test that changes one copies it first."""

from pathlib import Path

import pytest

from export.pipeline import ExportJob, export
from tests.export.runs import make_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single-label run."""
    return make_run(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="session")
def bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `run`, fp32 and int8."""
    out = tmp_path_factory.mktemp("bundles") / "tiny"
    # Random weights lose more to int8 than trained ones do.
    export(ExportJob(run=run, out=out, min_agreement=0.9, max_drop=0.1, timing=False, quiet=True))
    return out
