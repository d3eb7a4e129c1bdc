"""Inputs that other tools lose, invent or garble, and this one did: each with its right value."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.told import Told
from tests.trainer.sources import balanced, everything, made, recipe, write
from trainer.checks import lint
from trainer.contract.errors import InputError
from trainer.data.splits import told_splits

MULTI = {"column": "label", "kind": "multi"}


def refused(folder: Path, file: str, labels: Any = "label") -> str:
    """The error that training on a file gives."""
    with pytest.raises(InputError) as error:
        made(folder, {"train": {"files": file}}, labels)
    return str(error.value)


def found(data: Any, labels: Any = "label", **parts: Any) -> dict[str, str]:
    """What lint says: each check with its sentence."""
    report = lint.lint(recipe(data, labels, **parts))
    return {finding.check: finding.what for stage in report.stages for finding in stage.findings}


def lines(labels: list[Any]) -> str:
    """JSON lines of different texts with these labels in turn."""
    return "".join(json.dumps({"text": f"text {n}", "label": labels[n % len(labels)]}) + "\n" for n in range(60))


def test_two_parquet_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """Of two columns `label` none is the last one: the file is refused, as CSV is."""
    table = pa.table([["a", "b"], ["x", "y"], ["y", "x"]], names=["text", "label", "label"])
    pq.write_table(table, tmp_path / "rows.parquet")
    text = refused(tmp_path, str(tmp_path / "rows.parquet"))
    assert "two columns have one name" in text
    assert "'label'" in text


def test_a_list_of_flags_is_a_vector_where_names_are_given(tmp_path: Path) -> None:
    """[1, 0, 1] means the first and the third name; a row of zeros has no label."""
    file = write(tmp_path, lines([[1, 0, 1], [0, 1, 0], [0, 0, 0], "[true, false, false]"]), "rows.jsonl")
    rows = everything(made(tmp_path, {"train": {"files": file}}, {**MULTI, "names": ["a", "b", "c"]}))
    assert [labels for _, labels in rows[:4]] == [("a", "c"), ("b",), (), ("a",)]


def test_a_list_of_flags_without_names_is_refused(tmp_path: Path) -> None:
    """Without names nobody knows what a vector means: the error says where to give them, and 0 and 1 are no labels."""
    text = refused(tmp_path, write(tmp_path, lines([[1, 0, 1], [0, 1, 0]]), "rows.jsonl"), MULTI)
    assert "labels.names" in text
    assert "rows.jsonl:1" in text


def test_numbers_may_be_labels_of_a_list(tmp_path: Path) -> None:
    """Lists of label numbers, without repeats, stay labels; so do 0 and 1 that are named."""
    file = write(tmp_path, lines([[0, 2], [1], [0, 1]]), "rows.jsonl")
    assert made(tmp_path / "1", {"train": {"files": file}}, MULTI).space.names == ("0", "1", "2")
    named = {**MULTI, "names": ["0", "1", "2"]}
    rows = everything(made(tmp_path / "2", {"train": {"files": file}}, named))
    assert [labels for _, labels in rows[:3]] == [("0", "2"), ("1",), ("0", "1")]


def test_hidden_files_of_a_pattern_are_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Checkpoints of notebooks and files that begin with _ double no rows; a pattern that names them gets them."""
    for name in (".ipynb_checkpoints", "_old"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, balanced(40), "rows-checkpoint.csv")
    write(tmp_path, balanced(40), "rows.csv")
    write(tmp_path, balanced(40), "_rows.csv")
    assert len(everything(made(tmp_path / "1", {"train": {"files": str(tmp_path / "**" / "*.csv")}}))) == 40
    assert len(everything(made(tmp_path / "2", {"train": {"files": str(tmp_path / "_*" / "*.csv")}}))) == 40
    said: list[str] = []
    one = recipe({"train": {"files": str(tmp_path / "*.csv")}})
    lint.lint(one, Told(said))
    assert any("left out" in line and "_rows.csv" in line for line in said)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("spellings", [("0", "0.0"), ("1", "01"), ("2.5", "2.50"), ("3", "+3")])
def test_two_spellings_of_one_number_are_named(tmp_path: Path, spellings: tuple[str, str]) -> None:
    """Files of two programs would make two labels of one: both are named; a mapping joins them, names part them."""
    text = "text,label\n" + "".join(f"text {n},{[*spellings, '7'][n % 3]}\n" for n in range(60))
    file = write(tmp_path, text)
    told = refused(tmp_path / "1", file)
    assert all(repr(spelling) in told for spelling in spellings)
    joined = {"column": "label", "mapping": {spellings[0]: "low", spellings[1]: "low", "7": "high"}}
    assert made(tmp_path / "2", {"train": {"files": file}}, joined).space.names == ("high", "low")
    names = {"column": "label", "names": [*spellings, "7"]}
    assert made(tmp_path / "3", {"train": {"files": file}}, names).space.names == (*spellings, "7")


