"""The README's commands and code are run as they stand, on a tiny encoder in place of the one they name."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from classifact.cli import group
from tests import tiny
from tests.trainer import runs
from trainer.recipes.file import load

ROOT = Path(__file__).parents[1]
# Called in this process, which has loaded torch, instead of in one of their own.
HEAVY = ("train", "evaluate", "export", "report")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the README takes for granted: the checkout's folders, rows.csv, and recipe.yaml as it prints
    it.
    """
    folder = tmp_path_factory.mktemp("readme")
    for name in ("trainer", "export", "serve", "launch_configs"):
        (folder / name).symlink_to(ROOT / name)
    rows = runs.write_rows(folder / "all.csv", 400).read_text(encoding="utf-8").replace("text,label", "body,label")
    titled = [line.replace(",", ",ok,", 1) for line in rows.splitlines()[1:]]
    (folder / "rows.csv").write_text("\n".join(["body,title,label", *titled]) + "\n", encoding="utf-8")
    # What pip makes of pyproject's console script; the wheel's own is tested in tests/test_wheel.py.
    script = folder / "bin" / "classifact"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nfrom classifact.cli import main\nmain()\n", encoding="utf-8")
    script.chmod(0o755)
    tiny.encoder(folder / "encoder", initializer_range=0.2)
    (recipe,) = blocks("yaml")
    (folder / "recipe.yaml").write_text(recipe.replace("bert-base-uncased", str(folder / "encoder")), encoding="utf-8")
    return folder


def test_the_recipe_in_the_readme_loads(desk: Path) -> None:
    """The four parts that the README shows are a valid recipe."""
    assert load(desk / "recipe.yaml").input.text == ("title", "body")


def test_the_commands_in_the_readme_run(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train, evaluate, export, report and score, word for word; then the Python example prints a label and two rows of
    probabilities.
    """
    commands = next(block for block in blocks("bash") if "classifact train" in block).strip().splitlines()
    assert [command.split()[:2] for command in commands] == [
        ["classifact", name] for name in ("train", "evaluate", "export", "report", "score")
    ]
    (by_hand,) = re.findall(r"`(accelerate launch [^`]*)`", README)
    # Two epochs at a rate from which a tiny network learns; the README's encoder needs neither.
    settings = " --set stages.0.optimizer.learning_rate=1e-2 --set stages.0.batch.rows=8 --set model.dropout=0.0"
    commands[0] += settings
    # The other way to train is the same run: it finds nothing left to do.
    commands.insert(1, f"{by_hand}{settings} --resume")
    environment = {
        **os.environ,
        "PATH": f"{desk / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    monkeypatch.chdir(desk)
    for command in commands:
        script, *words = shlex.split(command)
        if script == "classifact" and words[0] in HEAVY:
            found = CliRunner().invoke(group, words)
            assert found.exit_code == 0, f"{command}\n{found.output}"
        else:
            result = subprocess.run(
                command, shell=True, cwd=desk, env=environment, capture_output=True, text=True, check=False
            )
            assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    (code,) = blocks("python")
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=desk, env=environment, capture_output=True, text=True, check=True
    )
    assert re.match(r"\['?(ham|spam)'?\]\n\[\[0?\.?\d", result.stdout)


def test_the_files_that_the_readme_links_exist() -> None:
    """No link of the README leads nowhere."""
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert len(links) > 8
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_tree_in_the_readme_is_the_tree() -> None:
    """The README's picture names every folder of the three packages, at any depth, and no other."""
    picture = README[README.index("\ntrainer/   ") :].strip().split("\n```")[0]
    drawn: set[str] = set()
    package = ""
    for line in picture.splitlines():
        package = line.split("/")[0] if not line.startswith(" ") else package
        drawn |= {f"{package}/{name}" for name in re.findall(r"(\w+)/", line) if name != package}
    packages = ("trainer", "export", "serve")
    # A folder of templates holds no code, and is a room as well.
    made = [path for package in packages for path in (ROOT / package).rglob("*/") if any(path.glob("*.*"))]
    folders = {f"{path.relative_to(ROOT).parts[0]}/{path.name}" for path in made if path.name != "__pycache__"}
    assert {name for name in drawn if name.split("/")[0] in packages} == folders


def test_every_command_of_the_readme_is_in_the_makefile() -> None:
    """`make` targets that the README names exist."""
    targets = set(re.findall(r"^make (\w[\w-]*)", blocks("bash")[0], flags=re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets == {"demo", "test"}
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)


def test_yaml_in_the_docs_is_yaml() -> None:
    """Every YAML block parses."""
    assert all(isinstance(yaml.safe_load(block), dict) for block in blocks("yaml"))
