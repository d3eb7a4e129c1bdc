"""What a person gets who starts a training with something wrong: exit code 1, the five lines of an error, nothing
half-made.
"""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.trainer import runs
from tests.trainer.opening.hostile import change
from trainer.cli import launched, main

GOOD = "text,label\n" + "".join(f"win a prize {n},spam\nsee you tomorrow {n},ham\n" for n in range(20))


def start(folder: Path, data: bytes | str = GOOD, *settings: str, **changes: Any) -> tuple[int, str]:
    """Exit code and standard error of a training on this file."""
    folder.mkdir(exist_ok=True)
    (folder / "rows.csv").write_bytes(data if isinstance(data, bytes) else data.encode())
    recipe = runs.write_recipe(folder, **changes)
    given = [part for setting in settings for part in ("--set", setting)]
    result = CliRunner().invoke(launched, ["--config", str(recipe), "--out", str(folder / "run"), *given])
    return result.exit_code, result.stderr


@pytest.mark.parametrize(
    ("data", "settings", "parts"),
    [
        (GOOD, ["data.train.files=rowz.csv"], ["rowz.csv", "do:"]),
        (GOOD, ["input.text=txt"], ["no column 'txt'", "'text', 'label'", "did you mean 'text'?"]),
        (GOOD, ["labels.names=[ham, spma]"], ["'spam'", "did you mean 'spma'?"]),
        ("", [], ["empty", "rows.csv"]),
        ("text,label\n", [], ["rows.csv", "do:"]),
        (GOOD.replace("spam", "ham"), [], ["one class only", "'ham'"]),
        (GOOD + ",ham\n", [], ["rows.csv:42", "column 'text' is empty", "on_null"]),
        (GOOD + "a,b,c,d\n", [], ["rows.csv:42", "expected 2 fields, found 4"]),
        (GOOD + '"a"b,ham\n', [], ["rows.csv:42"]),
        (GOOD.encode() + b"caf\xe9,ham\n", [], ["rows.csv:42", "utf-8"]),
        (GOOD, ["input.max_tokens=9000"], ["max_tokens", "at most 512"]),
        (GOOD, ["input.max_token=9", "seed=x"], ["2 problems", "did you mean 'max_tokens'?", "a whole number"]),
        (GOOD, ["loss.x=1"], ["unknown key"]),
        (GOOD, ["tracking=[tensorbord]"], ["unknown tracker 'tensorbord'"]),
        (GOOD, ["model.name=./nowhere"], ["no such model folder"]),
    ],
)  # fmt: skip
def test_bad_input_is_told_and_leaves_nothing(
    tmp_path: Path, data: bytes | str, settings: list[str], parts: list[str]
) -> None:
    """Each mistake is named with where it is and what to do; the run directory is free for the mended command."""
    code, text = start(tmp_path / "desk", data, *settings)
    assert code == 1, text
    assert text.startswith("error: "), text
    for part in parts:
        assert part in text
    assert not (tmp_path / "desk" / "run").exists()


def test_a_model_folder_without_a_fast_tokenizer(tmp_path: Path) -> None:
    """The error names the missing tokenizer.json before a row is trained on."""
    start(tmp_path / "desk", "")
    for path in (tmp_path / "desk" / "encoder").glob("*token*"):
        path.unlink()
    code, text = start(tmp_path / "desk")
    assert (code, "no fast tokenizer" in text) == (1, True)


@pytest.mark.parametrize(
    "settings",
    [
        {"layer_norm_eps": "x"},
        {"layer_norm_eps": float("nan")},
        {"attention_probs_dropout_prob": "a"},
        {"num_attention_heads": 0},
        {"chunk_size_feed_forward": "x"},
        {"vocab_size": 7},
    ],
    ids=str,
)
def test_a_value_that_only_a_step_would_meet(tmp_path: Path, settings: dict[str, Any]) -> None:
    """A wrong value of the model's config.json is found before training, however late the library looks at it: file and
    key are named.
    """
    start(tmp_path / "desk", "")
    change(tmp_path / "desk" / "encoder", "config.json", **settings)
    code, text = start(tmp_path / "desk")
    assert (code, (tmp_path / "desk" / "run").exists()) == (1, False), text
    assert next(iter(settings)) in text
    assert "config.json" in text


def test_an_output_that_is_a_file_stays(tmp_path: Path) -> None:
    """--out that names a file of the user's is refused, and the file is as it was."""
    (tmp_path / "desk").mkdir()
    (tmp_path / "desk" / "run").write_text("mine")
    code, text = start(tmp_path / "desk")
    assert (code, "exists already" in text) == (1, True)
    assert (tmp_path / "desk" / "run").read_text() == "mine"


@pytest.mark.parametrize("command", ["evaluate", "decide", "suspects", "report"])
@pytest.mark.parametrize(
    ("files", "told"),
    [
        (None, "there is no run here"),
        ([], "there is no run here"),
        (["manifest.json"], "name the run that this bundle was made of"),
        (["recipe.yaml"], "the run has no checkpoint yet"),
    ],
)
def test_what_is_no_run(tmp_path: Path, command: str, files: list[str] | None, told: str) -> None:
    """Every command that takes a run says alike what is none, with exit code 1, and leaves nothing there."""
    folder = tmp_path / "run"
    if files is not None:
        folder.mkdir()
        for name in files:
            (folder / name).write_text("{}")
    result = CliRunner().invoke(main, [command, str(folder)])
    assert (result.exit_code, told in result.stderr) == (1, True), result.stderr
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted([] if files is None else ["run", *files])


@pytest.mark.parametrize(("name", "told"), [("rows.csv", "classifact init "), ("none.yaml", "classifact init ROWS")])
def test_rows_given_as_a_recipe(tmp_path: Path, name: str, told: str) -> None:
    """Who begins has rows and no recipe: a file of rows, and a recipe that is not there, name the command for it."""
    (tmp_path / "rows.csv").write_text("text,label\na,b\n")
    result = CliRunner().invoke(main, ["lint", str(tmp_path / name)])
    assert (result.exit_code, told in result.stderr) == (1, True)


def test_usage_errors_exit_with_2() -> None:
    """A missing option is a usage error."""
    assert CliRunner().invoke(launched, ["--config", "x.yaml"]).exit_code == 2
