"""Splits by time: the newest rows are the test, and nothing later is known before."""

import datetime
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.trainer.sources import made, recipe, write
from trainer.contract.errors import BadRow, InputError
from trainer.data.joined import join_validation
from trainer.data.splits import Splits, prepare
from trainer.data.splitting.times import TimeReader
from trainer.data.stored import STORE, StoredRows
from trainer.search.trial_runs import link_tree

SPLIT = {"validation": 0.1, "test": 0.2, "time": "day"}


def days(number: int) -> str:
    """A CSV of rows in no order, one a day."""
    start = datetime.date(2024, 1, 1)
    rows = [f"t{n},{'ab'[n % 2]},{start + datetime.timedelta(days=n)}\n" for n in range(number)]
    random.Random(0).shuffle(rows)
    return "text,label,day\n" + "".join(rows)


def numbers(splits: Splits) -> list[set[int]]:
    """The day numbers of train, validation and test."""
    assert splits.test is not None
    return [{int(text[1:]) for text in part.texts} for part in (splits.train, splits.validation, splits.test)]


def test_the_newest_rows_are_the_test_and_the_next_ones_validation(tmp_path: Path) -> None:
    """Of 100 days in any order the first 70 train, the next 10 validate, the last 20 test."""
    splits = made(tmp_path, {"train": {"files": write(tmp_path, days(100))}, "split": SPLIT})
    assert numbers(splits) == [set(range(70)), set(range(70, 80)), set(range(80, 100))]
    assert splits.summary["made"]["time"] == "day"


def test_splits_by_time_are_saved_and_reused(tmp_path: Path) -> None:
    """A second call takes the saved rows, and a changed day alone changes nothing in them."""
    file = write(tmp_path, days(100))
    one = recipe({"train": {"files": file}, "split": SPLIT})
    first = prepare(one, one.data, tmp_path / "splits")
    write(tmp_path, days(100).replace("2024-01-01", "2030-01-01"))
    assert numbers(prepare(one, one.data, tmp_path / "splits")) == numbers(first)


