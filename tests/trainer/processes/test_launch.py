"""`classifact train` ends as the training that it launched did: with its exit code, after its last word."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.trainer import runs
from tests.trainer.runs import ROOT
from trainer.contract.errors import ClassifactError, GateError, InputError, show_errors, told_in_launch
from trainer.processes import launch as module
from trainer.processes.launch import CONFIGS, LaunchJob, launch

SAVES_WHEN_TOLD = """
import signal, sys, time
from pathlib import Path
def save(number, _):
    time.sleep(1)
    Path("saved").touch()
    sys.exit(130)
signal.signal(signal.SIGTERM, save)
Path("ready").touch()
time.sleep(60)
"""

MEETS_AN_ERROR = """
import sys
sys.path[0] = {root!r}
from trainer.contract.errors import GateError, show_errors
def meet():
    raise GateError("the recipe is wrong")
show_errors(meet)()
"""

LOSES_THE_OTHER = """
import os, sys
sys.path[0] = {root!r}
from torch import distributed
from trainer.contract.errors import GateError, show_errors
from trainer.processes.end import run_to_the_end
def meet():
    distributed.init_process_group("gloo")
    if os.environ["RANK"] == "{rank}":
        raise GateError("the disk is full")
    distributed.barrier()
run_to_the_end(show_errors(meet))
"""


def stand_in(folder: Path, code: str, config: str) -> LaunchJob:
    """A launch of this code, in a checkout of its own whose `trainer/run.py` it is."""
    (folder / "trainer").mkdir()
    (folder / "trainer" / "run.py").write_text(code, encoding="utf-8")
    shipped = (CONFIGS / f"{config}.yaml").read_text(encoding="utf-8")
    # Any free port: tests run beside each other.
    (folder / "launch.yaml").write_text(f"{shipped}main_process_port: 0\n", encoding="utf-8")
    return LaunchJob(words=(), config=str(folder / "launch.yaml"))


@pytest.mark.parametrize("config", ["cpu", "two_cpu_processes"])
@pytest.mark.parametrize("code", [1, 3])
def test_the_exit_code_is_the_trainings(
    config: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A promise that the rows do not show (3) is told from a wrong recipe (1), and nothing is said beside it."""
    job = stand_in(tmp_path, f"import sys; sys.exit({code})", config)
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    with pytest.raises(SystemExit) as ended:
        launch(job)
    assert ended.value.code == code
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("config", ["cpu", "two_cpu_processes"])
def test_an_error_that_all_processes_meet_is_told_once(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A wrong recipe is wrong in every process: its error stands there once, with its exit code."""
    job = stand_in(tmp_path, MEETS_AN_ERROR.format(root=str(ROOT)), config)
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    with pytest.raises(SystemExit) as ended:
        launch(job)
    assert ended.value.code == 3
    assert capfd.readouterr() == ("", "error: the recipe is wrong\n")


def test_rows_that_the_first_process_cannot_read_are_one_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The others wait while the first one reads: they end with its error, and not with one of a lost connection."""
    recipe = runs.write_recipe(tmp_path)
    shipped = (CONFIGS / "two_cpu_processes.yaml").read_text(encoding="utf-8")
    (tmp_path / "launch.yaml").write_text(f"{shipped}main_process_port: 0\n", encoding="utf-8")
    words = ("--config", str(recipe), "--out", str(tmp_path / "run"), "--set", "input.text=nope")
    with pytest.raises(SystemExit) as ended:
        launch(LaunchJob(words=words, config=str(tmp_path / "launch.yaml")))
    told = capfd.readouterr().err
    assert (ended.value.code, told.count("error: "), told.count("Traceback")) == (1, 1, 0)
    assert "no column 'nope'" in told


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_loses_another_adds_nothing_to_its_error(
    rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What one process alone meets, anywhere, stands there once and decides the exit code."""
    job = stand_in(tmp_path, LOSES_THE_OTHER.format(root=str(ROOT), rank=rank), "two_cpu_processes")
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    with pytest.raises(SystemExit) as ended:
        launch(job)
    assert ended.value.code == 3
    assert capfd.readouterr() == ("", "error: the disk is full\n")


def test_an_error_of_each_process_is_told(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What one process alone meets is not lost, whichever it is, nor what a command meets that a process starts."""
    for rank, what in enumerate(["a", "b", "a"]):
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / str(rank) / "error.json"))
        monkeypatch.setattr("os.getppid", lambda rank=rank: 7 if rank < 2 else 8)
        with pytest.raises(SystemExit):
            show_errors(refused)(what)
    assert capfd.readouterr().err == "error: a\nerror: b\nerror: a\n"


def test_the_first_error_of_a_launch_decides_its_exit_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever loses a process ends as the first one that told an error, whatever is told later."""
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "0" / "error.json"))
    assert told_in_launch() is None
    for place, error in enumerate([GateError("a"), InputError("b"), InputError("c"), InputError("d")], start=1):
        with pytest.raises(SystemExit):
            show_errors(failing)(error)
        # Files of one moment have no order.
        (note,) = [path for path in tmp_path.iterdir() if path.stat().st_mtime > 10]
        os.utime(note, (place, place))
    assert told_in_launch() == GateError.exit_code


def failing(error: ClassifactError) -> None:
    """A command that ends with this error."""
    raise error


def refused(what: str) -> None:
    """A command that ends with an error."""
    raise InputError(what)


@pytest.mark.parametrize("config", ["cpu", "two_cpu_processes"])
def test_a_training_that_the_system_ended_is_told(config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs out of memory is killed and says nothing itself: the signal is named, and what to do."""
    job = stand_in(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", config)
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    with pytest.raises(ClassifactError, match="a signal ended the training") as error:
        launch(job)
    assert error.value.details["found"] == "SIGKILL"


@pytest.mark.parametrize("config", ["cpu", pytest.param("two_cpu_processes", marks=pytest.mark.slow)])
def test_sigterm_ends_it_after_the_training_has_saved(config: str, tmp_path: Path) -> None:
    """Told to end, the command hands that on and waits: its own end would end a container, and the save with it."""
    job = stand_in(tmp_path, SAVES_WHEN_TOLD, config)
    code = "import sys; from pathlib import Path; from trainer.processes import launch\n"
    code += "launch._ROOT = Path(sys.argv[1]); launch.launch(launch.LaunchJob(words=(), config=sys.argv[2]))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", code, str(tmp_path), str(job.config)]
    with subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "ready").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=50) == 130
        assert (tmp_path / "saved").exists()
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "model: {name: x}", "a: b: c", "\x00", "distributed_type: MULTI_GPU\nnum_processes: -1\n"],
    ids=["empty", "list", "recipe", "yaml", "bytes", "processes"],
)
def test_a_file_that_is_no_launch_config_is_named(content: str, tmp_path: Path) -> None:
    """A recipe given as --launch, an empty file or one that is no YAML is an error that names the file."""
    (tmp_path / "launch.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="cannot use this launch config") as error:
        launch(LaunchJob(words=(), config=str(tmp_path / "launch.yaml")))
    assert error.value.details["where"] == str(tmp_path / "launch.yaml")
