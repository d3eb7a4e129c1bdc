"""Cutting, saving and reusing splits: balanced, without leaks, the same ever after."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.sources import balanced, everything, made, recipe, write
from trainer.contract import train_rows
from trainer.contract.errors import InputError
from trainer.contract.inputs import row_key
from trainer.contract.labels import LabelSpace
from trainer.contract.train_rows import TrainRows
from trainer.data.splits import Splits, open_split, prepare
from trainer.data.splitting.allocation import allocate
from trainer.data.splitting.tied import units
from trainer.recipes.file import load
from trainer.stages import prepare_splits

EXAMPLE = Path(__file__).parents[3] / "examples" / "sms_spam" / "recipe.yaml"


def test_the_sms_example_reads_whole_and_splits_without_leaks(tmp_path: Path) -> None:
    """All 5,574 rows arrive, no text stands in two splits, and the spam shares are within half a point."""
    example = load(EXAMPLE)
    splits = prepare(example, example.data, tmp_path / "splits")
    assert splits.test is not None
    parts = [splits.train, splits.validation, splits.test]
    assert sum(map(len, parts)) == 5574
    assert sum(len(set(part.texts)) for part in parts) == len({text for part in parts for text in part.texts})
    shares = [part.labels.mean() for part in parts]
    assert max(shares) - min(shares) < 0.005
    assert abs(len(splits.test) / 5574 - 0.2) < 0.002
    assert splits.summary["exact_repeats"] == 403


def test_saved_splits_are_reused_whatever_the_seed_says_now(tmp_path: Path) -> None:
    """A second call gives the same rows and summary, from the saved ids and not from the seed."""
    file = write(tmp_path, balanced(100))
    one, other = (recipe({"train": {"files": file}, "split": {"test": 0.2, "seed": seed}}) for seed in (1, 2))
    first = prepare(one, one.data, tmp_path / "splits")
    second = prepare(other, other.data, tmp_path / "splits")
    assert first.train.ids.tolist() == second.train.ids.tolist()
    assert first.summary == second.summary
    assert prepare(other, other.data, tmp_path / "new").train.ids.tolist() != first.train.ids.tolist()


@pytest.mark.parametrize("change", [("text 7,spam", "text 7,ham"), ("text 7,", "text x7,"), ("text 99,spam\n", "")])
def test_changed_rows_do_not_fit_saved_splits(tmp_path: Path, change: tuple[str, str]) -> None:
    """A changed label or text and a lost row are noticed, and the saved splits stay as they are."""
    file = write(tmp_path, balanced(100))
    made(tmp_path, {"train": {"files": file}})
    before = {path.name: path.read_bytes() for path in (tmp_path / "splits").iterdir() if path.is_file()}
    write(tmp_path, balanced(100).replace(*change))
    with pytest.raises(InputError, match="not those that the saved splits were made of"):
        made(tmp_path, {"train": {"files": file}})
    assert {path.name: path.read_bytes() for path in (tmp_path / "splits").iterdir() if path.is_file()} == before


def test_moved_files_fit_saved_splits(tmp_path: Path) -> None:
    """The fingerprint is of the rows, not of where their file lies."""
    before = made(tmp_path, {"train": {"files": write(tmp_path, balanced(100))}})
    after = made(tmp_path, {"train": {"files": write(tmp_path, balanced(100), "moved.csv")}})
    assert after.train.ids.tolist() == before.train.ids.tolist()


def test_saved_splits_open_with_whole_rows(tmp_path: Path) -> None:
    """Validation and test open from the folder alone, equal to what was made; training rows are known by their keys."""
    splits = made(tmp_path, {"train": {"files": write(tmp_path, balanced(100))}, "split": {"test": 0.3}})
    test = open_split(tmp_path / "splits", "test", splits.space)
    assert splits.test is not None
    assert (test.texts, test.places, test.labels.tolist()) == (
        splits.test.texts,
        splits.test.places,
        splits.test.labels.tolist(),
    )
    lines = [json.loads(line) for line in (tmp_path / "splits" / "train.jsonl").read_text().splitlines()]
    first = {"id": int(splits.train.ids[0]), "place": splits.train.places[0], "text": splits.train.texts[0]}
    assert lines[0] == {**first, "key": f"{int(splits.train.keys[0]):016x}"}
    kept = TrainRows.open(tmp_path)
    assert (kept.texts, kept.pairs) == (list(splits.train.texts), None)
    assert kept.keys == {row_key(text, None) for text in splits.train.texts}


def test_a_large_set_keeps_the_texts_of_some_training_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit rows keep their keys alone, and which keep their texts does not depend on their order."""
    monkeypatch.setattr(train_rows, "KEPT_TEXTS", 10)
    splits = made(tmp_path, {"train": {"files": write(tmp_path, balanced(100))}})
    kept = TrainRows.open(tmp_path)
    assert (len(kept.keys), len(kept.texts)) == (len(splits.train), 10)
    assert {row_key(text, None) for text in kept.texts} == set(sorted(splits.train.keys.tolist())[:10])


