"""Reading labelled files: what is wrong is named with its place, and nothing is lost."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.trainer.sources import balanced, everything, made, recipe, write
from trainer.contract.errors import InputError

ROWS = balanced(40)


def error(folder: Path, text: str | bytes, labels: Any = "label", source: Any = None, **parts: Any) -> str:
    """The error that a file with this content gets."""
    file = write(folder, text)
    with pytest.raises(InputError) as caught:
        made(folder, {"train": {"files": file, **(source or {})}}, labels, **parts)
    return str(caught.value)


def test_a_missing_file_names_what_the_folder_holds(tmp_path: Path) -> None:
    """A file that is not there is an error that shows its neighbours."""
    write(tmp_path, ROWS, "data.csv")
    with pytest.raises(InputError, match=r"no such file[\s\S]*data\.csv"):
        made(tmp_path, {"train": {"files": str(tmp_path / "date.csv")}})


def test_a_glob_that_matches_nothing_is_an_error(tmp_path: Path) -> None:
    """A pattern without a match does not become an empty data set."""
    with pytest.raises(InputError, match="no file matches"):
        made(tmp_path, {"train": {"files": str(tmp_path / "*.csv")}})


@pytest.mark.parametrize(
    ("source", "labels", "told"),
    [
        ({"header": False}, {}, "exactly where header is false"),
        ({"delimiter": "||"}, {}, "expected one character"),
        ({}, {"columns": ["a", "b"]}, "either column or columns"),
        ({}, {"separator": "|"}, "are for kind: multi"),
        ({}, {"names": ["ham", "spam"], "mapping": {"0": "hams"}}, "did you mean 'ham'"),
        ({}, {"names": ["ham", "spam"], "positive": "span"}, "did you mean 'spam'"),
    ],
)
def test_sources_and_labels_that_contradict_themselves(
    source: dict[str, Any], labels: dict[str, Any], told: str
) -> None:
    """What cannot be meant is an error of the recipe, before any file is opened."""
    with pytest.raises(AssertionError, match=told):
        recipe({"train": {"files": "a.csv", **source}}, {"column": "label", **labels})


@pytest.mark.parametrize(
    "part", [{"max_tokens": 0}, {"head_tokens": 9}, {"truncation": "head_tail", "head_tokens": 999}]
)
def test_limits_that_cannot_be_kept_are_errors_of_the_recipe(part: dict[str, Any]) -> None:
    """No token, and more head tokens than tokens, are refused before anything is read."""
    with pytest.raises(AssertionError, match="_tokens: "):
        recipe({"train": {"files": "a.csv"}}, input={"text": "text", **part})


def test_a_misspelt_text_column_gets_the_nearest_name(tmp_path: Path) -> None:
    """A wrong column names the file's columns and the nearest of them."""
    text = error(tmp_path, ROWS, input={"text": "txet"})
    assert "no column 'txet'" in text
    assert "did you mean 'text'?" in text
    assert "rows.csv" in text


def test_a_misspelt_label_column_names_its_key(tmp_path: Path) -> None:
    """A wrong label column says which key of the recipe names it."""
    text = error(tmp_path, ROWS, labels="lable")
    assert "labels.column" in text
    assert "did you mean 'label'?" in text


def test_the_wrong_delimiter_is_recognised(tmp_path: Path) -> None:
    """A header that is one column with semicolons in it points at the delimiter."""
    assert 'delimiter: ";"' in error(tmp_path, ROWS.replace(",", ";"))


def test_a_column_that_no_json_object_has_is_an_error(tmp_path: Path) -> None:
    """JSON lines have no header: a column is missing where no object has it."""
    file = write(tmp_path, '{"body": "a", "label": "x"}\n{"body": "b", "label": "y"}\n', "rows.jsonl")
    with pytest.raises(InputError, match="no column 'text'"):
        made(tmp_path, {"train": {"files": file}})


def test_a_column_to_rename_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """A rename of a column that the file lacks is not passed over."""
    assert "no column 'texto' to rename" in error(tmp_path, ROWS, source={"rename": {"texto": "text"}})


