"""Rows on disk: read and tokenized once, mapped by every process, and the same as what was read."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import tiny
from tests.trainer.sources import balanced, everything, made, recipe, write
from trainer.contract.encoding import EncodingPolicy, TextEncoder
from trainer.contract.errors import InputError
from trainer.contract.inputs import row_key
from trainer.contract.system.progress import QUIET
from trainer.contract.text_files.records import Record
from trainer.data.files import readers
from trainer.data.joined import hold_back, join_validation
from trainer.data.splits import drop_stored, prepare
from trainer.data.splitting.similar import clusters
from trainer.data.tokens import tokenized
from trainer.search.trial_runs import link_tree


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every file that is read, in order."""
    found: list[str] = []
    plain = readers.read_file

    def counted(path: Path, source: Any) -> Iterator[Record]:
        found.append(path.name)
        return plain(path, source)

    monkeypatch.setattr(readers, "read_file", counted)
    return found


def encoder(limit: int = 32) -> TextEncoder:
    """The tiny tokenizer with a limit."""
    return TextEncoder(tiny.tokenizer().backend_tokenizer, EncodingPolicy(max_tokens=limit))


def test_files_that_have_not_changed_are_read_once(tmp_path: Path, reads: list[str]) -> None:
    """A second process, and a resume, take the stored rows; a file that was written anew, and another way of reading
    it, are read.
    """
    file = write(tmp_path, balanced(60))
    first = made(tmp_path, {"train": {"files": file}})
    again = made(tmp_path, {"train": {"files": file}})
    assert reads == ["rows.csv"]
    assert everything(again) == everything(first)
    assert again.train.places == list(first.train.places)
    write(tmp_path, balanced(60))
    assert everything(made(tmp_path, {"train": {"files": file}})) == everything(first)
    made(tmp_path, {"train": {"files": file, "encoding": "cp1252"}})
    assert reads == ["rows.csv"] * 3


def test_a_file_more_in_a_pattern_is_noticed(tmp_path: Path) -> None:
    """Stored rows are of the files that a pattern named then: one before them makes other rows, which are refused."""
    write(tmp_path, balanced(40), "a.csv")
    data = {"train": {"files": str(tmp_path / "*.csv")}}
    made(tmp_path, data)
    write(tmp_path, balanced(80).replace("\ntext ", "\nother "), "0.csv")
    with pytest.raises(InputError, match="not those that the saved splits were made of"):
        made(tmp_path, data)


def test_a_finished_run_keeps_no_stored_rows(tmp_path: Path, reads: list[str]) -> None:
    """Dropped rows are read again where somebody asks for them, and the splits are the same."""
    data = {"train": {"files": write(tmp_path, balanced(60))}}
    first = made(tmp_path, data).train.ids.tolist()
    drop_stored(tmp_path / "splits")
    assert not (tmp_path / "splits" / "rows").exists()
    assert made(tmp_path, data).train.ids.tolist() == first
    assert reads == ["rows.csv"] * 2


def test_stored_arrays_are_maps_of_files(tmp_path: Path) -> None:
    """Labels, numbers and token ids are read-only views of files, which processes share."""
    splits = made(tmp_path, {"train": {"files": write(tmp_path, balanced(60))}})
    encoded = tokenized(splits.train, encoder(), tmp_path / "cache", QUIET)
    for array in (splits.train.ids, splits.train.labels, splits.train.keys, encoded.ids, encoded.types):
        base: Any = array
        while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
            base = base.base
        assert isinstance(base, np.memmap)
        assert not array.flags.writeable


