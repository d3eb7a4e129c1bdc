"""`export --cascade`: which rows do what, and what the bundle then holds and says."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.bundle import Bundle
from export.cascade import build
from export.cascade.rows import FURTHER_SHARE, SMALL_STUDENT_SHARE, STUDENT_SHARE, CascadeRows, cascade_rows
from export.cascade.student import Student
from export.cascade.training import Taught
from export.inspect import describe
from export.pipeline import ExportJob, export
from tests.export.runs import contract, labelled, make_run, texts
from trainer.contract.encoding import Encoded
from trainer.contract.errors import GateError
from trainer.contract.inputs import row_key
from trainer.contract.train_rows import TRAIN_ROWS_FILE, save_train_rows


def keep_train_rows(run: Path, rows: list[str]) -> None:
    """As training leaves them."""
    keys = np.array([row_key(text, None) for text in rows], dtype=np.uint64)
    save_train_rows(run / "splits" / TRAIN_ROWS_FILE, enumerate(map(str, range(len(rows)))), keys, rows, ())


def unlabelled(path: Path, rows: list[str]) -> Path:
    """A file of texts."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
    return path


def divided(run: Path, *files: Path) -> CascadeRows:
    """The rows of a student, of a run whose validation rows are the first 50 of `texts(3000)`."""
    validation = labelled(50, contract().labels)
    validation = type(validation)(**{**vars(validation), "texts": texts(3000)[:50]})
    return cascade_rows(run, files, validation, contract().input)


def test_no_row_does_two_things(tmp_path: Path) -> None:
    """Teaching, guarding and measuring rows share no text; what was trained on teaches, and validation rows do not."""
    given = texts(3000)
    (tmp_path / "splits").mkdir()
    keep_train_rows(tmp_path, given[50:450])
    rows = divided(tmp_path, unlabelled(tmp_path / "rows.jsonl", [*given, *given[:500]]))
    sets = [set(part.texts) for part in (rows.train, rows.guards, rows.further)]
    assert sum(map(len, sets)) == len(set.union(*sets)) == len(set(given[50:]))
    assert set(given[50:450]) <= sets[0]
    assert {text for text, unseen in zip(rows.train.texts, rows.unseen, strict=True) if not unseen} == set(
        given[50:450]
    )
    fresh = len(set(given[450:]))
    assert abs(len(rows.further) / fresh - FURTHER_SHARE) < 0.03
    assert abs(rows.unseen.sum() / fresh - STUDENT_SHARE) < 0.03


def test_guards_get_most_where_training_rows_teach_enough(tmp_path: Path) -> None:
    """Where a run's training rows outnumber the unlabelled ones, a twentieth of those teaches, and most set guards;
    training rows that are given again count as what they are.
    """
    given = texts(3000)
    (tmp_path / "splits").mkdir()
    keep_train_rows(tmp_path, given[50:1800])
    rows = divided(tmp_path, unlabelled(tmp_path / "rows.jsonl", given))
    fresh = len(set(given[1800:]) - set(given[:1800]))
    assert abs(rows.unseen.sum() / fresh - SMALL_STUDENT_SHARE) < 0.03
    assert abs(len(rows.guards) / fresh - (1 - SMALL_STUDENT_SHARE - FURTHER_SHARE)) < 0.04


