"""Every format that training reads: the same rows whatever the file, and damage named."""

import bz2
import datetime
import gzip
import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.sources import balanced, everything, made, recipe, write
from trainer.contract.errors import InputError, RecipeError
from trainer.data.gather import gather_rows
from trainer.recipes.file import load

ROWS = [{"text": f"text {n}", "label": "spam" if n % 2 else "ham"} for n in range(20)]
EXPECTED = [(row["text"], (row["label"],)) for row in ROWS]


def zstd(raw: bytes) -> bytes:
    """Bytes compressed by Zstandard."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as file:
        file.write(raw)
    return bytes(sink.getvalue())


COMPRESS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}


def workbook(path: Path, rows: list[list[Any]], sheet: str = "Sheet") -> str:
    """A workbook whose last sheet holds the rows."""
    book = openpyxl.Workbook()
    if sheet != "Sheet":
        book.create_sheet(sheet)
    for row in rows:
        book.worksheets[-1].append(row)
    book.save(path)
    return str(path)


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("cut", [False, True])
def test_compressed_files_read_alike_and_damage_is_named(tmp_path: Path, suffix: str, cut: bool) -> None:
    """A compressed CSV gives its rows; cut off in the middle it is an error with its name, not fewer rows."""
    raw = COMPRESS[suffix](balanced(20).encode())
    file = write(tmp_path, raw[: len(raw) // 2] if cut else raw, f"rows.csv{suffix}")
    if not cut:
        assert everything(made(tmp_path, {"train": {"files": file}})) == EXPECTED
        return
    with pytest.raises(InputError, match=r"rows\.csv\."):
        made(tmp_path, {"train": {"files": file}})


@pytest.mark.parametrize("kind", ["json", "jsonl", "parquet", "xlsx"])
def test_a_compressed_file_of_any_format_reads(tmp_path: Path, kind: str) -> None:
    """Compression and format are independent of each other."""
    path = tmp_path / f"rows.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif kind == "xlsx":
        workbook(path, [["text", "label"], *([row["text"], row["label"]] for row in ROWS)])
    else:
        path.write_text(json.dumps(ROWS) if kind == "json" else "\n".join(map(json.dumps, ROWS)))
    file = write(tmp_path, zstd(path.read_bytes()), f"rows.{kind}.zst")
    assert everything(made(tmp_path, {"train": {"files": file}})) == EXPECTED


def test_a_json_array_knows_the_line_of_each_object(tmp_path: Path) -> None:
    """Objects of an indented array are placed at the line that they start at."""
    splits = made(tmp_path, {"train": {"files": write(tmp_path, json.dumps(ROWS, indent=1), "rows.json")}})
    assert everything(splits) == EXPECTED
    places = dict(zip(splits.train.texts, splits.train.places, strict=True))
    lines = json.dumps(ROWS, indent=1).splitlines()
    text, place = next(iter(places.items()))
    assert lines[int(place.rpartition(":")[2])] == f'  "text": "{text}",'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[{"text": "a", "label": "x"},\n{"text": }]', r"rows\.json:2"),
        ('[{"text": "a", "label": "x"},\n3]', r"rows\.json:2.*expected an object"),
        ('[{"text": "a", "label": "x"}\n', "never closed"),
        ("[]", "no rows"),
        (b'[{"text": "caf\xe9"}]', r"rows\.json:1"),
    ],
)
def test_broken_json_is_named_with_its_line(tmp_path: Path, text: str | bytes, told: str) -> None:
    """A JSON array that is cut, empty, of other things than objects, or not UTF-8 is an error with its place."""
    with pytest.raises(InputError, match=told):
        made(tmp_path, {"train": {"files": write(tmp_path, text, "rows.json")}})


def test_json_lines_under_the_name_json_are_read(tmp_path: Path) -> None:
    """Many tools write JSON lines into .json files."""
    file = write(tmp_path, "\n".join(map(json.dumps, ROWS)), "rows.json")
    assert everything(made(tmp_path, {"train": {"files": file}})) == EXPECTED


def test_workbook_cells_are_text_and_booleans_are_labels(tmp_path: Path) -> None:
    """Numbers and dates become text, TRUE is a label, blank rows are no rows, and lines are the sheet's."""
    day = datetime.datetime(2024, 5, 1)
    rows: list[list[Any]] = [["text", "label", None], *([f"line\n{n}", bool(n % 2)] for n in range(20))]
    file = workbook(tmp_path / "rows.xlsx", [*rows, [None, None], [7, True], [7.5, False], [day, True]])
    read = everything(splits := made(tmp_path, {"train": {"files": file}}))
    assert read[-3:] == [("7", ("True",)), ("7.5", ("False",)), ("2024-05-01T00:00:00", ("True",))]
    assert read[0] == ("line\n0", ("False",))
    parts = [*splits.train.places, *splits.validation.places]
    assert {f"{file}:2", f"{file}:25"} <= set(parts)
    assert f"{file}:22" not in parts


