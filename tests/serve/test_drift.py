"""What a job says of drift, on every road that a job takes."""

import json
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

from export.bundle import REFERENCE, Bundle
from serve.cli import main
from serve.journal.output import merge
from serve.journal.state import JobState
from serve.scorer import Scorer
from serve.scoring.window_scorer import WindowScorer
from tests.serve import bundles
from tests.serve.helpers import score, write_csv
from tests.serve.test_schemas import REPORT
from trainer.contract.errors import ArtifactError, ClassifactError
from trainer.contract.figures.reference import Histogram, Reference, unknown_tokens
from trainer.contract.labels import Abstain
from trainer.contract.system.files import write_json


def with_reference(made: Path, folder: Path, **changes: Any) -> Path:
    """A copy of a bundle with a reference of 400 rows that it scored itself; changes: of reference.json."""
    shutil.copytree(made, folder)
    given = Bundle.open(folder).contract
    texts = bundles.texts(400, seed=5)
    with Scorer.open(folder, precision="fp32") as scorer:
        scores, encoded = scorer.scores(texts), scorer.encoder.encode(texts)
        unknown = unknown_tokens(encoded, scorer.encoder.unknown_id)
    single = given.labels.kind == "single"
    decided = scores.decisions[:, None] == np.arange(3) if single else scores.decisions
    edges = np.unique(np.quantile(encoded.lengths, np.linspace(0, 1, 11), method="nearest")).tolist()
    reference = Reference(
        rows=400,
        labels=dict(zip(given.labels.names, np.asarray(decided).mean(axis=0).tolist(), strict=True)),
        tokens=Histogram.of(encoded.lengths, [*edges, edges[-1] + 1]),
        confidence=Histogram.of(scores.probabilities.max(axis=1), [step / 20 for step in range(21)]),
        unknown_tokens=float(unknown.sum() / encoded.lengths.sum()),
        rows_cut=float((encoded.cut > 0).mean()),
        unknown_rows=float((unknown > 0).mean()),
    )
    write_json(folder / REFERENCE, {**asdict(reference), **changes})
    bundles.reseal(folder, given)
    return folder


