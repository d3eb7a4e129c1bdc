"""The files under examples/deploy, checked as far as a machine without Docker, a cluster, systemd and Airflow can."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from classifact.cli import COMMANDS, group

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "deploy"


def parsed(words: list[str]) -> dict[str, Any]:
    """What our own command makes of a command line that begins with `classifact`; nothing is run."""
    assert Path(words[0]).name == "classifact"
    command = group.get_command(click.Context(group), words[1])
    assert command is not None, words
    return command.make_context(words[1], list(words[2:])).params


def commands(text: str) -> list[list[str]]:
    """The command lines of `classifact` in a shell text, as words."""
    joined = re.sub(r"\\\n#?\s*", " ", text)
    return [shlex.split(found) for found in re.findall(r"^(?:#\s+|exec )?(classifact .*)$", joined, flags=re.MULTILINE)]


@pytest.fixture(autouse=True)
def bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bundle lies under the paths that the files name: click need not look."""
    monkeypatch.setattr(click.Path, "convert", lambda _self, value, *_: Path(value))


def test_every_file_is_checked() -> None:
    """The folder holds what this file's tests read, and its page names each and what was not run."""
    names = {path.name for path in FOLDER.iterdir() if path.is_file()}
    assert names == {
        "Dockerfile",
        "Dockerfile.dockerignore",
        "README.md",
        "airflow_dag.py",
        "classifact-score.service",
        "job.yaml",
    }
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name in names - {"README.md", "Dockerfile.dockerignore"}:
        assert f"[`{name}`]({name})" in page
        assert re.search(r"\bnot run\b", (FOLDER / name).read_text(encoding="utf-8"), re.IGNORECASE), name


def test_the_command_lines_can_be_wrong() -> None:
    """An option that `score` does not have, and a command that is not there, are found."""
    with pytest.raises(click.NoSuchOption):
        parsed(["classifact", "score", "b", "rows.csv", "--out", "x.csv", "--resum", "--shards"])
    with pytest.raises(AssertionError):
        parsed(["classifact", "scores", "b"])
    assert "score" in COMMANDS


def test_the_dockerfile() -> None:
    """Two stages of known instructions, the scorer's extra alone, a user that is not root; what is copied is let in."""
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in re.sub(r"\\\n", " ", text).splitlines() if line and not line.startswith("#")]
    assert [line.split()[0] for line in lines] == [
        *("FROM", "COPY", "RUN", "FROM", "COPY", "ENV", "USER", "ENTRYPOINT", "CMD")
    ]
    assert re.search(r"'/src\[(.*)\]'", text).group(1) == "serve"  # type: ignore[union-attr]
    user = next(line.split()[1] for line in lines if line.startswith("USER"))
    assert all(int(number) > 0 for number in user.split(":"))
    allowed = [
        line[1:]
        for line in (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    ]
    assert all((ROOT / name).exists() for name in allowed)
    packages = re.findall(r'"([a-z]+)\*"', (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("include = ")[1])
    assert set(packages) <= {*allowed, "launch"}
    (run,) = re.findall(r"classifact \\\n#\s+(score .*)", text)
    assert parsed(["classifact", *shlex.split(run)])["resume"] is True


def test_the_job() -> None:
    """Each pod of the Job scores a share of its own, and together they are all; then `merge` finds them."""
    text = (FOLDER / "job.yaml").read_text(encoding="utf-8")
    job = yaml.safe_load(text)
    spec = job["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    shell, flag, line = container["command"]
    shares = set()
    for index in range(spec["completions"]):
        # The shell's own arithmetic, with the command printed instead of run.
        words = subprocess.run(
            [shell, flag, line.replace("exec classifact", "printf '%s\\n' classifact")],
            env={**os.environ, "JOB_COMPLETION_INDEX": str(index)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        found = parsed(words)
        assert found["resume"]
        shares.add(found["shard"])
    count = spec["completions"]
    assert shares == {f"{number}/{count}" for number in range(1, count + 1)}
    (merged,) = [words for words in commands(text) if words[1] == "merge"]
    assert str(parsed(merged)["out"]) == str(found["out"])
    assert container["securityContext"]["readOnlyRootFilesystem"]
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in spec["template"]["spec"]["volumes"]}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_kubernetes_knows_every_field_of_the_job(tmp_path: Path) -> None:
    """kubectl's own types give back every field of the Job: one that is misspelt would be dropped."""

    def through(path: Path) -> Any:
        words = ["kubectl", "set", "env", "--local", "--dry-run=client", "-o", "yaml", "-f", str(path), "A=b"]
        done = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, "HOME": "/"})
        return yaml.safe_load(done.stdout)

    given = yaml.safe_load((FOLDER / "job.yaml").read_text(encoding="utf-8"))
    assert missing(given, through(FOLDER / "job.yaml")) == []
    given["spec"]["completionMod"] = given["spec"].pop("completionMode")
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(given), encoding="utf-8")
    assert missing(given, through(tmp_path / "job.yaml")) == ["/spec/completionMod"]


def missing(given: Any, found: Any, where: str = "") -> list[str]:
    """The places of `given` that `found` lacks or has otherwise."""
    if isinstance(given, dict) and isinstance(found, dict):
        return [place for key in given for place in missing(given[key], found.get(key, "not there"), f"{where}/{key}")]
    if isinstance(given, list) and isinstance(found, list) and len(given) == len(found):
        return [
            place
            for number, pair in enumerate(zip(given, found, strict=True))
            for place in missing(*pair, f"{where}/{number}")
        ]
    return [] if given == found else [where]


def test_the_unit(tmp_path: Path) -> None:
    """The unit's command line is one of ours; systemd finds no fault in the unit where it is installed."""
    text = (FOLDER / "classifact-score.service").read_text(encoding="utf-8")
    (line,) = re.findall(r"^ExecStart=(.*)$", text, flags=re.MULTILINE)
    assert parsed(shlex.split(line))["resume"] is True
    if shutil.which("systemd-analyze") is None:
        return

    def faults(text: str) -> list[str]:
        # The program need not be installed under /opt here.
        unit = tmp_path / "classifact-score.service"
        unit.write_text(text.replace("/opt/classifact/bin/classifact", "/bin/true"), encoding="utf-8")
        done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
        return [said for said in done.stderr.splitlines() if unit.name in said]

    assert faults(text) == []
    assert "RestartSecs" in faults(text.replace("RestartSec=", "RestartSecs="))[0]


def test_the_dag(monkeypatch: pytest.MonkeyPatch) -> None:
    """The DAG's file runs, with a stand-in for Airflow; its tasks run in order, and their command lines are ours."""
    tasks: list[dict[str, Any]] = []

    class Task:
        def __init__(self, **given: Any) -> None:
            tasks.append(given)

        def __rshift__(self, other: "Task") -> "Task":
            return other

    class Dag:
        def __init__(self, *_: object, **__: object) -> None: ...

        def __enter__(self) -> "Dag":
            return self

        def __exit__(self, *_: object) -> None: ...

    for name in ("airflow", "airflow.providers", "airflow.providers.standard", "airflow.providers.standard.operators"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    for name, members in {
        "airflow.sdk": {"DAG": Dag},
        "airflow.providers.standard.operators.bash": {"BashOperator": Task},
    }.items():
        module = types.ModuleType(name)
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, module)
    runpy.run_path(str(FOLDER / "airflow_dag.py"))
    assert [task["task_id"] for task in tasks] == ["check", "score"]
    for task in tasks:
        (words,) = commands(task["bash_command"].replace("{{ ds }}", "2026-01-01"))
        parsed(words)