def test_stages_keep_their_splits_in_folders_within_each_other(tmp_path: Path) -> None:
    """A later stage's splits lie in the folder that holds an earlier one's, and both are reused."""
    one = recipe({"train": {"files": write(tmp_path, balanced(40))}})
    two = recipe({"train": {"files": write(tmp_path, balanced(60), "long.csv")}, "split": {"test": 0.2}})
    for _ in range(2):
        first = prepare(one, one.data, tmp_path / "splits" / "stage_1")
        second = prepare(two, two.data, tmp_path / "splits", first.space)
        assert (len(everything(first)), len(everything(second))) == (40, 60)


@pytest.mark.parametrize(
    ("data", "folders"),
    [
        ((None, None), {""}),
        ((None, "own"), {"", "stage_1"}),
        (("own", None), {"", "stage_1"}),
        (("own", "same"), {""}),
        ((None, "own", None), {"", "stage_2"}),
    ],
)
def test_the_stages_of_a_run_have_their_splits(tmp_path: Path, data: tuple[str | None, ...], folders: set[str]) -> None:
    """The last stage's rows lie in splits/, those of stages with other data beside them, and a resume finds both."""
    own = {"train": {"files": write(tmp_path, balanced(60).replace("text ", "own "), "own.csv")}}
    stages = [{"data": own} if name else {} for name in data]
    one = recipe({"train": {"files": write(tmp_path, balanced(40))}}, stages=stages)
    for _ in range(2):
        found = prepare_splits(one, tmp_path)
        assert [len(everything(splits)) for splits in found] == [60 if name else 40 for name in data]
    saved = {str(path.parent.relative_to(tmp_path / "splits")).strip(".") for path in tmp_path.rglob("splits.json")}
    assert saved == folders


def test_rows_that_an_earlier_stage_learnt_are_not_held_out_later(tmp_path: Path) -> None:
    """A second stage that cuts its test rows from files the first was trained on is refused with both places."""
    later = {"train": {"files": write(tmp_path, balanced(60), "own.csv")}, "split": {"test": 0.3}}
    one = recipe({"train": {"files": write(tmp_path, balanced(40))}}, stages=[{}, {"data": later}])
    with pytest.raises(InputError, match=r"of stage 2 stand among the training rows of stage 1[\s\S]*own\.csv"):
        prepare_splits(one, tmp_path)


def test_splits_that_were_not_saved_to_the_end_are_made_again(tmp_path: Path) -> None:
    """Without its summary a folder counts as nothing, so a killed run starts over with the same rows."""
    data = {"train": {"files": write(tmp_path, balanced(40))}}
    first = made(tmp_path, data)
    (tmp_path / "splits" / "splits.json").unlink()
    (tmp_path / "splits" / "train.jsonl").write_text("half a li")
    assert made(tmp_path, data).train.ids.tolist() == first.train.ids.tolist()


def test_a_split_that_was_not_made_is_an_error(tmp_path: Path) -> None:
    """Opening test rows of a run that has none names those that it has."""
    splits = made(tmp_path, {"train": {"files": write(tmp_path, balanced(100))}})
    with pytest.raises(InputError, match=r"no rows of a split 'test'[\s\S]*validation"):
        open_split(tmp_path / "splits", "test", splits.space)


def test_validation_rows_equal_to_test_rows_are_refused(tmp_path: Path) -> None:
    """A text in both given files is an error with both places."""
    train = write(tmp_path, balanced(20))
    val = write(tmp_path, "text,label\nv1,ham\nboth,spam\n", "val.csv")
    test = write(tmp_path, "text,label\nboth,spam\nt1,ham\n", "test.csv")
    with pytest.raises(InputError, match=r"val\.csv:3 = .*test\.csv:2"):
        made(tmp_path, {"train": {"files": train}, "validation": {"files": val}, "test": {"files": test}})


