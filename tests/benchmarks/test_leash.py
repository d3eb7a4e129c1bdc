"""Programs on a leash: they end with who started them, and all that they started too."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.peers.leash import Leashed, run

ROOT = Path(__file__).parents[2]
# A program that starts another one, prints the numbers of both, and waits with it.
SLEEP = "import time; time.sleep(600)"
FAMILY = f"import os, subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); "
FAMILY += "print(os.getpid(), child.pid, flush=True); child.wait()"
# A harness with such a program.
HARNESS = f"""
import sys
from benchmarks.peers.leash import run
run([sys.executable, "-c", {FAMILY!r}])
"""


def gone(number: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet has."""
    try:
        return (Path("/proc") / str(number) / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def ended(numbers: list[int]) -> bool:
    """Whether all have ended, within a minute."""
    for _ in range(600):
        if all(gone(number) for number in numbers):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc")
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_all_that_was_started_ends_with_who_started_it(ending: signal.Signals) -> None:
    """A harness that is killed leaves neither the program that it started nor that program's own child."""
    with subprocess.Popen([sys.executable, "-c", HARNESS], cwd=ROOT, stdout=subprocess.PIPE, text=True) as harness:
        assert harness.stdout is not None
        numbers = [int(number) for number in harness.stdout.readline().split()]
        assert len(numbers) == 2
        assert not any(gone(number) for number in numbers)
        # To it alone: a terminal's Ctrl-C would reach a whole group.
        harness.send_signal(ending)
        assert ended(numbers)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc")
def test_a_block_ends_what_it_started() -> None:
    """At the end of its `with` a program and its child are killed."""
    with Leashed([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, text=True) as process:
        numbers = [int(number) for number in process.stdout.readline().split()]
        assert not any(gone(number) for number in numbers)
    assert ended(numbers)


@pytest.mark.parametrize(
    ("code", "expected"), [("sys.exit(9)", 9), ("os.kill(os.getpid(), 9)", -9), ("os.abort()", -6)]
)
def test_a_program_ends_as_it_would_without(code: str, expected: int) -> None:
    """Exit codes and signals are the program's own, and so is what it reads and prints."""
    echo = f"import os, sys; print(sys.stdin.read() + os.environ['SAID'], flush=True); {code}"
    given = {"env": {**os.environ, "SAID": "there"}, "text": True}
    process = Leashed([sys.executable, "-c", echo], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **given)
    with process:
        assert process.communicate("here ")[0] == "here there\n"
    assert process.returncode == expected


def test_what_fails_or_takes_too_long_raises() -> None:
    """As of `subprocess.run`, with what was printed."""
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run([sys.executable, "-c", "print('so far', flush=True); raise SystemExit(4)"], stdout=subprocess.PIPE)
    assert (failed.value.returncode, failed.value.stdout) == (4, b"so far\n")
    with pytest.raises(subprocess.TimeoutExpired) as late:
        run(
            [sys.executable, "-c", f"print(1, flush=True); {SLEEP}"],
            stdout=subprocess.PIPE,
            timeout=1,
        )
    assert late.value.stdout in (b"", b"1\n")
