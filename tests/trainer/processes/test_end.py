"""A process of a launch ends with the exit code of its training, whatever its other threads do."""

import os
import subprocess
import sys

import pytest

from tests.trainer.runs import ROOT

TAKEN_APART = """
import atexit, os, runpy, sys
class Held:
    def __del__(self, abort=os.abort):
        abort()
held = Held()
atexit.register(print, "trackers have ended")
"""
"""What `held` does if the interpreter is taken apart, a thread of gloo does now and then."""


def end(code: str, processes: int, *words: str) -> subprocess.CompletedProcess[str]:
    """How one of so many processes ends that runs this code."""
    return subprocess.run(
        [sys.executable, "-c", TAKEN_APART + code, *words],
        cwd=ROOT,
        check=False,
        env={**os.environ, "WORLD_SIZE": str(processes)},
        capture_output=True,
        text=True,
    )


def test_a_process_of_several_ends_before_the_interpreter_is_taken_apart() -> None:
    """Through `trainer/run.py`, with the exit code and the one line that its error has."""
    run = "sys.argv[0] = 'trainer/run.py'; runpy.run_path('trainer/run.py', run_name='__main__')"
    words = ("--config", "nowhere.yaml", "--out", "nowhere")
    ended = end(run, 2, *words)
    assert (ended.returncode, ended.stdout) == (1, "trackers have ended\n")
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("Traceback") == 0
    # One process has no such threads, and ends as ever: else this test shows nothing.
    assert end(run, 1, *words).returncode == -6


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ("print('done')", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit('why')", 1, "why"),
        ("1 / 0", 1, "ZeroDivisionError"),
    ],
)
def test_the_exit_code_is_what_python_gives(command: str, code: int, told: str) -> None:
    """For an end, an exit code, a text and an error that nobody caught."""
    program = f"from trainer.processes.end import run_to_the_end; run_to_the_end(lambda: {command})"
    ended = end(program, 2)
    assert (ended.returncode, told in ended.stderr) == (code, True)
    assert ended.stdout == ("done\n" if code == 0 else "") + "trackers have ended\n"