@given(
    texts=st.lists(st.text(alphabet="ab é\n\U0001f600", min_size=1), min_size=1, max_size=30), limit=st.integers(3, 9)
)
@settings(max_examples=30, deadline=None)
def test_token_files_hold_what_the_encoder_gives(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], limit: int
) -> None:
    """Ids, types, lengths and cuts of the files are those of one call on all texts, pairs too."""
    folder = tmp_path_factory.mktemp("tokens")
    rows = [{"text": f"x{text}", "pair": f"y {n}", "label": str(n % 2)} for n, text in enumerate([*texts, *"abcdefgh"])]
    file = write(folder, "".join(json.dumps(row) + "\n" for row in rows), "rows.jsonl")
    splits = made(folder, {"train": {"files": file}}, input={"text": "text", "pair": "pair"})
    assert splits.train.pairs is not None
    one = encoder(limit + 2)
    found = tokenized(splits.train, one, folder / "cache", QUIET)
    expected = one.encode(list(splits.train.texts), list(splits.train.pairs))
    for name in ("ids", "types", "offsets", "cut"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist()


def test_tokens_are_made_once_for_each_tokenizer_limit_and_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second call finds the files; another limit, another tokenizer and other rows make their own."""
    splits = made(tmp_path, {"train": {"files": write(tmp_path, balanced(60))}})
    calls: list[int] = []
    plain = TextEncoder.encode
    monkeypatch.setattr(TextEncoder, "encode", lambda *given: calls.append(1) or plain(*given))
    for _ in range(2):
        tokenized(splits.train, encoder(), tmp_path / "cache", QUIET)
    assert len(calls) == 1
    tokenized(splits.train, encoder(9), tmp_path / "cache", QUIET)
    tokenized(splits.validation, encoder(), tmp_path / "cache", QUIET)
    other = tiny.tokenizer().backend_tokenizer
    other.add_tokens(["text"])
    tokenized(splits.train, TextEncoder(other, encoder().policy), tmp_path / "cache", QUIET)
    assert len(calls) == 4


def test_two_that_write_the_same_tokens_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials on several processes share the folder: who is second to end takes the tokens that are there by then."""
    splits = made(tmp_path, {"train": {"files": write(tmp_path, balanced(60))}})
    plain, others = TextEncoder.encode, [splits.train]

    def slower(*given: Any) -> Any:
        # Another process writes them all while this one reads its first texts.
        if others:
            tokenized(others.pop(), encoder(), tmp_path / "cache", QUIET)
        return plain(*given)

    monkeypatch.setattr(TextEncoder, "encode", slower)
    found = tokenized(splits.train, encoder(), tmp_path / "cache", QUIET)
    assert found.ids.tolist() == plain(encoder(), list(splits.train.texts), None).ids.tolist()
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".tokens"]


