"""Bundles that are made once."""

from pathlib import Path

import pytest

from tests.serve import bundles


def _make(folder: Path, name: str, **options: object) -> Path:
    return bundles.make(folder / name, bundles.contract(**options))


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single-label bundle with fp32 and int8."""
    return _make(tmp_path_factory.mktemp("bundles"), "single")


@pytest.fixture(scope="session")
def multi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A multi-label bundle."""
    return _make(tmp_path_factory.mktemp("bundles"), "multi", kind="multi")


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for sentence pairs from the columns `text` and `second`."""
    return _make(tmp_path_factory.mktemp("bundles"), "pair", pair="second")