@pytest.mark.parametrize("source", [{"rename": {"old": "text"}}, {"constant": {"label": "ham"}}])
def test_two_columns_of_one_name_are_an_error(tmp_path: Path, source: dict[str, Any]) -> None:
    """A rename or a constant onto a column that the file has would hide it."""
    text = error(tmp_path, ROWS.replace("text,label", "text,label,old", 1).replace("ham\n", "ham,1\n"), source=source)
    assert "two columns would be called" in text


def test_a_file_in_two_splits_or_twice_in_one_is_an_error(tmp_path: Path) -> None:
    """A pattern that takes the test file along, and patterns that overlap, are refused."""
    write(tmp_path, ROWS, "train.csv")
    test = write(tmp_path, "text,label\nnew,ham\nnewer,spam\n", "test.csv")
    both = str(tmp_path / "*.csv")
    with pytest.raises(InputError, match=r"named under train and under test[\s\S]*test\.csv"):
        made(tmp_path, {"train": {"files": both}, "test": {"files": test}})
    with pytest.raises(InputError, match=r"named twice[\s\S]*test\.csv"):
        made(tmp_path, {"train": {"files": [both, test]}})


@pytest.mark.parametrize("text", ["", "text,label\n"])
def test_a_file_without_rows_is_an_error(tmp_path: Path, text: str) -> None:
    """An empty file and one with a header alone are errors that name the file."""
    assert "rows.csv" in error(tmp_path, text)


def test_an_unknown_suffix_asks_for_the_format(tmp_path: Path) -> None:
    """A suffix that says nothing needs `format:`."""
    file = write(tmp_path, ROWS, "rows.dat")
    with pytest.raises(InputError, match="format"):
        made(tmp_path, {"train": {"files": file}})
    assert len(everything(made(tmp_path, {"train": {"files": file, "format": "csv"}}))) == 40


def test_one_class_only_is_an_error(tmp_path: Path) -> None:
    """Rows that all have one label cannot be learnt from, whether names are given or found."""
    text = "text,label\na,spam\nb,spam\nc,spam\n"
    assert "only 'spam'" in error(tmp_path, text)
    assert "only 'spam'" in error(tmp_path, text, labels={"column": "label", "names": ["ham", "spam"]})


def test_a_label_outside_the_names_gets_the_nearest_and_its_line(tmp_path: Path) -> None:
    """A label that is not among the names is shown with its count, its first line and the nearest name."""
    text = error(tmp_path, ROWS + "more,spamm\nmore,spamm\n", labels={"column": "label", "names": ["ham", "spam"]})
    assert "'spamm' (2 rows, first" in text
    assert "rows.csv:42" in text
    assert "did you mean 'spam'?" in text


def test_every_unmapped_spelling_is_named_with_its_count(tmp_path: Path) -> None:
    """A mapping that forgets spellings is told all of them at once."""
    text = error(
        tmp_path, "text,label\na,1\nb,0\nc,2\nd,2\ne,3\n", {"column": "label", "mapping": {"0": "x", "1": "y"}}
    )
    assert "'2' (2 rows, first" in text
    assert "'3' (1 rows, first" in text


