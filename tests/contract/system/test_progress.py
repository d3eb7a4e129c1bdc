"""What a person is told of work that takes long."""

import re
import sys

import pytest

from trainer.contract.system import progress as module
from trainer.contract.system.progress import Progress


class Clock:
    """Stands in for the module `time`."""

    now = 0.0

    def monotonic(self) -> float:
        """Seconds, which the test sets."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that only the test moves."""
    found = Clock()
    monkeypatch.setattr(module, "time", found)
    return found


def test_long_work_is_told_in_rows_a_second(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Elsewhere than on a terminal a line comes every ten seconds and at the end; work of a moment says nothing."""
    progress = Progress()
    with progress.step("reading", 100_000, least=1.0) as tick:
        for clock.now, rows in ((5.0, 20_000), (12.0, 28_000), (20.0, 52_000)):
            tick(rows)
    with progress.step("tokenizing", least=1.0) as tick:
        tick(10)
    assert capsys.readouterr().err.splitlines() == [
        "reading: 48,000 of 100,000 rows, 4,000 rows/s, 48.0% done, 13 s left",
        "reading: 100,000 rows, 5,000 rows/s, 20.0 s",
    ]


def test_a_terminal_s_line_is_redrawn(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line is drawn over itself, no longer than the terminal is wide; a line that stays takes its place first."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    progress = Progress()
    clock.now = 60.0
    progress.show(lambda: "x" * 200, 0.25)
    clock.now = 60.1
    progress.show(lambda: pytest.fail("too soon"), 0.26)
    progress.say("stays")
    clock.now = 61.0
    progress.show(lambda: "on")
    progress.close()
    drawn = capsys.readouterr().err
    start = "[#####               ] 25.0% done, 3 min 00 s left: "
    assert drawn == f"{start}{'x' * (80 - len(start))}\r\x1b[Kstays\non\r\x1b[K"


def test_a_step_within_a_step_leaves_the_outer_one_s_time(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """The time left of the outer step is counted from its own start, whatever was begun within it."""
    progress = Progress()
    with progress.step("outer", 100) as tick:
        clock.now = 40.0
        with progress.step("inner"):
            clock.now = 50.0
        clock.now = 60.0
        tick(50)
    assert re.findall(r"outer: 50 of 100 .* left", capsys.readouterr().err) == [
        "outer: 50 of 100 rows, 1 rows/s, 50.0% done, 1 min 00 s left"
    ]


def test_quiet_work_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """`--quiet` silences lines, steps and what is drawn."""
    progress = Progress(quiet=True)
    with progress.step("reading", 10) as tick:
        clock.now = 100.0
        tick(5)
    progress.say("a line")
    progress.show(lambda: pytest.fail("asked for"))
    progress.close()
    assert capsys.readouterr().err == ""
