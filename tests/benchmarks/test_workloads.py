"""Rows that a run has kept, as the harness hands them to contestants that read columns."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers.__main__ import main
from benchmarks.peers.workloads import columns_of
from trainer.contract.errors import InputError
from trainer.contract.inputs import InputSpec

TEXT = "one  two. three"


@pytest.mark.parametrize("on_null", ["error", "empty", "drop"])
@pytest.mark.parametrize("join", [" ", ". ", ""])
@pytest.mark.parametrize("count", [1, 2])
def test_a_kept_text_is_read_again_as_it_was(count: int, join: str, on_null: Any) -> None:
    """Whatever the columns are and whether one may be empty, what they join to is the text that the run kept."""
    spec = InputSpec(text=("a", "b", "c")[:count], join=join, on_null=on_null)
    columns = columns_of(TEXT, spec)
    assert list(columns) == list(spec.text)
    assert spec.read(columns)[0] == TEXT


def test_a_text_that_cannot_be_cut_is_named() -> None:
    """Where there is no place to cut, the rows themselves are asked for."""
    with pytest.raises(InputError, match="taken apart") as error:
        columns_of("word", InputSpec(text=("a", "b")))
    assert "--rows" in str(error.value)


def test_a_harness_without_anything_to_score_says_what_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, and what to do."""
    monkeypatch.setattr("sys.argv", ["peers", "--out", str(tmp_path), "scoring"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert told.startswith("error: nothing to score")
    assert "--data FOLDER, or --run RUN" in told
