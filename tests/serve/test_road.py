"""The road from the command to ONNX Runtime is short enough to be read in one sitting."""

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from click.testing import CliRunner

from serve.cli import main
from serve.scorer import Scorer
from serve.scoring.session import Session
from tests.serve.helpers import write_csv

PACKAGE = str(Path(__file__).parents[2] / "serve")


def _calls(frame: FrameType | None) -> list[str]:
    """Our own functions on the stack, the outermost first."""
    names: list[str] = []
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            names.insert(0, frame.f_code.co_qualname)
        frame = frame.f_back
    return names


def test_seven_calls(single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`score` reaches the session's run, whose one line is ONNX Runtime's, by at most seven calls."""
    roads: list[list[str]] = [[], []]
    submit, run = Scorer.submit, Session.run

    def submitted(*arguments: Any) -> Any:
        # The job's road, without the golden rows'.
        roads[0] = [*_calls(sys._getframe(1)), "Scorer.submit"]
        return submit(*arguments)

    def ran(*arguments: Any) -> Any:
        roads[1] = [*_calls(sys._getframe(1)), "Session.run"]
        return run(*arguments)

    monkeypatch.setattr(Scorer, "submit", submitted)
    monkeypatch.setattr(Session, "run", ran)
    rows = write_csv(tmp_path / "in.csv", ["one"])
    command = ["score", str(single), str(rows), "--out", str(tmp_path / "out.csv"), "--no-canary"]
    assert CliRunner().invoke(main, command).exit_code == 0
    road = [*roads[0], *roads[1]]
    assert (road[0], road[-1]) == ("score", "Session.run")
    assert len(road) - 1 <= 7, road