def test_a_label_only_in_test_rows_is_an_error(tmp_path: Path) -> None:
    """Names are found in the training rows: what no training row has cannot be predicted."""
    train, test = write(tmp_path, ROWS), write(tmp_path, "text,label\nnew,eggs\n", "test.csv")
    with pytest.raises(InputError, match=r"'eggs'[\s\S]*ham, spam"):
        made(tmp_path, {"train": {"files": train}, "test": {"files": test}})


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (",spam", "column 'text' is empty"),
        ("   ,spam", "column 'text' is empty"),
        ("some text,", "column 'label' is empty"),
        ("some,text,spam", "expected 2 fields, found 3"),
        ('"some text,spam', "never closed"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_with_its_line(tmp_path: Path, row: str, told: str) -> None:
    """Null text, null label, a wrong number of fields and a quote that never closes name the line."""
    text = error(tmp_path, f"{ROWS}{row}\n")
    assert told in text
    assert "rows.csv:42" in text


def test_invalid_utf8_names_its_line(tmp_path: Path) -> None:
    """A byte that is not UTF-8 is an error at its line, not a question mark."""
    text = error(tmp_path, ROWS.encode() + b"caf\xe9,spam\n")
    assert "rows.csv:42: not utf-8" in text


def test_a_broken_json_line_names_its_number(tmp_path: Path) -> None:
    """A line that is not JSON is an error at its line."""
    lines = "".join(json.dumps({"text": f"t{n}", "label": f"l{n % 2}"}) + "\n" for n in range(20))
    file = write(tmp_path, lines + '{"text": "cut', "rows.jsonl")
    with pytest.raises(InputError, match=r"rows\.jsonl:21"):
        made(tmp_path, {"train": {"files": file}})


def test_many_bad_rows_are_counted_and_the_first_few_shown(tmp_path: Path) -> None:
    """Of nine bad rows five are shown, and all are counted."""
    text = error(tmp_path, ROWS + ",spam\n" * 9)
    assert text.startswith("9 rows cannot be read")
    assert "and 4 more" in text


def test_dropped_nulls_are_counted_by_file(tmp_path: Path) -> None:
    """on_null: drop leaves rows out and says how many; the ids of the others stay."""
    file = write(tmp_path, "text,label\n,spam\n" + ROWS.partition("\n")[2])
    splits = made(tmp_path, {"train": {"files": file}}, input={"text": "text", "on_null": "drop"})
    assert splits.summary["nulls_dropped"] == 1
    assert splits.summary["files"] == [{"file": file, "rows": 41, "nulls_dropped": 1}]
    assert sorted([*splits.train.ids.tolist(), *splits.validation.ids.tolist()]) == list(range(1, 41))


def test_null_parts_read_as_empty_leave_no_joiner(tmp_path: Path) -> None:
    """on_null: empty keeps a row that lacks its title, without the joiner."""
    file = write(tmp_path, "title,text,label\n" + "".join(f"{'T' * (n % 2)},b{n},{n % 2}\n" for n in range(20)))
    texts = {
        text
        for text, _ in everything(
            made(
                tmp_path,
                {"train": {"files": file}},
                input={"text": ["title", "text"], "join": ". ", "on_null": "empty"},
            )
        )
    }
    assert {"b0", "T. b1"} < texts


def test_several_files_a_glob_and_no_header_read_in_order(tmp_path: Path) -> None:
    """Two sources, one a glob of headerless files, give all rows with ids in file order."""
    first = write(tmp_path, balanced(20))
    write(tmp_path, "ham\tx1\nspam\tx2\n", "b2.tsv")
    write(tmp_path, "ham\tx3\nspam\tx4\n", "b1.tsv")
    glob = {"files": str(tmp_path / "b*.tsv"), "header": False, "columns": ["label", "text"], "quoting": "none"}
    rows = everything(made(tmp_path, {"train": [{"files": first}, glob]}))
    assert [text for text, _ in rows[-4:]] == ["x3", "x4", "x1", "x2"]


def test_columns_of_several_files_are_mapped_onto_one_schema(tmp_path: Path) -> None:
    """rename and constant bring files with other columns, or without labels, together."""
    real = write(tmp_path, "texto\n" + "".join(f"verdad {n}\n" for n in range(10)), "real.csv")
    fake = write(tmp_path, "TEXT;n\n" + "".join(f"mentira {n};1\n" for n in range(10)), "fake.csv")
    sources = [
        {"files": real, "rename": {"texto": "text"}, "constant": {"label": "real"}},
        {"files": fake, "delimiter": ";", "rename": {"TEXT": "text"}, "constant": {"label": "fake"}},
    ]
    rows = everything(made(tmp_path, {"train": sources}))
    assert rows[0] == ("verdad 0", ("real",))
    assert rows[-1] == ("mentira 9", ("fake",))


def test_booleans_numbers_and_text_are_one_spelling(tmp_path: Path) -> None:
    """true of JSON, TRUE of a spreadsheet and "True" are one label, as are 1, 1.0 and "1"."""
    cells: list[Any] = [True, "TRUE", "true", "True", 1, "1", 1.0]
    lines = "".join(json.dumps({"text": f"t{n}", "label": cells[n % 7]}) + "\n" for n in range(70))
    splits = made(tmp_path, {"train": {"files": write(tmp_path, lines, "rows.jsonl")}})
    assert splits.space.names == ("1", "True")


def test_whole_numbers_written_as_floats_are_known_labels(tmp_path: Path) -> None:
    """1.0, which a table with empty cells makes of 1, is the label "1" where there is such a label, and else itself."""
    text = "text,label\n" + "".join(f"t{n},{n % 2}.0\n" for n in range(20))
    file = write(tmp_path, text)
    named = made(tmp_path / "1", {"train": {"files": file}}, {"column": "label", "names": ["1", "0"]})
    assert everything(named)[1] == ("t1", ("1",))
    assert made(tmp_path / "2", {"train": {"files": file}}).space.names == ("0.0", "1.0")
    flags = write(tmp_path, "text,a,b\n" + "".join(f"t{n},{n % 2}.0,{1 - n % 2}.0\n" for n in range(20)), "flags.csv")
    columns = {"columns": ["a", "b"], "kind": "multi"}
    assert everything(made(tmp_path / "3", {"train": {"files": flags}}, columns))[:2] == [
        ("t0", ("b",)),
        ("t1", ("a",)),
    ]


def test_a_mapping_joins_spellings_and_keeps_label_names(tmp_path: Path) -> None:
    """Mapped spellings become labels; a cell that is a label name already stays."""
    cells = ["0", "TRUE", "fake", "real"]
    text = "text,label\n" + "".join(f"t{n},{cells[n % 4]}\n" for n in range(40))
    splits = made(
        tmp_path,
        {"train": {"files": write(tmp_path, text)}},
        {"column": "label", "mapping": {"0": "fake", "True": "real"}, "names": ["real", "fake"]},
    )
    assert splits.space.names == ("real", "fake")
    assert [labels for _, labels in everything(splits)[:4]] == [("fake",), ("real",), ("fake",), ("real",)]


def test_multi_label_cells_as_text_with_a_separator(tmp_path: Path) -> None:
    """`a|b` is two labels, an empty cell none, and an empty label between separators is refused."""
    text = "text,label\n" + "".join(f"t{n},{('a|b', 'b', '', ' a | c ')[n % 4]}\n" for n in range(40))
    labels = {"column": "label", "kind": "multi", "separator": "|"}
    splits = made(tmp_path, {"train": {"files": write(tmp_path, text)}}, labels)
    assert splits.space.names == ("a", "b", "c")
    assert [names for _, names in everything(splits)[:4]] == [("a", "b"), ("b",), (), ("a", "c")]
    assert "empty label among others" in error(tmp_path, "text,label\nt,a||b\n", labels)


def test_multi_label_lists_of_jsonl_and_parquet(tmp_path: Path) -> None:
    """A list in a cell is the row's labels; a missing list is a null label, not a row without labels."""
    rows = [{"text": f"t{n}", "label": [["a", "b"], [], ["b"]][n % 3]} for n in range(30)]
    jsonl = write(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "rows.jsonl")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    labels = {"column": "label", "kind": "multi"}
    first = made(tmp_path / "1", {"train": {"files": jsonl}}, labels)
    second = made(tmp_path / "2", {"train": {"files": str(tmp_path / "rows.parquet")}}, labels)
    assert everything(first) == everything(second)
    assert [names for _, names in everything(first)[:3]] == [("a", "b"), (), ("b",)]
    missing = write(tmp_path, '{"text": "t", "label": null}\n', "null.jsonl")
    with pytest.raises(InputError, match="has no label"):
        made(tmp_path / "3", {"train": {"files": missing}}, labels)


def test_a_list_where_one_label_is_expected_says_multi(tmp_path: Path) -> None:
    """A list in a single-label column is refused with the setting that reads it."""
    file = write(tmp_path, '{"text": "t", "label": ["a"]}\n', "rows.jsonl")
    with pytest.raises(InputError, match="kind: multi"):
        made(tmp_path, {"train": {"files": file}})


def test_a_damaged_parquet_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    """Bytes that are not Parquet name the file."""
    file = write(tmp_path, b"PAR1 nonsense", "rows.parquet")
    with pytest.raises(InputError, match=r"rows\.parquet"):
        made(tmp_path, {"train": {"files": file}})


def test_pairs_are_read_and_kept(tmp_path: Path) -> None:
    """A pair column gives every row its second text."""
    text = "text,other,label\n" + "".join(f"a{n},b{n},{n % 2}\n" for n in range(20))
    splits = made(tmp_path, {"train": {"files": write(tmp_path, text)}}, input={"text": "text", "pair": "other"})
    assert splits.train.pairs == [text.replace("a", "b") for text in splits.train.texts]
