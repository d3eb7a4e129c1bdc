"""Decisions travel with a bundle: temperature, thresholds and rows that are not answered, on every road."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from fsspec.implementations.memory import MemoryFileSystem

from export.bundle import Bundle
from serve.cli import main
from serve.journal.shards import merge_files
from serve.scorer import Scorer
from serve.writing.rejects import ErrorBound
from tests.serve import bundles
from tests.serve.helpers import read_csv, read_jsonl, score, write_csv
from tests.serve.journal.dying import KILLED, Dying
from tests.serve.test_schemas import REPORT
from trainer.contract.labels import Abstain, LabelSpace, Scores

TEXTS = list(dict.fromkeys(bundles.texts(200)))[:150]
Make = Callable[[str], Path]


@pytest.fixture(params=["single", "multi"])
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A bundle that decides by a temperature and thresholds, and answers about half of the rows."""
    return decided(request.getfixturevalue(request.param), tmp_path / "bundle")


def decided(made: Path, folder: Path) -> Path:
    """A copy of a bundle with decisions, as export would seal them."""
    shutil.copytree(made, folder)
    contract = Bundle.open(folder).contract
    labels = replace(contract.labels, temperature=1 / 0.3, thresholds=(0.31, 0.1 + 0.2, 0.45))
    with Scorer.open(folder, precision="fp32") as scorer:
        sure = labels.decode(scorer.logits(TEXTS)).confidence
    labels = replace(labels, abstain=Abstain(below=float(np.median(sure)), error=0.02, level=0.95))
    bundles.reseal(folder, replace(contract, labels=labels))
    return folder


def expected(bundle: Path) -> tuple[LabelSpace, Scores]:
    """The bundle's labels, and what they make of the texts' logits."""
    with Scorer.open(bundle, precision="fp32") as scorer:
        scores = scorer.labels.decode(scorer.logits(TEXTS))
    assert 0.3 < scores.answered.mean() < 0.7
    return scorer.labels, scores


def names(labels: LabelSpace, decision: Any) -> list[str]:
    """The labels of a decision."""
    return [labels.names[decision]] if labels.kind == "single" else np.array(labels.names)[decision].tolist()


def test_decisions_are_the_contracts_in_every_format(bundle: Path, tmp_path: Path) -> None:
    """CSV, JSON lines and Parquet say of each row what `LabelSpace.decode` says: its labels, or none and `abstained`;
    probabilities stay; a row that could not be scored says neither.
    """
    labels, scores = expected(bundle)
    rows = write_csv(tmp_path / "in.csv", [*TEXTS, ""])
    plural = "s" if labels.kind == "multi" else ""
    found = {}
    for suffix in ("csv", "jsonl", "parquet"):
        out = tmp_path / f"out.{suffix}"
        report = score(bundle, rows, out=out, probabilities=True, top_k=1, on_error="null", window=40)
        assert report["rows_abstained"] == (~scores.answered).sum()
        assert (report["rows_scored"], report["rows_rejected"]) == (150, 1)
        jsonschema.validate(report, REPORT)
        found[suffix] = {"csv": read_csv, "jsonl": read_jsonl, "parquet": lambda path: pq.read_table(path).to_pylist()}[
            suffix
        ](out)
    for row, answered in enumerate(scores.answered.tolist()):
        given = names(labels, scores.decisions[row]) if answered else []
        for suffix, lines in found.items():
            line = lines[row]
            decision = line[f"prediction{plural}"]
            if suffix == "csv":
                assert decision == "|".join(given)
                assert line["reason"] == ("" if answered else "abstained")
            else:
                assert decision == (None if not answered else given if plural else given[0])
                assert line["reason"] == (None if answered else "abstained")
            chances = [np.float32(line[f"p_{name}"]) for name in labels.names]
            np.testing.assert_array_equal(chances, scores.probabilities[row])
            if not plural:
                assert np.float32(line["confidence"]) == np.float32(scores.confidence[row])
    assert [(lines[150]["error"], lines[150]["reason"] or None) for lines in found.values()] == [
        ("null_text", None)
    ] * 3


