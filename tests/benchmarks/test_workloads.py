"""Rows that a run has kept, as the harness hands them to contestants that read columns."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers import leash
from benchmarks.peers.__main__ import main
from benchmarks.peers.trained import made
from benchmarks.peers.workloads import columns_of, read_lines, write_lines
from tests.export.runs import make_run
from trainer.contract.checkpoint import Checkpoint
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


def test_a_student_is_proven_on_the_texts_that_are_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AG News' export gets the test split's texts without labels: validation rows alone prove no 0.995."""
    texts = ["good news. win", "a film, again"]
    commands: list[list[str]] = []

    def run(words: list[str]) -> None:
        commands.append(words[3:])
        if "train" in words:
            rows: list[dict[str, Any]] = [{"id": row, "text": text, "label": "ham"} for row, text in enumerate(texts)]
            write_lines(make_run(tmp_path / "ag_news" / "run") / "splits" / "test.jsonl", rows)

    monkeypatch.setattr(leash, "run", run)
    folder, _ = made("ag_news", Path("data"), tmp_path)
    assert [words[0] for words in commands] == ["train", "export"]
    file = commands[1][commands[1].index("--unlabelled") + 1]
    assert "--cascade" in commands[1]
    given = list(read_lines(Path(file)))
    spec = Checkpoint.best(folder).contract.input
    assert [spec.read(row)[0] for row in given] == texts
    assert all(set(row) == set(spec.columns) for row in given)