def test_a_sheet_is_chosen_by_name_and_may_lack_a_header(tmp_path: Path) -> None:
    """`sheet:` takes one that is not the first; `columns:` names its cells; a wrong name shows the right ones."""
    file = workbook(tmp_path / "rows.xlsx", [[row["text"], row["label"]] for row in ROWS], sheet="Daten")
    source = {"files": file, "sheet": "Daten", "header": False, "columns": ["text", "label"]}
    assert everything(made(tmp_path, {"train": source})) == EXPECTED
    with pytest.raises(InputError, match=r"no sheet 'Date'[\s\S]*'Daten'"):
        made(tmp_path, {"train": {**source, "sheet": "Date"}})


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([["text", "text"], ["a", "b"]], "a name each"),
        ([["text", "label"], ["a", "b", "beyond"]], "expected 2 cells, found 3"),
        ([["text", "label"]], "no rows"),
    ],
)
def test_a_workbook_that_is_no_table_is_refused(tmp_path: Path, rows: list[list[Any]], told: str) -> None:
    """Columns of one name, cells beyond the columns and a sheet without rows are errors."""
    with pytest.raises(InputError, match=told):
        made(tmp_path, {"train": {"files": workbook(tmp_path / "rows.xlsx", rows)}})


@pytest.mark.parametrize("raw", [b"PK\x03\x04 no workbook", b"", b"text,label\n"])
def test_a_file_that_is_no_workbook_is_named(tmp_path: Path, raw: bytes) -> None:
    """Bytes that are not a workbook are an error with the file's name."""
    with pytest.raises(InputError, match=r"rows\.xlsx"):
        made(tmp_path, {"train": {"files": write(tmp_path, raw, "rows.xlsx")}})


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252", "utf-8"])
def test_encodings_and_byte_order_marks(tmp_path: Path, encoding: str) -> None:
    """The same rows come from any named encoding; a byte order mark is no part of the first column's name."""
    text = balanced(20).replace("text 3", "café ñ 3")
    file = write(tmp_path, text.encode(encoding))
    named = "utf-8" if encoding == "utf-8-sig" else encoding
    assert everything(made(tmp_path, {"train": {"files": file, "encoding": named}}))[3] == ("café ñ 3", ("spam",))


@pytest.mark.parametrize(
    "name", ["a.csv", "a.tsv", "a.json", "a.jsonl", "a.parquet", "a.xlsx", "a.csv.gz", "a.json.zst"]
)
@given(raw=st.binary(max_size=200))
@settings(max_examples=40, deadline=None)
def test_any_bytes_are_rows_or_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, name: str, raw: bytes
) -> None:
    """Whatever a file holds, each of its records is a row or a problem, or the file is refused."""
    file = write(tmp_path_factory.getbasetemp(), raw, name)
    one = recipe({"train": {"files": file, "header": False, "columns": ["text", "label"]}})
    try:
        read = gather_rows(one, one.data, take=lambda _: None).given["train"]
    except InputError:
        return
    assert read.rows + len(read.problems) == sum(read.read.values())


def test_an_unknown_encoding_is_an_error_of_the_recipe(tmp_path: Path) -> None:
    """An encoding that Python does not know is named."""
    with pytest.raises(InputError, match="unknown encoding 'utf-9'"):
        made(tmp_path, {"train": {"files": write(tmp_path, balanced(9)), "encoding": "utf-9"}})


def test_one_column_a_label(tmp_path: Path) -> None:
    """Columns of true and false, in any spelling, are the labels of a row; names may be others than the columns'."""
    cells = ["True,0", "FALSE,1", "1,true", "0,FALSE"]
    text = "text,IsA,IsB\n" + "".join(f"t{n},{cells[n % 4]}\n" for n in range(40))
    labels = {"columns": ["IsA", "IsB"], "names": ["a", "b"], "kind": "multi"}
    splits = made(tmp_path, {"train": {"files": write(tmp_path, text)}}, labels)
    assert [names for _, names in everything(splits)[:4]] == [("a",), ("b",), ("a", "b"), ()]
    assert splits.space.names == ("a", "b")


