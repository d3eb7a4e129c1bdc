"""Somebody else's file under the name of one of our packages: the console script does not care, and others say so."""

import base64
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from classifact import own_packages
from serve.operations.doctor import diagnose

ROOT = Path(__file__).parents[2]


def start(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Python in another folder, which it puts first on sys.path, as it does for `-m` and `-c`."""
    return subprocess.run([sys.executable, *words], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(params=["trainer.py", "trainer/__init__.py", "export.py"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a user's own module under one of our names, which must not be run."""
    path = tmp_path / request.param
    path.parent.mkdir(exist_ok=True)
    path.write_text("raise SystemExit('the user own file was run')\n", encoding="utf-8")
    return tmp_path


def test_the_console_script_is_immune(folder: Path) -> None:
    """A command of each package works beside the user's file."""
    for name in ("train", "export", "score"):
        result = start(folder, "-c", "from classifact.cli import main; main()", name, "-h")
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith(f"Usage: classifact {name} ")


def test_the_import_package_is_immune(folder: Path) -> None:
    """`from classifact import Scorer` finds our scorer beside the user's file."""
    result = start(folder, "-c", "from classifact import Scorer; print(Scorer.__module__)")
    assert result.stdout == "serve.scorer\n", result.stderr


def test_python_m_says_what_stands_in_for_what(folder: Path) -> None:
    """`python -m serve` ends with exit code 1 and names the file and the package, without a traceback."""
    result = start(folder, "-m", "serve", "-h")
    (name,) = {path.name.removesuffix(".py") for path in folder.iterdir()}
    assert result.returncode == 1
    assert f"{folder / name}" in result.stderr
    assert f"stands in for Classifact's package '{name}'" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_users_module_that_is_loaded_already_is_named(tmp_path: Path) -> None:
    """The scorer cannot be had beside another `trainer` in one process; the error says whose it is."""
    (tmp_path / "trainer.py").write_text("mine = 1\n", encoding="utf-8")
    result = start(tmp_path, "-c", "import trainer; from classifact import Scorer")
    assert f"{tmp_path / 'trainer.py'} is loaded under the name of Classifact's package 'trainer'" in result.stderr


def test_nothing_is_said_where_nothing_is_wrong(tmp_path: Path) -> None:
    """`python -m` works from an empty folder, and the doctor has no complaint about names."""
    assert start(tmp_path, "-m", "trainer", "-h").returncode == 0
    assert own_packages.shadows(sys.path) == {}


def test_the_doctor_looks_for_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory's file is among the doctor's problems."""
    monkeypatch.chdir(folder)
    assert any(str(folder) in problem and "stands in" in problem for problem in diagnose().problems)


def test_the_doctor_finds_another_package_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution that installs a `trainer` too is named, with the lines that mend it."""
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: {"trainer": ["coqui", "classifact"]})
    problems, repair = own_packages.problems()
    assert "the package coqui installs files under Classifact's names" in problems
    assert repair == ["pip uninstall -y coqui", "pip install --force-reinstall --no-deps classifact"]


def test_an_overwritten_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose content is not what the installation recorded is named; an untouched one is not."""
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "__init__.py").write_text("ours\n", encoding="utf-8")
    (tmp_path / "trainer" / "run.py").write_text("ours\n", encoding="utf-8")
    info = tmp_path / "classifact-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: classifact\nVersion: 0.1.0\n", encoding="utf-8")
    digest = record_hash(b"ours\n")
    lines = [f"trainer/{name},{digest},5" for name in ("__init__.py", "run.py")]
    (info / "RECORD").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = importlib.metadata.Distribution.at(info)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: found)
    assert own_packages.overwritten() == []
    (tmp_path / "trainer" / "__init__.py").write_text("theirs\n", encoding="utf-8")
    assert own_packages.overwritten() == ["trainer/__init__.py"]


def record_hash(content: bytes) -> str:
    """A hash as a wheel's RECORD spells it."""
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def test_a_launched_training_takes_the_standard_library_for_what_it_is(tmp_path: Path) -> None:
    """Where Classifact is installed, the folder above `trainer/run.py` holds everybody's packages: one of a standard
    module's name (backports have them) is not imported in its stead, nor is a user's trainer.py on PYTHONPATH.
    """
    for name in ("trainer", "classifact"):
        shutil.copytree(ROOT / name, tmp_path / "site" / name)
    (tmp_path / "desk").mkdir()
    for path in ("site/platform.py", "site/difflib.py", "desk/trainer.py"):
        (tmp_path / path).write_text("raise SystemExit('a stranger was run')\n", encoding="utf-8")
    for flags in ((), ("-P",)):
        result = subprocess.run(
            [sys.executable, *flags, tmp_path / "site" / "trainer" / "run.py", "-h"],
            cwd=tmp_path / "desk",
            env={**os.environ, "PYTHONPATH": str(tmp_path / "desk")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr + result.stdout
        assert result.stdout.startswith("Usage: run.py")