def test_training_rows_in_given_evaluation_files_are_counted(tmp_path: Path) -> None:
    """A training row that stands in the validation file is counted in the summary, not refused."""
    train = write(tmp_path, balanced(20))
    val = write(tmp_path, "text,label\ntext 3,spam\nnew,ham\n", "val.csv")
    splits = made(tmp_path, {"train": {"files": train}, "validation": {"files": val}})
    assert splits.summary["train_rows_in"] == {"validation": 1}
    assert splits.summary["made"]["validation"] == "files"


def test_test_rows_cut_beside_a_given_validation_file_do_not_repeat_it(tmp_path: Path) -> None:
    """Rows that stand in the given validation file are never cut off as test rows."""
    train = write(tmp_path, balanced(20))
    val = write(tmp_path, balanced(10), "val.csv")
    splits = made(tmp_path, {"train": {"files": train}, "validation": {"files": val}, "split": {"test": 0.3}})
    assert splits.test is not None
    assert not set(splits.test.texts) & set(splits.validation.texts)
    assert splits.summary["train_rows_in"]["validation"] == 10


def test_a_share_that_leaves_a_split_empty_is_an_error(tmp_path: Path) -> None:
    """Three rows do not give three splits of these shares."""
    file = write(tmp_path, balanced(3))
    with pytest.raises(InputError, match="split has no rows"):
        made(tmp_path, {"train": {"files": file}, "split": {"validation": 0.05, "test": 0.05}})


def test_a_label_in_no_training_row_is_an_error(tmp_path: Path) -> None:
    """A group split that takes a whole class out of training is refused."""
    rows = "text,label,video\n" + "".join(f"t{n},{'ab'[n % 2]},{n % 2}\n" for n in range(20))
    with pytest.raises(InputError, match=r"no training row|no rows|one class"):
        made(tmp_path, {"train": {"files": write(tmp_path, rows)}, "split": {"validation": 0.4, "group": "video"}})


def test_a_class_of_one_row_goes_to_training(tmp_path: Path) -> None:
    """A class too small for every split is learnt first: the documented best effort."""
    text = balanced(60) + "lonely,eggs\n"
    splits = made(tmp_path, {"train": {"files": write(tmp_path, text)}, "split": {"validation": 0.3, "test": 0.3}})
    assert splits.summary["splits"]["train"]["labels"]["eggs"] == 1


def test_no_group_stands_in_two_splits(tmp_path: Path) -> None:
    """Groups stay whole, also where repeats tie two of them together, and the shares are near."""
    generator = np.random.default_rng(0)
    videos = generator.integers(0, 60, 600).tolist()
    rows = "".join(f"t{n},{'ab'[n % 3 == 0]},v{video}\n" for n, video in enumerate(videos))
    rows += "same,a,v1\nsame,a,v2\nfree,a,\n"
    data = {"train": {"files": write(tmp_path, "text,label,video\n" + rows)}}
    splits = made(tmp_path, {**data, "split": {"validation": 0.2, "test": 0.2, "group": "video"}})
    assert splits.test is not None
    lines = rows.splitlines()
    groups = [
        {lines[number].split(",")[2] for number in part.ids.tolist()} - {""}
        for part in (splits.train, splits.validation, splits.test)
    ]
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert any({"v1", "v2"} <= group for group in groups)
    assert abs(len(splits.test) / 603 - 0.2) < 0.03