@pytest.mark.parametrize(("cell", "told"), [("", "column 'IsB' is empty"), ("maybe", "holds 'maybe'")])
def test_a_label_column_that_is_neither_true_nor_false(tmp_path: Path, cell: str, told: str) -> None:
    """An empty cell and another word in a label's column are errors at their line."""
    file = write(tmp_path, f"text,IsA,IsB\na,1,0\nb,0,{cell}\n")
    with pytest.raises(InputError, match=rf"rows\.csv:3[\s\S]*{told}"):
        made(tmp_path, {"train": {"files": file}}, {"columns": ["IsA", "IsB"], "kind": "multi"})


def test_html_and_unicode_are_read_as_scoring_reads_them(tmp_path: Path) -> None:
    """unescape_html and unicode change the text, and rows that become equal are exact repeats."""
    text = "text,label\n" + "".join(f"t{n},{n % 2}\n" for n in range(20)) + "a&amp;b,1\na&b,1\ne\u0301,1\n\u00e9,1\n"
    part = {"text": "text", "unescape_html": True, "unicode": "NFC"}
    splits = made(tmp_path, {"train": {"files": write(tmp_path, text)}}, input=part)
    assert [text for text, _ in everything(splits)[-4:]] == ["a&b", "a&b", "é", "é"]
    assert splits.summary["exact_repeats"] == 2


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache of the datasets library of the test's own, and no network."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.mark.usefixtures("cache")
def test_a_saved_dataset_gives_its_class_labels_by_name(tmp_path: Path) -> None:
    """A folder of save_to_disk, with splits or without, reads like a file; class labels are their names."""
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["ham", "spam"])}
    )
    saved = datasets.Dataset.from_list(
        [{"text": row["text"], "label": n % 2} for n, row in enumerate(ROWS)], features=features
    )
    saved.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"training": saved}).save_to_disk(str(tmp_path / "many"))
    assert everything(made(tmp_path / "1", {"train": {"dataset": str(tmp_path / "one")}})) == EXPECTED
    many = {"dataset": str(tmp_path / "many"), "split": "training"}
    assert everything(made(tmp_path / "2", {"train": many})) == EXPECTED
    with pytest.raises(InputError, match=r"no split 'train'[\s\S]*training"):
        made(tmp_path / "3", {"train": {"dataset": str(tmp_path / "many")}})


@pytest.mark.usefixtures("cache")
def test_a_folder_of_data_files_is_a_dataset(tmp_path: Path) -> None:
    """The datasets library finds train and test files in a folder; each row's place names the data set and split."""
    folder = tmp_path / "data"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "train.parquet")
    splits = made(tmp_path, {"train": {"dataset": str(folder), "split": "train"}})
    assert everything(splits) == EXPECTED
    assert splits.train.places[0].startswith(f"{folder}[train]:")


@pytest.mark.usefixtures("cache")
def test_a_dataset_of_the_working_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare name that is no folder beside the recipe means the hub's data set; the library would take the one that
    happens to lie where the command runs.
    """
    rows = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "own")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="of the working directory"):
        made(tmp_path / "1", {"train": {"dataset": "own"}})


def test_a_dataset_that_cannot_be_had_is_an_error(tmp_path: Path) -> None:
    """A hub name that is not in the cache, offline, and a folder of damaged files are errors with what to do."""
    with pytest.raises(InputError, match="HF_HUB_OFFLINE"):
        made(tmp_path, {"train": {"dataset": "nobody/no-such-data"}})
    (tmp_path / "damaged").mkdir()
    write(tmp_path / "damaged", b"PAR1 nonsense", "train.parquet")
    with pytest.raises(InputError, match="cannot be loaded"):
        made(tmp_path, {"train": {"dataset": str(tmp_path / "damaged")}})


def test_a_dataset_folder_is_relative_to_the_recipe(tmp_path: Path) -> None:
    """A folder beside the recipe becomes absolute; a hub name stays; files and dataset exclude each other."""
    (tmp_path / "data").mkdir()
    text = "model: {name: m}\ninput: {text: text}\nlabels: {column: label}\ndata: {train: %s}\n"
    path = tmp_path / "recipe.yaml"
    path.write_text(text % "[{dataset: data}, {dataset: owner/data}]")
    assert [source.dataset for source in load(path).data.train] == [str(tmp_path / "data"), "owner/data"]
    path.write_text(text % "{dataset: data, files: a.csv}")
    with pytest.raises(RecipeError, match="either files"):
        load(path)
