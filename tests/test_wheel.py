"""Classifact as a user installs it: the wheel, in an environment and a folder that know no checkout.

These tests install into environments of their own. What they need beside the wheel comes from the environment that runs
them, or through pip from the registry that it is set up for.
"""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests import tiny
from tests.serve import bundles
from tests.trainer import runs

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def run(*words: str | Path, cwd: Path) -> str:
    """A command whose failure fails the test, without this checkout on its path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run([*map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{words}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that was built from an sdist, which was built from what Git tracks here."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    source.mkdir()
    tracked = run("git", "ls-files", "-z", cwd=ROOT).split("\0")
    for name in filter(None, tracked):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = f"import setuptools.build_meta as backend; print(backend.build_sdist({str(folder)!r}))"
    sdist = run(sys.executable, "-c", build, cwd=source).splitlines()[-1]
    run(
        *(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", folder, folder / sdist),
        cwd=folder,
    )
    (found,) = folder.glob("*.whl")
    return found


def environment(folder: Path) -> Path:
    """A fresh environment's folder of programs."""
    run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    return folder / "bin"


def test_the_wheel_holds_what_the_commands_read(wheel: Path) -> None:
    """Launch configs, marks of typed packages and data files travel; tests and benchmarks do not."""
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in ("classifact", "trainer", "export", "serve"):
        assert f"{package}/py.typed" in names
        tracked = run("git", "ls-files", package, cwd=ROOT).split()
        assert {name for name in tracked if not name.endswith(".md")} <= names
    configs = {f"launch_configs/{path.name}" for path in (ROOT / "launch_configs").glob("*.yaml")}
    assert configs <= names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        *("classifact", "trainer", "export", "serve", "launch_configs")
    }


def test_the_wheel_trains_exports_and_scores_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    """The console script alone, beside a user's own trainer.py, from rows to a scored file."""
    programs = environment(tmp_path / "fresh")
    run(programs / "pip", "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    # The libraries are those of this environment; its own editable Classifact is not.
    site = Path(run(programs / "python", "-c", "import site; print(site.getsitepackages()[0])", cwd=tmp_path).strip())
    libraries = [path for path in map(Path, sys.path) if path.name == "site-packages"]
    (site / "libraries.pth").write_text("\n".join(map(str, libraries)) + "\n", encoding="utf-8")
    desk = tmp_path / "desk"
    desk.mkdir()
    runs.write_rows(desk / "rows.csv", 400)
    tiny.encoder(desk / "encoder", initializer_range=0.2)
    (desk / "trainer.py").write_text("raise SystemExit('the file of the user was run')\n", encoding="utf-8")
    where = run(programs / "python", "-P", "-c", "import trainer; print(trainer.__file__)", cwd=desk)
    assert where.startswith(str(site))
    classifact = programs / "classifact"
    run(classifact, "init", "rows.csv", "--model", "encoder", cwd=desk)
    rate = "stages.0.optimizer.learning_rate=1e-2"
    run(classifact, "train", "recipe.yaml", "--out", "run", "--launch", "cpu", "--set", rate, cwd=desk)
    run(classifact, "evaluate", "run", cwd=desk)
    run(classifact, "export", "run", "--out", "bundle", "--precision", "fp32", "--no-timing", cwd=desk)
    run(classifact, "check", "bundle", cwd=desk)
    run(classifact, "score", "bundle", "rows.csv", "--out", "scored.csv", cwd=desk)
    assert (desk / "scored.csv").read_text(encoding="utf-8").count("\n") == 401
    assert re.search(r"^classifact +\d", run(classifact, "--version", cwd=desk))


def test_the_scorers_extra_is_all_that_a_scoring_machine_needs(wheel: Path, tmp_path: Path) -> None:
    """`pip install 'classifact[serve]'` into a bare environment scores a bundle, and has brought no torch."""
    bundle = bundles.make(tmp_path / "bundle", bundles.contract())
    (tmp_path / "rows.csv").write_text("text\n" + "win a free prize now\n" * 20, encoding="utf-8")
    programs = environment(tmp_path / "fresh")
    run(programs / "pip", "install", "--quiet", f"{wheel}[serve]", cwd=tmp_path)
    run(programs / "classifact", "score", bundle, "rows.csv", "--out", "scored.csv", cwd=tmp_path)
    assert (tmp_path / "scored.csv").read_text(encoding="utf-8").count("\n") == 21
    assert '"problems": []' in run(programs / "classifact", "doctor", cwd=tmp_path)
    installed = run(programs / "pip", "list", cwd=tmp_path).lower()
    assert not re.search(r"^(torch|transformers|accelerate|optimum|pandas) ", installed, flags=re.MULTILINE)