def test_a_student_takes_no_more_rows_than_minutes_allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most so many rows teach, and at most so many unlabelled ones are divided."""
    monkeypatch.setattr("export.cascade.rows.MOST_STUDENT_ROWS", 700)
    given = texts(3000)
    (tmp_path / "splits").mkdir()
    keep_train_rows(tmp_path, given[50:1000])
    rows = divided(tmp_path, unlabelled(tmp_path / "rows.jsonl", given[1000:]))
    assert len(rows.train) == 700
    assert len(rows.guards) + len(rows.further) + rows.unseen.sum() <= 700


def test_a_row_does_the_same_thing_whatever_else_is_given(tmp_path: Path) -> None:
    """Which part a row falls into is a hash of what it says: other files and another order move none."""
    (tmp_path / "splits").mkdir()
    given = texts(3000)
    one = divided(tmp_path, unlabelled(tmp_path / "one.jsonl", given[:2000]))
    two = divided(
        tmp_path,
        unlabelled(tmp_path / "two.jsonl", given[:1500:-1]),
        unlabelled(tmp_path / "three.jsonl", given[:1501]),
    )
    assert set(one.guards.texts) <= set(two.guards.texts)
    assert set(one.further.texts) <= set(two.further.texts)
    assert not set(one.guards.texts) & set(two.train.texts)


def test_training_rows_of_an_earlier_version_may_be_given_again(tmp_path: Path) -> None:
    """A run without texts of its training rows has too few to learn from, and says what to give."""
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / TRAIN_ROWS_FILE).write_text(json.dumps({"id": 0, "place": "rows.csv:2"}) + "\n")
    with pytest.raises(GateError, match="too few rows for a student") as error:
        divided(tmp_path)
    assert "--unlabelled" in str(error.value)


def test_what_no_student_can_be_made_of_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelt name under --unlabelled, and rows that are too few whatever the student learns, cost no minutes of
    export: no graph is written first.
    """
    run, said = make_run(tmp_path / "run", rows=64), list[str]()
    job = ExportJob(run=run, out=tmp_path / "b", cascade=True, unlabelled=(tmp_path / "no.csv",), timing=False)
    keep_train_rows(run, texts(300))
    monkeypatch.setattr("export.pipeline.write_graphs", lambda *_: said.append("graphs"))
    with pytest.raises(FileNotFoundError):
        export(job)
    with pytest.raises(GateError, match="too few rows to prove"):
        export(replace(job, unlabelled=()))
    assert not said


def test_the_bundle_holds_a_student_and_says_what_was_proven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Export writes the student, hashed, and tells coverage, bounds, further rows and the metric's difference; windows
    of the rows teach it too, but of none that its scale is fitted on; twice the same bytes.
    """
    taught, cut = set[int](), set[int]()
    train, windows = build.train_student, build.windows

    def watched(rows: Taught, held: Taught, *given: Any) -> Student:
        taught.add(len(rows.logits) + len(held.logits))
        assert cut == {len(rows.logits) - 2000}
        return train(rows, held, *given)

    def watched_windows(encoded: Encoded, *given: Any) -> Encoded:
        cut.add(len(encoded))
        return windows(encoded, *given)

    monkeypatch.setattr(build, "WINDOWS", 2000)
    monkeypatch.setattr(build, "windows", watched_windows)
    monkeypatch.setattr(build, "train_student", watched)
    run = make_run(tmp_path / "run", rows=200)
    # Words that the random classifier weighs most, alone: a student can learn that.
    given = [text[:40] for text in texts(4000, longest=6, seed=5)]
    keep_train_rows(run, given[:600])
    files = (unlabelled(tmp_path / "rows.jsonl", given[600:]),)
    digests = []
    for name in ("one", "two"):
        job = ExportJob(
            run=run,
            out=tmp_path / name,
            precisions=("fp32",),
            timing=False,
            quiet=True,
            cascade=True,
            unlabelled=files,
        )
        cascade = export(job).cascade
        bundle = Bundle.open(tmp_path / name)
        assert cascade is not None
        digests.append(bundle.manifest.files[cascade.file])
    assert digests[0] == digests[1]
    assert taught == {cascade.student_rows + 2000}
    assert bundle.manifest.cascade == cascade
    target = cascade.targets[0]
    assert cascade.precision == "fp32"
    assert 0 < target.coverage <= 1
    assert target.wrong <= (1 - target.agreement) * target.rows
    assert target.realised is not None
    assert target.realised.low <= target.realised.wrong / target.realised.rows <= target.realised.high
    assert target.effect is not None
    assert target.effect.low <= target.effect.difference <= target.effect.high
    told = describe(bundle.manifest)
    assert f"{target.coverage:.1%}" in told
    assert "A student for most rows" in (tmp_path / "one" / "README.md").read_text()
    assert all(f"{agreement}" in told for agreement in cascade.missing)