def test_nearly_equal_texts_stay_together_on_request(tmp_path: Path) -> None:
    """With `similar: true` copies with a word changed are in one split; without it some are parted."""
    words = [f"w{n}" for n in range(400)]
    base = [" ".join(np.random.default_rng(n).choice(words, 12)) for n in range(100)]
    rows = "".join(f"{text},a\n{text.rpartition(' ')[0]} other,b\n" for text in base)
    data = {"train": {"files": write(tmp_path, "text,label\n" + rows)}}

    def parted(split: dict[str, Any], folder: str) -> int:
        splits = made(tmp_path / folder, {**data, "split": {"validation": 0.3, **split}})
        return len({number // 2 for number in splits.train.ids} & {number // 2 for number in splits.validation.ids})

    assert parted({"similar": True}, "1") == 0
    assert parted({}, "2") > 10


def test_a_missing_group_column_is_an_error(tmp_path: Path) -> None:
    """A group column that the file lacks names the key of the recipe."""
    with pytest.raises(InputError, match=r"data\.split\.group"):
        made(tmp_path, {"train": {"files": write(tmp_path, balanced(9))}, "split": {"group": "video"}})


def test_multi_label_shares_are_kept_in_every_split(tmp_path: Path) -> None:
    """Iterative stratification keeps each label's share, the rare one's too, within a row or two."""
    generator = np.random.default_rng(1)
    given = generator.random((1000, 4)) < [0.5, 0.3, 0.1, 0.02]
    rows = "".join(f"t{n},{'|'.join(np.array(list('abcd'))[row])}\n" for n, row in enumerate(given))
    splits = made(
        tmp_path,
        {"train": {"files": write(tmp_path, "text,label\n" + rows)}, "split": {"validation": 0.1, "test": 0.2}},
        {"column": "label", "kind": "multi", "separator": "|"},
    )
    assert splits.test is not None
    totals = given.sum(axis=0)
    for part, share in ((splits.train, 0.7), (splits.validation, 0.1), (splits.test, 0.2)):
        assert np.abs(part.labels.sum(axis=0) - totals * share).max() <= 3


def test_without_stratification_the_shares_are_exact(tmp_path: Path) -> None:
    """A random split has the asked number of rows."""
    data = {"train": {"files": write(tmp_path, balanced(100))}, "split": {"validation": 0.25, "stratify": False}}
    assert len(made(tmp_path, data).validation) == 25


def test_a_stage_must_fit_the_labels_of_the_one_before(tmp_path: Path) -> None:
    """With labels given from outside their order is kept, and an unknown one is an error."""
    one = recipe({"train": {"files": write(tmp_path, balanced(20))}})
    splits = prepare(one, one.data, tmp_path / "1", LabelSpace(names=("spam", "ham")))
    assert splits.space.names == ("spam", "ham")
    with pytest.raises(InputError, match="not a label"):
        prepare(one, one.data, tmp_path / "2", LabelSpace(names=("spam", "eggs")))


def test_a_positive_label_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """labels.positive must be a label; the nearest is named."""
    with pytest.raises(InputError, match="did you mean 'spam'"):
        made(tmp_path, {"train": {"files": write(tmp_path, balanced(9))}}, {"column": "label", "positive": "span"})


def test_a_limit_takes_some_rows_of_each_split(tmp_path: Path) -> None:
    """With a limit each split keeps that many of the rows it would have without one, the same ones every time."""
    data: dict[str, Any] = {"train": {"files": write(tmp_path, balanced(100))}, "split": {"validation": 0.3}}
    whole = made(tmp_path / "whole", data)
    some, again = (made(tmp_path / name, {**data, "limit": 20}) for name in ("some", "again"))
    assert _sizes(some) == (20, 20)
    for part in ("train", "validation"):
        ids = getattr(some, part).ids.tolist()
        assert set(ids) < set(getattr(whole, part).ids.tolist())
        assert ids == getattr(again, part).ids.tolist()
    assert some.summary["made"]["limit"] == 20


def _sizes(splits: Splits) -> tuple[int, int]:
    return len(splits.train), len(splits.validation)


def test_the_seed_decides_and_only_the_seed(tmp_path: Path) -> None:
    """The same seed cuts the same rows, another seed others of the same number."""
    data: dict[str, Any] = {"train": {"files": write(tmp_path, balanced(100))}}
    cuts = [made(tmp_path / str(n), {**data, "split": {"seed": seed}}) for n, seed in enumerate((1, 1, 2))]
    assert cuts[0].validation.ids.tolist() == cuts[1].validation.ids.tolist()
    assert cuts[0].validation.ids.tolist() != cuts[2].validation.ids.tolist()
    assert _sizes(cuts[0]) == _sizes(cuts[2])
    assert len(everything(cuts[0])) == 100


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=30))
@settings(max_examples=60, deadline=None)
def test_rows_that_share_a_key_share_a_unit(keys: list[tuple[int, int]]) -> None:
    """Rows with an equal key of either kind are one unit, and unlike rows are tied only by way of others."""
    unit = units(len(keys), [[a for a, _ in keys], [b for _, b in keys]])
    for one in range(len(keys)):
        for other in range(len(keys)):
            if keys[one][0] == keys[other][0] or keys[one][1] == keys[other][1]:
                assert unit[one] == unit[other]
    assert set(unit.tolist()) == set(range(len(set(unit.tolist()))))


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=60), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_every_unit_is_allocated_once(rows: list[list[bool]], seed: int) -> None:
    """Every unit, also one without labels, gets one of the splits."""
    counts = np.column_stack([np.array(rows, dtype=float), np.ones(len(rows))])
    chosen = allocate(counts, np.arange(len(rows)), np.array([0.7, 0.1, 0.2]), np.random.default_rng(seed))
    assert set(chosen.tolist()) <= {0, 1, 2}