def test_every_row_is_answered_where_that_is_asked_for(bundle: Path, tmp_path: Path) -> None:
    """--no-abstain answers all, writes no column for it, and stands in the report; --threshold keeps the rule without
    what was shown of it.
    """
    labels, scores = expected(bundle)
    rows = write_csv(tmp_path / "in.csv", TEXTS)

    def run(*options: str) -> dict[str, Any]:
        arguments = ["score", str(bundle), str(rows), "--precision", "fp32", "--quiet", *options]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        return dict(json.loads(result.stdout.splitlines()[-1]))

    report = run("--out", str(tmp_path / "all.csv"), "--no-abstain")
    assert (report["rows_abstained"], report["abstain"], report["no_abstain"]) == (0, None, True)
    lines = read_csv(tmp_path / "all.csv")
    assert "reason" not in lines[0]
    decision = "prediction" if labels.kind == "single" else "predictions"
    assert [line[decision] for line in lines] == ["|".join(names(labels, row)) for row in scores.decisions]
    report = run("--out", str(tmp_path / "moved.csv"), "--threshold", "spam=0.9")
    assert labels.abstain is not None
    assert report["abstain"] == {"below": labels.abstain.below, "error": None, "level": None}
    report = run("--out", str(tmp_path / "some.csv"))
    assert report["abstain"] == {"below": labels.abstain.below, "error": 0.02, "level": 0.95}
    assert report["no_abstain"] is False


def test_python_says_none_and_why(bundle: Path) -> None:
    """`predict` gives None, `score_iter` the reason with probabilities and confidence, `predict_table` nulls and a
    column; with abstain=False all have labels.
    """
    labels, scores = expected(bundle)
    given = [
        (names(labels, row) if labels.kind == "multi" else names(labels, row)[0]) if answered else None
        for row, answered in zip(scores.decisions, scores.answered.tolist(), strict=True)
    ]
    with Scorer.open(bundle, precision="fp32") as scorer:
        assert scorer.predict(TEXTS) == given
        found = list(scorer.score_iter([*TEXTS, None]))
        tables = [scorer.predict_table(table) for table in (pa.table({"text": TEXTS}), pd.DataFrame({"text": TEXTS}))]
    assert [row.reason for row in found] == [*(None if one else "abstained" for one in scores.answered), "null_text"]
    assert [row.confidence for row in found] == [*scores.confidence.tolist(), None]
    assert [len(row.labels) == 0 for row in found[:150] if row.reason] == [True] * int((~scores.answered).sum())
    np.testing.assert_array_equal([row.probabilities for row in found[:150]], scores.probabilities)
    decision = "prediction" if labels.kind == "single" else "predictions"
    for table in tables:
        columns = table.to_pydict() if isinstance(table, pa.Table) else table.to_dict("list")
        assert columns[decision] == given
        assert columns["reason"] == [None if one else "abstained" for one in scores.answered]
    with Scorer.open(bundle, precision="fp32", abstain=False) as scorer:
        assert None not in scorer.predict(TEXTS)
        assert "reason" not in scorer.predict_table(pa.table({"text": TEXTS})).column_names


def test_shards_and_resumes_count_the_same(bundle: Path, tmp_path: Path) -> None:
    """Merged shares have the bytes and the count of one job, and a resumed finished job tells the same; another
    --no-abstain is another job.
    """
    rows = write_csv(tmp_path / "in.csv", TEXTS)
    whole = score(bundle, rows, out=tmp_path / "whole.csv", window=32)
    assert score(bundle, rows, out=tmp_path / "whole.csv", window=32, resume=True) == whole
    for number in (1, 2):
        score(bundle, rows, out=tmp_path / "parts.csv", window=32, shard=(number, 2))
    merged = merge_files(tmp_path / "parts.csv", ErrorBound())
    assert merged["rows_abstained"] == whole["rows_abstained"] > 0
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    arguments = ["score", str(bundle), str(rows), "--out", str(tmp_path / "whole.csv"), "--precision", "fp32"]
    result = CliRunner().invoke(main, [*arguments, "--window", "32", "--resume", "--quiet", "--no-abstain"])
    assert result.exit_code == 1
    assert "abstain" in result.stderr