@pytest.fixture(scope="module")
def bundle(single: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single-label bundle that knows its validation rows."""
    return with_reference(single, tmp_path_factory.mktemp("drift") / "bundle")


@pytest.fixture
def alike(tmp_path: Path) -> Path:
    """300 rows like those of the reference, with repeats and a bad row."""
    texts = bundles.texts(280, seed=6)
    return write_csv(tmp_path / "alike.csv", [*texts[:100], "", *texts[100:], *texts[:19]])


def unlike(path: Path, rows: int = 300) -> Path:
    """Rows of few and unknown words."""
    return write_csv(path, [f"\u4f60\u597d {number % 7}" for number in range(rows)])


def test_rows_alike_are_no_drift_and_others_are(bundle: Path, alike: Path, tmp_path: Path) -> None:
    """The command says so in one sentence; the report's figures fit the schema and count every scored row once."""
    same = score(bundle, alike, out=tmp_path / "same.csv")
    assert same["drift"]["found"] == []
    assert same["drift"]["sentence"].startswith("no drift: the rows are like the 400 validation rows in labels")
    for name in ("labels", "lengths", "confidences"):
        assert sum(same["drift"]["figures"][name]["counts"]) == same["rows_scored"] == 299
    assert same["drift"]["figures"]["truncation"]["counts"] == [same["rows_cut"]]
    jsonschema.validate(json.loads((tmp_path / "same.csv.report.json").read_text()), REPORT)
    beside = tmp_path / "drift.json"
    command = ["score", str(bundle), str(unlike(tmp_path / "in.csv")), "--out", str(tmp_path / "out.csv")]
    result = CliRunner().invoke(main, [*command, "--drift-report", str(beside), "--quiet"])
    assert result.exit_code == 0, result.output
    found = json.loads(beside.read_text())["drift"]
    assert {"lengths", "unknown words"} <= set(found["found"])
    line = next(line for line in result.stdout.splitlines() if line.startswith("drift: "))
    assert "unknown words (rows with an unknown token" in line
    assert json.loads(result.stdout.splitlines()[-1])["drift"] == {"found": found["found"], "sentence": line}


@pytest.mark.parametrize("name", ["out.csv", "out.csv.report.json", "out.csv.errors.jsonl", "out.csv.shard-1-of-2"])
@pytest.mark.parametrize("command", ["score", "merge"])
def test_a_file_of_drift_takes_no_name_of_the_job(bundle: Path, tmp_path: Path, command: str, name: str) -> None:
    """The job's own output would be lost under it; refused before a row is scored."""
    given = [str(bundle), str(write_csv(tmp_path / "in.csv", ["a"])), "--out"] if command == "score" else []
    words = [command, *given, str(tmp_path / "out.csv"), "--drift-report", str(tmp_path / name)]
    result = CliRunner().invoke(main, words)
    assert (result.exit_code, "of the job's own" in result.stderr) == (1, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == (["in.csv"] if given else [])


def test_a_resumed_job_replaces_its_file_of_drift_and_no_other(bundle: Path, alike: Path, tmp_path: Path) -> None:
    """--resume writes drift.json again; whatever else has that name stays."""
    beside = tmp_path / "drift.json"
    words = ["score", str(bundle), str(alike), "--out", str(tmp_path / "out.csv"), "--resume", "--quiet"]
    first, again = (CliRunner().invoke(main, [*words, "--drift-report", str(beside)]) for _ in range(2))
    assert (first.exit_code, again.exit_code) == (0, 0), again.output
    for content in (b"[1]", b'{"mine": 1}', b"text"):
        beside.write_bytes(content)
        result = CliRunner().invoke(main, [*words, "--drift-report", str(beside)])
        assert (result.exit_code, beside.read_bytes()) == (1, content)


def test_few_rows_are_not_judged(bundle: Path, tmp_path: Path) -> None:
    """50 rows that are quite other are called nothing."""
    report = score(bundle, unlike(tmp_path / "in.csv", 50), out=tmp_path / "out.csv")
    assert report["drift"]["sentence"] == "drift is not judged: 50 rows are fewer than 100"
    assert report["drift"]["found"] == []


def test_every_road_says_the_same(bundle: Path, alike: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One job, one that ended half way and went on, merged shares with a share of no window, and a stream of the same
    rows say the very same of drift.
    """
    options: dict[str, Any] = {"window": 32, "precision": "int8"}
    whole = score(bundle, alike, out=tmp_path / "whole.csv", **options)["drift"]
    assert whole["rows"] == 299
    ended, windows = WindowScorer.end, iter(range(100))

    def failing(*arguments: Any) -> Any:
        if next(windows) == 4:
            raise ClassifactError("killed")
        return ended(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(WindowScorer, "end", failing)
        with pytest.raises(ClassifactError, match="killed"):
            score(bundle, alike, out=tmp_path / "resumed.csv", **options)
    resumed = score(bundle, alike, out=tmp_path / "resumed.csv", resume=True, **options)
    assert resumed["drift"] == whole
    for number in range(1, 13):
        part = score(bundle, alike, out=tmp_path / "merged.csv", shard=(number, 12), **options)
    assert part["drift"]["figures"] == {}
    assert merge(tmp_path / "merged.csv")["drift"] == whole
    command = ["score", str(bundle), str(alike), "--out", "-", "--window", "32", "--precision", "int8", "--quiet"]
    streamed = CliRunner().invoke(main, [*command, "--drift-report", str(tmp_path / "drift.json")])
    assert streamed.exit_code == 0, streamed.output
    assert json.loads((tmp_path / "drift.json").read_text())["drift"] == whole


def test_labels_under_other_thresholds_are_not_compared(multi: Path, alike: Path, tmp_path: Path) -> None:
    """With --threshold the figure of labels is left out, since the reference was decided otherwise."""
    bundle = with_reference(multi, tmp_path / "bundle")
    command = ["score", str(bundle), str(alike), "--out"]
    figures = []
    for name, more in (("a.csv", []), ("b.csv", ["--threshold", "spam=0.01"])):
        assert CliRunner().invoke(main, [*command, str(tmp_path / name), "--quiet", *more]).exit_code == 0
        figures.append(set(json.loads((tmp_path / f"{name}.report.json").read_text())["drift"]["figures"]))
    assert figures[0] - figures[1] == {"labels"}


def test_abstaining_is_compared_where_the_bundle_abstains(single: Path, alike: Path, tmp_path: Path) -> None:
    """Rows not answered are counted and compared; of a bundle that answers all rows nothing is said."""
    bundle = with_reference(single, tmp_path / "bundle", abstained=0.01)
    given = Bundle.open(bundle).contract
    bundles.reseal(bundle, replace(given, labels=replace(given.labels, abstain=Abstain(below=1.0))))
    found = score(bundle, alike, out=tmp_path / "out.csv")["drift"]
    assert found["figures"]["abstaining"]["counts"] == [found["rows"]]
    assert found["found"] == ["abstaining"]
    bundles.reseal(bundle, given)
    assert "abstaining" not in score(bundle, alike, out=tmp_path / "all.csv")["drift"]["figures"]


def test_confidences_of_a_student_are_not_compared(bundle: Path) -> None:
    """A cascade's student is not as sure as the encoder that the reference is of, which is no drift."""
    opened = Bundle.open(bundle)
    texts = bundles.texts(120, seed=7)
    with Scorer.open(bundle, precision="fp32") as scorer:
        encoded, scores = scorer.encoder.encode(texts), scorer.scores(texts)
    seen = Reference.open(bundle / REFERENCE, opened.contract.labels).count(encoded, np.arange(120), scores, None)
    names = []
    for cascade in (None, object()):
        stand_in: Any = SimpleNamespace(bundle=opened, labels=opened.contract.labels, thresholds={}, cascade=cascade)
        nothing: Any = None
        stage = WindowScorer(scorer=stand_in, layout=nothing, format=nothing, max_chars=1)
        found = stage.drift(JobState(seen=seen, scored=120))
        assert found is not None
        names.append(set(found["figures"]))
    assert names[0] - names[1] == {"confidences"}


def test_a_bundle_without_reference_says_so(single: Path, alike: Path, tmp_path: Path) -> None:
    """Scoring goes on, and says that drift is not judged; a wanted file of drift is refused before the job."""
    command = ["score", str(single), str(alike), "--out", str(tmp_path / "out.csv"), "--quiet"]
    refused = CliRunner().invoke(main, [*command, "--drift-report", str(tmp_path / "drift.json")])
    assert refused.exit_code == 1
    assert "nothing to compare with" in refused.output
    assert not (tmp_path / "out.csv").exists()
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0
    assert "drift is not judged: the bundle has no reference.json" in result.stdout
    assert json.loads((tmp_path / "out.csv.report.json").read_text())["drift"] is None


def test_a_file_of_the_users_is_not_overwritten(
    bundle: Path, alike: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--drift-report refuses a name that is taken, and a folder that may not be written, before the job."""
    (tmp_path / "mine.json").write_text("{}")
    command = ["score", str(bundle), str(alike), "--out", str(tmp_path / "out.csv")]
    result = CliRunner().invoke(main, [*command, "--drift-report", str(tmp_path / "mine.json")])
    assert result.exit_code == 1
    assert "exists already" in result.output
    assert (tmp_path / "mine.json").read_text() == "{}"
    # Root, who runs some of these suites, may write anywhere.
    monkeypatch.setattr("os.access", lambda path, mode: (Path(path), mode) != (tmp_path, os.W_OK))
    result = CliRunner().invoke(main, [*command, "--drift-report", str(tmp_path / "new.json")])
    assert (result.exit_code, "cannot be written" in result.output) == (1, True)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": {"edges": [3.0, 1.0], "shares": [1.0]}},
        {"tokens": {"edges": [1.0, 3.0], "shares": [0.4]}},
        {"labels": {"ham": 1.0, "spam": 0.0}},
        {"rows_cut": 2.0},
        {"rows": 0},
    ],
)
def test_a_damaged_reference_is_named(single: Path, alike: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    """Edges that fall, shares that are none and labels of another model are an error that names the file."""
    bundle = with_reference(single, tmp_path / "bundle", **change)
    with pytest.raises(ArtifactError) as error:
        score(bundle, alike, out=tmp_path / "out.csv")
    assert REFERENCE in str(error.value)
