"""The hashed lock says what constraints.txt says."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def lock() -> ModuleType:
    """The script behind `make lock`."""
    spec = importlib.util.spec_from_file_location("lock", ROOT / ".ci" / "lock.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def locked() -> dict[str, list[str]]:
    """`name==version` to its hashes."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {line[0]: line[1:] for line in lines}


def test_the_lock_agrees_with_the_constraints(lock: ModuleType) -> None:
    """Every pin but torch's, no other, each with a SHA-256; after an edit of constraints.txt, `make lock`."""
    assert list(locked()) == lock.pinned()
    assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for hashes in locked().values() for one in hashes)
    assert all(locked().values())


def test_the_lock_brings_no_build_for_cuda() -> None:
    """Neither torch, whose registry build is the one for CUDA, nor one of the libraries that it brings along."""
    assert [pin for pin in locked() if re.match(r"torch==|nvidia|triton|cuda|cudnn", pin)] == []
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert re.search(r"^torch==", pinned, flags=re.MULTILINE)


def test_the_lock_names_no_registry() -> None:
    """Hashes hold wherever the files are from."""
    assert "://" not in (ROOT / "requirements.lock").read_text(encoding="utf-8")
