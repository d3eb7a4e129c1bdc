"""Bundles that are made once."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve import bundles
from tests.serve.helpers import write_csv
from tests.serve.journal.dying import Dying
from trainer.contract.system.locks import hold


def _make(factory: pytest.TempPathFactory, name: str, **options: object) -> Path:
    """A bundle that the first worker makes for all: none changes what a test did not copy."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "bundles"
    folder.mkdir(exist_ok=True)
    with hold(folder / "lock", wait=True):
        # Left half-made by a failure, it is made again, so that each worker shows why.
        made = folder / f"{name}.made"
        if not made.exists():
            for rest in (folder / name, folder / f"{name}-checkpoint"):
                shutil.rmtree(rest, ignore_errors=True)
            bundles.make(folder / name, bundles.contract(**options))
            made.touch()
    return folder / name


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single-label bundle with fp32 and int8."""
    return _make(tmp_path_factory, "single")


@pytest.fixture(scope="session")
def multi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A multi-label bundle."""
    return _make(tmp_path_factory, "multi", kind="multi")


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for sentence pairs from the columns `text` and `second`."""
    return _make(tmp_path_factory, "pair", pair="second")


@pytest.fixture
def three_files(tmp_path: Path) -> Path:
    """A folder of three files with some 2,000 rows, a few of them bad."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, count in enumerate((900, 3, 1100)):
        texts = bundles.texts(count, seed=number)
        texts[1] = texts[count // 2] = ""
        write_csv(folder / f"{number}.csv", texts)
    return folder


@pytest.fixture(scope="session")
def dying() -> Iterator[Dying]:
    """Runs a command of `serve` that dies where the test says."""
    process = Dying()
    yield process
    process.close()


@pytest.fixture(scope="session")
def cascaded(single: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single-label bundle, fp32 alone, whose student takes some rows at agreements 0.8 and 0.9."""
    pytest.importorskip("torch")
    from tests.serve import cascades  # noqa: PLC0415 -- brings torch

    return cascades.make_bundle(single, tmp_path_factory.mktemp("cascades") / "single", bundles.contract())


@pytest.fixture(scope="session")
def multi_cascaded(single: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for several labels a row."""
    pytest.importorskip("torch")
    from tests.serve import cascades  # noqa: PLC0415 -- brings torch

    return cascades.make_bundle(single, tmp_path_factory.mktemp("cascades") / "multi", bundles.contract("multi"))