def test_tokens_that_were_not_written_whole_are_no_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where writing stops half way, no file is left under the name that others look for."""
    splits = made(tmp_path, {"train": {"files": write(tmp_path, balanced(60))}})
    with monkeypatch.context() as patch:
        patch.setattr(np, "save", lambda *_: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(OSError, match="full"):
            tokenized(splits.train, encoder(), tmp_path / "cache", QUIET)
    assert list((tmp_path / "cache").iterdir()) == []


def test_train_and_validation_rows_join_in_the_order_of_the_files(tmp_path: Path) -> None:
    """A refit's rows are those of train and most of validation, each with its own text, label, place and tokens, and
    what is stored for another run stays as it is.
    """
    splits = made(tmp_path, {"train": {"files": write(tmp_path, balanced(60))}, "split": {"validation": 0.5}})
    link_tree(tmp_path / "splits", tmp_path / "refit")
    before = splits.train.ids.tolist()
    join_validation(splits, tmp_path / "refit")
    one = recipe({"train": {"files": str(tmp_path / "rows.csv")}, "split": {"validation": 0.5}})
    both = prepare(one, one.data, tmp_path / "refit")
    assert everything(both) == everything(splits)
    assert len(both.train) == 45
    assert both.train.ids.tolist() == sorted(both.train.ids.tolist())
    assert [place.rpartition(":")[2] for place in both.train.places] == [str(n + 2) for n in both.train.ids.tolist()]
    assert both.train.keys.tolist() == [row_key(text, None) for text in both.train.texts]
    assert prepare(one, one.data, tmp_path / "splits").train.ids.tolist() == before


@pytest.mark.parametrize("split", [{"group": "video"}, {"similar": True}])
def test_what_stays_together_in_splits_stays_together_in_a_refit(split: dict[str, Any], tmp_path: Path) -> None:
    """Rows of one group, and nearly equal ones, are all learnt or all held back: else the refit's figures would be of
    what it knows.
    """
    long = "the same long message of many words that is sent again and again to everybody in town with number"
    rows = "video,text,label\n" + "".join(
        f"v{n // 8},{long if n // 8 % 2 else long[::-1]} {n // 8 * 'z '}{n},{'spam' if n % 2 else 'ham'}\n"
        for n in range(320)
    )
    splits = made(tmp_path, {"train": {"files": write(tmp_path, rows)}, "split": {"validation": 0.5, **split}})
    ids = splits.validation.ids
    link_tree(tmp_path / "splits", tmp_path / "refit")
    join_validation(splits, tmp_path / "refit")
    held = {int(json.loads(line)["id"]) for line in (tmp_path / "refit" / "validation.jsonl").read_text().splitlines()}
    if "group" in split:
        groups = {number // 8 for number in ids.tolist()}
        assert {number // 8 for number in held} < groups
        assert {number // 8 for number in held}.isdisjoint({n // 8 for n in ids.tolist() if n not in held})
    else:
        near = np.array(clusters([*splits.validation.texts]))
        kept = np.isin(ids, sorted(held))
        assert set(near[kept].tolist()).isdisjoint(near[~kept].tolist())


@pytest.mark.parametrize("seed", range(5))
def test_a_refit_holds_back_and_learns_rows_of_a_rare_label(tmp_path: Path, seed: int) -> None:
    """Of 5 rare rows among 60 that validate, some are learnt and some are held back, whatever the seed: without one the
    refit's figures of that label would be undefined.
    """
    train = write(tmp_path, balanced(60))
    held = "text,label\n" + "".join(f"held {n},{'spam' if n % 12 == 0 else 'ham'}\n" for n in range(60))
    data = {"train": {"files": train}, "validation": {"files": write(tmp_path, held, "held.csv")}}
    kept, moved = hold_back(made(tmp_path, {**data, "split": {"seed": seed}}))
    spam = [int((part.labels == 1).sum()) for part in (kept, moved)]
    assert (len(kept), len(moved), sum(spam)) == (30, 30, 5)
    assert min(spam) == 2


def test_texts_are_read_by_place_and_in_turn(tmp_path: Path) -> None:
    """More rows than one batch: single texts, slices and the whole agree with the file."""
    splits = made(tmp_path, {"train": {"files": write(tmp_path, balanced(20_000))}, "split": {"validation": 0.5}})
    texts = splits.train.texts
    whole = list(texts)
    assert whole == [f"text {number}" for number in splits.train.ids.tolist()]
    assert [texts[place] for place in (0, 7000, -1)] == [whole[0], whole[7000], whole[-1]]
    assert list(texts[5:9]) == whole[5:9]


def test_an_equal_pair_of_other_parts_is_no_repeat() -> None:
    """A key tells where the first text ends: "a" with "b" and "ab" with nothing are two rows."""
    assert len({row_key("a", "b"), row_key("ab", ""), row_key("", "ab"), row_key("ab", None)}) == 4
    assert row_key("a", "b") == row_key("a", "b")


def test_a_stage_s_recipe_says_which_rows_are_stored(tmp_path: Path, reads: list[str]) -> None:
    """Other text columns make other rows, also from a file that has not changed."""
    text = "text,body,label\n" + "".join(f"t{n},b{n},{n % 2}\n" for n in range(40))
    file = write(tmp_path, text)
    one = recipe({"train": {"files": file}})
    prepare(one, one.data, tmp_path / "splits")
    other = recipe({"train": {"files": file}}, input={"text": "body"})
    with pytest.raises(InputError, match="not those that the saved splits were made of"):
        prepare(other, other.data, tmp_path / "splits")
    assert reads == ["rows.csv"] * 2