def test_rows_of_one_moment_stay_together(tmp_path: Path) -> None:
    """Ten rows a day are never parted, though the shares would cut a day in two."""
    text = "text,label,day\n" + "".join(f"t{n},{'ab'[n % 2]},{n // 30}\n" for n in range(300))
    splits = made(tmp_path, {"train": {"files": write(tmp_path, text)}, "split": {**SPLIT, "validation": 0.15}})
    sides = [{number // 30 for number in side} for side in numbers(splits)]
    assert sum(map(len, sides)) == 10
    assert sides[2] == {8, 9}


def test_a_text_that_comes_again_later_belongs_to_its_first_time(tmp_path: Path) -> None:
    """A repeat of an old text among the newest rows goes to training with it."""
    text = days(100) + "t3,a,2025-01-01\n"
    splits = made(tmp_path, {"train": {"files": write(tmp_path, text)}, "split": SPLIT})
    assert splits.train.texts.count("t3") == 2


def test_dates_of_parquet_and_texts_of_a_format(tmp_path: Path) -> None:
    """Dates as such, and texts that strptime reads, order rows as ISO dates do."""
    start = datetime.datetime(2024, 1, 1)
    rows = [{"text": f"t{n}", "label": "ab"[n % 2], "day": start + datetime.timedelta(days=n)} for n in range(100)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    text = "text,label,day\n" + "".join(f"{row['text']},{row['label']},{row['day']:%d.%m.%Y}\n" for row in rows)
    first = made(tmp_path / "1", {"train": {"files": str(tmp_path / "rows.parquet")}, "split": SPLIT})
    german = {"train": {"files": write(tmp_path, text)}, "split": {**SPLIT, "time_format": "%d.%m.%Y"}}
    assert (
        numbers(made(tmp_path / "2", german)) == numbers(first) == [{*range(70)}, {*range(70, 80)}, {*range(80, 100)}]
    )


@pytest.mark.parametrize(
    ("cell", "told"), [("", "holds no time"), ("yesterday", "split.time_format"), ("7", "'7' among dates")]
)
def test_a_cell_that_is_no_time_is_named_with_its_line(tmp_path: Path, cell: str, told: str) -> None:
    """An empty cell, a word, and a number among dates are errors at their line."""
    file = write(tmp_path, f"text,label,day\na,x,2024-01-01\nb,y,{cell}\n")
    with pytest.raises(InputError, match=rf"rows\.csv:3[\s\S]*{told}"):
        made(tmp_path, {"train": {"files": file}, "split": SPLIT})


def test_a_number_beyond_all_times_is_named_with_its_line(tmp_path: Path) -> None:
    """A whole number of 400 digits, as JSON may hold, is no time: an error at its line, and no traceback."""
    lines = [f'{{"text": "t{n}", "label": "{"ab"[n % 2]}", "day": {n if n != 7 else 10**400}}}\n' for n in range(20)]
    file = write(tmp_path, "".join(lines), "rows.jsonl")
    with pytest.raises(InputError, match=r"rows\.jsonl:8[\s\S]*holds 1000"):
        made(tmp_path, {"train": {"files": file}, "split": SPLIT})


@pytest.mark.parametrize("cell", ["", "soon"])
def test_validation_rows_that_are_given_need_no_times(tmp_path: Path, cell: str) -> None:
    """Only rows that are cut by time must have one: a given file's rows may lack it, or say something else there."""
    train = write(tmp_path, days(60))
    held = write(tmp_path, "text,label,day\n" + "".join(f"v{n},{'ab'[n % 2]},{cell}\n" for n in range(40)), "held.csv")
    split = {"test": 0.2, "time": "day"}
    splits = made(tmp_path, {"train": {"files": train}, "validation": {"files": held}, "split": split})
    assert (len(splits.validation), splits.summary["made"]["test"]) == (40, 0.2)
    assert numbers_of_test(splits) == set(range(48, 60))


def numbers_of_test(splits: Splits) -> set[int]:
    """The day numbers of the test rows."""
    assert splits.test is not None
    return {int(text[1:]) for text in splits.test.texts}


def test_a_missing_time_column_names_its_key(tmp_path: Path) -> None:
    """A time column that the file lacks gets the nearest name."""
    with pytest.raises(InputError, match=r"data\.split\.time[\s\S]*did you mean 'day'"):
        made(tmp_path, {"train": {"files": write(tmp_path, days(9))}, "split": {"time": "days"}})


def test_zones_are_honoured_and_a_bare_time_is_utc() -> None:
    """Noon in Berlin is before noon without a zone; a text of digits is a date where a format says so."""
    reader = TimeReader("when")
    assert reader.read("2024-05-01T12:00:00+02:00") < reader.read("2024-05-01T12:00:00")
    assert TimeReader("when", "%Y%m%d").read("20240501") == reader.read(datetime.date(2024, 5, 1))
    assert TimeReader("when").read("20240501") == 20240501
    with pytest.raises(BadRow, match="holds True"):
        reader.read(True)


def test_group_and_time_exclude_each_other(tmp_path: Path) -> None:
    """A recipe that asks for both is refused, as is a format without a time."""
    file = write(tmp_path, days(9))
    for split in ({"group": "label", "time": "day"}, {"time_format": "%Y"}):
        with pytest.raises(AssertionError, match="expected"):
            recipe({"train": {"files": file}, "split": split})


def test_a_refit_holds_back_the_newest_rows(tmp_path: Path) -> None:
    """Of 60 validation days a refit learns the first ones and is measured on the last ones: no figure of it is of rows
    older than what it has learnt. A day is never parted, and a text that came earlier belongs to its first day.
    """
    text = days(300) + "t299,b,2024-08-29\n"
    splits = made(tmp_path, {"train": {"files": write(tmp_path, text)}, "split": {"validation": 0.2, "time": "day"}})
    link_tree(tmp_path / "splits", tmp_path / "refit")
    join_validation(splits, tmp_path / "refit")
    train, held = (
        [int(text[1:]) for text in StoredRows.open(tmp_path / "refit" / STORE, name).texts]
        for name in ("train", "validation")
    )
    assert sorted(held) == list(range(269, 299))
    assert sorted(train) == [*range(269), 299, 299]


def test_a_refit_of_given_validation_rows_without_times_holds_back_random_ones(tmp_path: Path) -> None:
    """Files that are given for validation need no times: then chance chooses, as where nothing is split by time."""
    held_out = "text,label\n" + "".join(f"v{n},{'ab'[n % 2]}\n" for n in range(100))
    data = {
        "train": {"files": write(tmp_path, days(100))},
        "validation": {"files": write(tmp_path, held_out, "validation.csv")},
        "split": {"time": "day"},
    }
    splits = made(tmp_path, data)
    link_tree(tmp_path / "splits", tmp_path / "refit")
    join_validation(splits, tmp_path / "refit")
    held = StoredRows.open(tmp_path / "refit" / STORE, "validation").texts
    assert len(held) == 32
    assert list(held) != [f"v{n}" for n in range(68, 100)]
