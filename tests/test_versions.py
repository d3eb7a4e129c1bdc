"""The versions that pyproject.toml promises for the scorer: its tests pass with the lowest and with the newest."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.serve import bundles

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
# The scorer's tests that need nothing but the scorer, pytest and hypothesis.
TESTS = (
    "reading/test_sources.py",
    "scoring/test_session.py",
    "operations/test_operations.py",
    "operations/test_tune.py",
    "writing",
    "journal/test_resume.py",
    "journal/test_shards.py",
    "test_bad_input.py",
    "test_cli.py",
    "test_fuzz.py",
    "test_scores.py",
)


def requirements() -> list[str]:
    """What `classifact[serve]` asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["serve"]]


def lowest(wanted: list[str]) -> list[str]:
    """The same at the lowest version of each range."""
    return [re.sub(r">=\s*([\w.]+).*", r"==\1", one) for one in wanted]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundles that the tests open, made where there is torch."""
    folder = tmp_path_factory.mktemp("made")
    for name, options in {"single": {}, "multi": {"kind": "multi"}, "pair": {"pair": "second"}}.items():
        bundles.make(folder / name, bundles.contract(**options))
    return folder


def python(version: str) -> str:
    """An interpreter of this version; the test is skipped where there is none."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    folders = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    found = sys.executable if version == here else shutil.which(f"python{version}") if not folders else str(folders[-1])
    if found is None:
        pytest.skip(f"there is no Python {version} here")
    return found


@pytest.mark.parametrize(
    ("version", "low"), [("3.11", True), ("3.11", False), ("3.12", False), ("3.13", False)], ids=str
)
def test_the_scorer_works_with(version: str, low: bool, made: Path, tmp_path: Path) -> None:
    """Hundreds of the scorer's tests pass in a fresh environment, where its extra was installed and no torch is."""
    wanted = lowest(requirements()) if low else requirements()
    subprocess.run([python(version), "-m", "venv", tmp_path / "fresh"], check=True)
    programs = tmp_path / "fresh" / "bin"
    tools = ["pytest", "pytest-timeout", "hypothesis"]
    subprocess.run([programs / "python", "-m", "pip", "install", "--quiet", *wanted, *tools], check=True)
    command = [programs / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "600"]
    # Ray's side of it needs pandas, which is no part of the extra.
    command += ["--deselect", "tests/serve/test_cli.py::test_parquet_without_pandas"]
    result = subprocess.run(
        [*command, *(f"tests/serve/{name}" for name in TESTS)],
        cwd=ROOT,
        env={**os.environ, bundles.MADE: str(made), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    passed = re.search(r"(\d+) passed", result.stdout)
    assert passed is not None
    assert int(passed[1]) > 120