def test_an_accent_in_two_unicode_forms_makes_no_second_label(tmp_path: Path) -> None:
    """Both forms look alike: unnamed they are refused, spelled out; a label that is named is met in either form, and
    has the name's.
    """
    forms = ["caf\u00e9", "cafe\u0301", "tea"]
    file = write(tmp_path, "text,label\n" + "".join(f"text {n},{forms[n % 3]}\n" for n in range(60)))
    told = refused(tmp_path / "1", file)
    assert all(ascii(form) in told for form in forms[:2])
    for number, form in enumerate(forms[:2], 2):
        names = {"column": "label", "names": [form, "tea"]}
        assert made(tmp_path / str(number), {"train": {"files": file}}, names).space.names == (form, "tea")
        mapped = {"column": "label", "mapping": {form: "a", "tea": "b"}}
        assert made(tmp_path / f"{number} mapped", {"train": {"files": file}}, mapped).space.names == ("a", "b")


def test_a_group_is_one_in_columns_of_two_types(tmp_path: Path) -> None:
    """A column of numbers has floats where a cell is missing: 7.0 there and 7 in another file are one group, and rows
    without a group are none.
    """
    missing = [float("nan"), None]
    authors = [missing[n // 20 % 2] if n % 20 < 10 else float(n % 10) for n in range(200)]
    table = pa.table({"text": [f"a {n}" for n in range(200)], "label": ["x", "y"] * 100, "author": authors})
    pq.write_table(table, tmp_path / "a.parquet")
    rest = "text,label,author\n" + "".join(
        f"b {n},{'xy'[n // 10 % 2]},{n % 10}{'.0' * (n % 3 == 0)}\n" for n in range(100)
    )
    data = {"train": {"files": [str(tmp_path / "a.parquet"), write(tmp_path, rest)]}}
    splits = made(tmp_path, {**data, "split": {"validation": 0.3, "group": "author"}})
    split_of = {text: name for name, part in (("t", splits.train), ("v", splits.validation)) for text in part.texts}
    for author in range(10):
        texts = [f"a {n}" for n in range(200) if authors[n] == author] + [f"b {n}" for n in range(author, 100, 10)]
        assert len({split_of[text] for text in texts}) == 1
    for kind in (0, 1):
        assert {split_of[f"a {n}"] for n in range(200) if n % 20 < 10 and n // 20 % 2 == kind} == {"t", "v"}


def test_decimal_labels_are_their_numbers(tmp_path: Path) -> None:
    """DECIMAL columns give "0" and "1"; one with decimals keeps them."""
    values = [Decimal("0"), Decimal("1"), Decimal("2.50")]
    table = pa.table({"text": [f"t{n}" for n in range(60)], "label": [values[n % 3] for n in range(60)]})
    pq.write_table(table, tmp_path / "rows.parquet")
    splits = made(tmp_path, {"train": {"files": str(tmp_path / "rows.parquet")}})
    assert splits.space.names == ("0", "1", "2.5")


def test_a_label_with_half_a_character_is_named_by_line(tmp_path: Path) -> None:
    """A lone surrogate in a label is refused before training, with its row."""
    text = refused(tmp_path, write(tmp_path, lines(["good", "bad\ud83d"]), "rows.jsonl"))
    assert "rows.jsonl:2" in text
    assert "surrogate" in text


def test_a_separator_that_nobody_named_is_asked_for(tmp_path: Path) -> None:
    """Cells such as joy|fear of kind multi get a hint from lint, and the label column is not called unread."""
    text = "text,label\n" + "".join(f"text {n},{['joy|fear', 'joy|joy', ''][n % 3]}\n" for n in range(60))
    findings = found({"train": {"files": write(tmp_path, text)}}, MULTI)
    assert 'labels.separator: "|"' in findings["separator"]
    assert "'label'" not in findings.get("unread_nulls", "")


def test_a_label_twice_in_one_cell_is_told(tmp_path: Path) -> None:
    """joy|joy counts once, and lint says so."""
    text = "text,label\n" + "".join(f"text {n},{['joy|fear', 'joy|joy'][n % 2]}\n" for n in range(60))
    findings = found({"train": {"files": write(tmp_path, text)}}, {**MULTI, "separator": "|"})
    assert findings["repeated_labels"].startswith("30 of 60")
    assert "separator" not in findings


def test_a_label_that_reads_like_others_together_is_refused(tmp_path: Path) -> None:
    """Beside "p" and "q" a label "p|q" cannot be told from both in a CSV of scores."""
    text = refused(tmp_path, write(tmp_path, lines([["p|q"], ["p", "q"]]), "rows.jsonl"), MULTI)
    assert "'p|q' reads like several others together" in text


@pytest.mark.parametrize(
    ("text", "told"),
    [("id;text\n1;a\n", 'delimiter: ";"'), ("id\ttext\n1\ta\n", 'delimiter: "\\t"'), ("sep=;\nid;text\n", "Excel")],
)
def test_the_delimiter_that_would_fit_is_named(tmp_path: Path, text: str, told: str) -> None:
    """A header that is one column names what would part it, and Excel's first line is known."""
    assert told in refused(tmp_path, write(tmp_path, text))


def test_too_few_validation_rows_are_said_before_training(tmp_path: Path) -> None:
    """Export asks for 32: with 24 lint warns; with enough it does not."""
    data = {"train": {"files": write(tmp_path, balanced(240))}}
    assert found(data)["few_validation_rows"].startswith("24 validation rows")
    assert "few_validation_rows" not in found({**data, "split": {"validation": 0.2}})


@pytest.mark.parametrize("labels", ["label", {**MULTI, "names": ["ham", "spam"]}])
def test_validation_rows_of_one_label_are_said_before_training(tmp_path: Path, labels: Any) -> None:
    """Figures of rows that all have the same labels show nothing: one answer is right on each."""
    held = write(tmp_path, "text,label\n" + "".join(f"held {n},ham\n" for n in range(40)), "held.csv")
    data = {"train": {"files": write(tmp_path, balanced(60))}, "validation": {"files": held}}
    splits = made(tmp_path, data, labels)
    lines_of = list(told_splits(splits, recipe(data, labels).labels))
    assert any("all validation rows have the same labels" in line for line in lines_of)


def test_training_says_the_same_before_its_first_step(tmp_path: Path) -> None:
    """The lines before training tell few validation rows, a separator that nobody named, and whose F1 is printed."""
    few = made(tmp_path / "1", {"train": {"files": write(tmp_path, balanced(240))}})
    lines_of = list(told_splits(few, recipe({"train": {"files": "x"}}).labels))
    assert "precision, recall, f1 are of the label 'spam'" in lines_of
    assert "warning: 24 validation rows; an export is proved with at least 32" in lines_of
    assert not any("the same labels" in line for line in lines_of)
    text = "text,label\n" + "".join(f"text {n},{['joy|fear', 'joy|joy'][n % 2]}\n" for n in range(400))
    cells = made(tmp_path / "2", {"train": {"files": write(tmp_path, text)}}, MULTI)
    lines_of = list(told_splits(cells, recipe({"train": {"files": "x"}}, MULTI).labels))
    assert any('labels.separator: "|"' in line for line in lines_of)
    assert not any("are of the label" in line or "validation rows;" in line for line in lines_of)


def test_f1_of_one_label_among_many_is_named(tmp_path: Path) -> None:
    """With three labels and select.metric f1 lint says whose F1 it is; a named positive label is meant."""
    text = "text,label\n" + "".join(f"text {n},{'abc'[n % 3]}\n" for n in range(240))
    data, metric = {"train": {"files": write(tmp_path, text)}}, {"metric": "f1"}
    assert "the label 'b' alone" in found(data, select=metric)["metric_of_one_label"]
    assert "metric_of_one_label" not in found(data, {"column": "label", "positive": "c"}, select=metric)
    assert recipe(data).select.metric == "f1_macro"


def test_one_cause_is_one_error(tmp_path: Path) -> None:
    """Where no label can be read, lint says so once and not also that there are no classes."""
    file = write(tmp_path, lines([{"no": "label"}]), "rows.jsonl")
    report = lint.lint(recipe({"train": {"files": file}}))
    assert [finding.check for finding in report.stages[0].findings if finding.severity == "error"] == ["not_label"]


def test_an_undefined_metric_is_a_finding(tmp_path: Path) -> None:
    """What training refuses before its first step lint refuses too."""
    rest = write(tmp_path, "text,label\n" + "".join(f"new {n},ham\n" for n in range(40)), "val.csv")
    data = {"train": {"files": write(tmp_path, balanced(40))}, "validation": {"files": rest}}
    assert "roc_auc is undefined" in found(data, select={"metric": "roc_auc"})["split"]


def test_a_row_without_its_time_is_no_newest_row(tmp_path: Path) -> None:
    """Split by time, an object without the time's key is named; it is not the newest."""
    rows = [{"text": f"t{n}", "label": str(n % 2), **({} if n == 3 else {"at": n})} for n in range(40)]
    file = write(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "rows.jsonl")
    with pytest.raises(InputError, match=r"rows\.jsonl:4[\s\S]*holds no time"):
        made(tmp_path, {"train": {"files": file}, "split": {"time": "at"}})