def test_kills_and_stores_give_the_same_bytes(bundle: Path, tmp_path: Path, dying: Dying) -> None:
    """A job that dies twice and goes on, and one whose parts lie in a store, have the rows of an undisturbed one, those
    that are not answered among them, and count as many.
    """
    rows = write_csv(tmp_path / "in.csv", TEXTS)
    whole = score(bundle, rows, out=tmp_path / "whole.csv", window=32, part_rows=64)
    parts = {path.name: path.read_bytes() for path in (tmp_path / "whole.csv").iterdir()}
    assert b"abstained" in b"".join(parts.values())
    command = ["score", str(bundle), str(rows), "--out", str(tmp_path / "killed.csv"), "--precision", "fp32"]
    command += ["--window", "32", "--part-rows", "64", "--device", "cpu", "--quiet", "--resume"]
    for moment in (9, 21):
        assert dying(command, moment=moment).code == KILLED
    assert dying(command).code == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "killed.csv").iterdir()} == parts
    killed = json.loads((tmp_path / "killed.csv.report.json").read_text())
    try:
        url = "memory://abstaining/scores.csv"
        stored = score(bundle, rows, out=url, window=32, part_rows=64)  # type: ignore[arg-type]
        found = {Path(name).name: content.getvalue() for name, content in MemoryFileSystem.store.items()}
        assert {name: found[name] for name in parts} == parts
    finally:
        MemoryFileSystem.store.clear()
    assert killed["rows_abstained"] == stored["rows_abstained"] == whole["rows_abstained"] > 0


def test_predict_says_that_a_text_is_not_answered(bundle: Path) -> None:
    """For a person: no star, and how sure it is and would have to be; for programs a reason."""
    _, scores = expected(bundle)
    text = TEXTS[int(np.flatnonzero(~scores.answered)[0])]
    result = CliRunner().invoke(main, ["predict", str(bundle), "--precision", "fp32", "--text", text])
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout.splitlines()[-1])["predictions"]
    assert (found["labels"], found["reason"]) == ([], "abstained")
    assert "not answered:" in result.stdout
    assert "* " not in result.stdout


def test_a_text_that_is_not_answered_is_explained_without_a_given_label(bundle: Path) -> None:
    """The labels it would have are explained, and none is called given, unless all rows are to be answered."""
    labels, scores = expected(bundle)
    row = int(np.flatnonzero(~scores.answered)[0])

    def explained(*options: str) -> list[tuple[str, bool]]:
        arguments = ["explain", str(bundle), "--text", TEXTS[row], "--samples", "50", *options]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        assert ("* " in result.stdout) == ("--no-abstain" in options)
        (found,) = json.loads(result.stdout.splitlines()[-1])["explanations"]
        return [(each["label"], each["given"]) for each in found["labels"]]

    would = names(labels, scores.decisions[row])
    assert explained() == [(name, False) for name in would]
    assert explained("--no-abstain") == [(name, True) for name in would]


def test_the_canary_notices_other_decisions(bundle: Path, tmp_path: Path) -> None:
    """Golden rows that another machine leaves unanswered count as decided otherwise, and the canary passes here."""
    with Scorer.open(bundle, precision="fp32", canary=True) as scorer:
        rows = scorer.bundle.golden()
        logits = np.array([row.logits for row in rows], dtype=np.float32)
        every = replace(scorer.labels, abstain=None)
        agreed = [
            space.decode(logits).agreement(space.decode(logits * np.float32(0.95))) for space in (scorer.labels, every)
        ]
    assert agreed[0] < agreed[1]
    rows_in = write_csv(tmp_path / "in.csv", TEXTS)
    assert score(bundle, rows_in, out=tmp_path / "out.csv")["rows_scored"] == 150
