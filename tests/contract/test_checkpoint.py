"""Checkpoints and the rows of a split: what is written is what is read, and damage is named."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.contract.checkpoint import CHECKPOINT_FILES, Checkpoint, Contract
from trainer.contract.encoding import EncodingPolicy
from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.inputs import InputSpec
from trainer.contract.labelled import LabelledRows
from trainer.contract.labels import Abstain, LabelSpace
from trainer.contract.system.files import write_json

SINGLE = LabelSpace(names=("ham", "spam"))
MULTI = LabelSpace(names=("ham", "spam", "other"), kind="multi")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    """A saved checkpoint with placeholder files."""
    path = tmp_path / "checkpoints" / "step_10"
    path.mkdir(parents=True)
    for name in CHECKPOINT_FILES:
        (path / name).write_text(name)
    contract = Contract(
        labels=MULTI,
        input=InputSpec(text=("a", "b"), pair="c", unicode="NFC"),
        encoding=EncodingPolicy(max_tokens=64, truncation="tail", pad_id=1),
    )
    made = Checkpoint(path=path, contract=contract, stage=1, epoch=0.5, step=10, metric="f1_micro", value=0.25)
    made.save()
    return made


def rows(space: LabelSpace, pairs: list[str] | None = None) -> LabelledRows:
    """Three rows with line ends, quotes and a place whose file name is no Unicode."""
    labels = space.ids([["spam"], ["ham"], ["spam"]])
    return LabelledRows(
        ids=np.array([7, 0, 3]),
        texts=['a\n"b"\u2028\x85', "", "é😀 \r\n"],
        pairs=pairs,
        labels=labels,
        places=["a.csv:1", "caf\udce9.csv:2", "c.csv:30"],
    )


def test_a_flipped_byte_is_found_by_verify(checkpoint: Checkpoint) -> None:
    """Before weights are used, each file is held against the hash it was saved with."""
    checkpoint.verify()
    for name in CHECKPOINT_FILES:
        file = checkpoint.path / name
        sound = file.read_bytes()
        file.write_bytes(sound[:-1] + b"!")
        with pytest.raises(ArtifactError, match="was changed"):
            checkpoint.verify()
        file.unlink()
        with pytest.raises(ArtifactError, match="missing"):
            checkpoint.verify()
        file.write_bytes(sound)


@pytest.mark.parametrize("content", [[], {}, {"schema": 99}, {"schema": 1}, {"schema": 1, "step": "ten"}, None])
def test_a_contract_of_another_shape_is_refused(checkpoint: Checkpoint, content: Any) -> None:
    """A contract.json that this version did not write is an error of ours."""
    write_json(checkpoint.path / "contract.json", content)
    with pytest.raises(ArtifactError):
        Checkpoint.open(checkpoint.path)


@pytest.mark.parametrize(
    "best", [[], {}, {"checkpoint": 3}, {"checkpoint": "../.."}, {"checkpoint": "gone"}, {"checkpoint": ""}]
)
def test_a_best_that_names_no_checkpoint_is_refused(tmp_path: Path, checkpoint: Checkpoint, best: Any) -> None:
    """best.json is read with suspicion: no other type, no path that leads out, no missing folder."""
    assert checkpoint.path.is_dir()
    write_json(tmp_path / "best.json", best)
    with pytest.raises(ArtifactError):
        Checkpoint.best(tmp_path)


def test_a_checkpoint_is_what_was_saved(tmp_path: Path, checkpoint: Checkpoint) -> None:
    """Every field survives, and best.json leads to it."""
    write_json(tmp_path / "best.json", {"checkpoint": "step_10", "metric": "f1_micro", "value": 0.25})
    assert Checkpoint.open(checkpoint.path) == checkpoint
    assert Checkpoint.best(tmp_path) == checkpoint


def test_a_checkpoint_with_an_undefined_metric_opens(checkpoint: Checkpoint) -> None:
    """A rank metric may be undefined on a small validation split; the checkpoint is usable all the same."""
    replace(checkpoint, value=None).save()
    assert Checkpoint.open(checkpoint.path).value is None


@pytest.mark.parametrize(
    "lines",
    [
        "{",
        "[]",
        '{"id": 1}',
        '{"id": "x", "place": "a", "text": "t", "labels": ["ham"]}',
        '{"id": 1, "place": "a", "text": 3, "labels": ["ham"]}',
        '{"id": 1, "place": "a", "text": "t", "labels": 3}',
        '{"id": 1, "place": "a", "text": "t", "labels": ["ham"]}\n'
        '{"id": 2, "place": "a", "text": "t", "pair": "p", "labels": ["ham"]}',
        "[" * 100_000,
    ],
)
def test_damaged_rows_are_refused(tmp_path: Path, lines: str) -> None:
    """A split file that was cut or edited is an ArtifactError with its name."""
    path = tmp_path / "test.jsonl"
    path.write_text(lines)
    with pytest.raises(ArtifactError) as caught:
        LabelledRows.open(path, SINGLE)
    assert "test.jsonl" in str(caught.value)


def test_missing_rows_are_refused(tmp_path: Path) -> None:
    """A run without its splits says so."""
    with pytest.raises(ArtifactError, match="missing"):
        LabelledRows.open(tmp_path / "test.jsonl", SINGLE)


def test_rows_of_other_labels_are_refused(tmp_path: Path) -> None:
    """A label that the space does not have is named."""
    rows(SINGLE).save(tmp_path / "rows.jsonl", SINGLE)
    with pytest.raises(InputError, match="not one of the labels"):
        LabelledRows.open(tmp_path / "rows.jsonl", LabelSpace(names=("good", "bad")))


@pytest.mark.parametrize("space", [SINGLE, MULTI], ids=lambda space: space.kind)
@pytest.mark.parametrize("pairs", [None, ["p", "", "q\n"]])
def test_rows_are_what_was_saved(tmp_path: Path, space: LabelSpace, pairs: list[str] | None) -> None:
    """Texts with any line end, labels, pairs and places survive, in order, one JSON object a line of valid UTF-8."""
    path, saved = tmp_path / "rows.jsonl", rows(space, pairs)
    saved.save(path, space)
    again = LabelledRows.open(path, space)
    assert (again.texts, again.pairs, again.places) == (saved.texts, pairs, saved.places)
    assert np.array_equal(again.ids, saved.ids)
    assert np.array_equal(again.labels, saved.labels)
    assert len([json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]]) == 3


def test_take_keeps_rows_together() -> None:
    """Chosen rows keep their own id, text, pair, label and place."""
    taken = rows(SINGLE, ["p", "q", "r"]).take(np.array([2, 0]))
    assert (taken.ids.tolist(), taken.pairs, taken.labels.tolist()) == ([3, 7], ["r", "p"], [1, 1])
    assert (taken.places, len(taken)) == (["c.csv:30", "a.csv:1"], 2)
    assert list(taken.label_names(SINGLE)) == [["spam"], ["spam"]]


def test_decisions_are_replaced_and_nothing_else(checkpoint: Checkpoint) -> None:
    """Other decisions are what opens next; the hashes of the files stay, so one that was changed is still found."""
    before = json.loads((checkpoint.path / "contract.json").read_text())
    assert not {"costs", "abstain"} & set(before["contract"]["labels"])
    (checkpoint.path / "config.json").write_text("changed")
    labels = replace(MULTI, temperature=1.5, thresholds=(0.1, 0.2, 0.3), abstain=Abstain(below=0.1 + 0.2))
    decided = checkpoint.decide(labels)
    assert Checkpoint.open(checkpoint.path) == decided
    assert decided.contract.labels == labels
    after = json.loads((checkpoint.path / "contract.json").read_text())
    assert {**after, "contract": None} == {**before, "contract": None}
    with pytest.raises(ArtifactError, match="was changed"):
        decided.verify()
    assert decided.decide(labels.undecided()).contract == checkpoint.contract
