"""The cascade in scoring: who answers which row, the audit of a job's own rows, and the promises that stay."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from fsspec.implementations.memory import MemoryFileSystem

from export.bundle import Bundle
from serve.cli import main
from serve.job_cascade import CascadeOptions
from serve.journal.output import merge
from serve.scorer import Scorer
from serve.scoring.cascade import OpenCascade
from serve.scoring.session import Session
from serve.scoring.settings import ScorerOptions
from tests.serve import bundles
from tests.serve.helpers import read_csv, read_jsonl, score, write_csv
from tests.serve.journal.dying import KILLED, Dying
from tests.serve.test_drift import with_reference
from tests.words import CORPUS
from trainer.contract.encoding import Batch
from trainer.contract.errors import ArtifactError, GateError, InputError, UsageError
from trainer.contract.labels import Abstain


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 rows, some repeated, two without text."""
    texts = bundles.texts(600, seed=9)
    texts[100:140] = texts[:40]
    texts[7] = texts[300] = ""
    return write_csv(tmp_path_factory.mktemp("rows") / "in.csv", texts)


def digest(path: Path) -> str:
    """Of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def assert_alike(found: list[dict[str, str]], expected: list[dict[str, str]]) -> None:
    """The same rows and answers; confidences but for what other batch mates make of their last digits."""
    sure = [[float(row.pop("confidence")) for row in rows] for rows in (found, expected)]
    assert found == expected
    np.testing.assert_allclose(sure[0], sure[1], atol=1e-5)


@contextlib.contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The rows of each batch that reaches a session."""
    seen: list[int] = []
    run = Session.run

    def counting(session: Session, batch: Batch) -> np.ndarray:
        seen.append(len(batch.ids))
        return run(session, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "run", counting)
        yield seen


def test_the_student_answers_its_rows_and_the_session_never_sees_them(
    cascaded: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of the student have its scores, the others the encoder's as without it, and each text is scored once."""
    plain = score(cascaded, rows, out=tmp_path / "plain.csv")
    with counted(monkeypatch) as seen:
        report = score(cascaded, rows, out=tmp_path / "out.csv", agreement=0.9, canary=False)
    before, after = read_csv(tmp_path / "plain.csv"), read_csv(tmp_path / "out.csv")
    assert plain["cascade"] is None
    by = np.array([row.pop("scored_by") for row in after])
    assert set(by) == {"student", "encoder"}
    left = [row for row, tier in zip(after, by, strict=True) if tier == "encoder"]
    assert_alike(left, [row for row, tier in zip(before, by, strict=True) if tier == "encoder"])
    assert sum(seen) == len({row["text"] for row in left}) < 0.6 * len(after)
    found = report["cascade"]
    assert found["rows_by_student"] == (by == "student").sum()
    assert [row["id"] for row in after] == [row["id"] for row in before]
    assert report["rows_rejected"] == 2
    with Scorer.open(cascaded, device="cpu") as scorer:
        encoded = scorer.encoder.encode([row["text"] for row in after])
        student = Bundle.open(cascaded).manifest.cascade
        assert student is not None
        with Scorer.open(cascaded, device="cpu", agreement=0.9) as both:
            assert both.cascade is not None
            said = both.labels.decode(both.cascade.student.logits(encoded))
    names = [scorer.labels.names[number] for number in said.decisions.tolist()]
    assert all(row["prediction"] == name for row, name, tier in zip(after, names, by, strict=True) if tier == "student")


def test_several_labels_and_every_format(
    multi_cascaded: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Multi-label rows go the same way, and each format says by a column which tier answered; --probabilities says once
    whose they are.
    """
    for name in ("out.jsonl", "out.parquet", "out.csv.gz"):
        given = {"on_error": "null", "probabilities": True, "quiet": False}
        report = score(multi_cascaded, rows, out=tmp_path / name, agreement=0.9, **given)
        assert 0.2 < report["cascade"]["coverage"] < 0.97
        assert capsys.readouterr().err.count("probabilities of the student's rows are its own") == 1
    found = read_jsonl(tmp_path / "out.jsonl")
    assert {row["scored_by"] for row in found} == {"student", "encoder", None}
    assert [row["id"] for row in found if row["scored_by"] is None] == ["7", "300"]
    import pyarrow.parquet as pq  # noqa: PLC0415 -- only here

    assert pq.read_table(tmp_path / "out.parquet")["scored_by"].to_pylist() == [row["scored_by"] for row in found]


def test_the_column_can_be_left_out(cascaded: Path, rows: Path, tmp_path: Path) -> None:
    """With --no-scored-by the output has the columns of a job without the student."""
    score(cascaded, rows, out=tmp_path / "out.csv", agreement=0.9, cascade=CascadeOptions(scored_by=False))
    score(cascaded, rows, out=tmp_path / "plain.csv")
    assert (tmp_path / "out.csv").read_text().split("\n")[0] == (tmp_path / "plain.csv").read_text().split("\n")[0]


def test_workers_shards_and_kills_give_the_same_bytes(cascaded: Path, rows: Path, tmp_path: Path, dying: Dying) -> None:
    """One worker or three, three shares, and a job killed at many moments: one digest, one audit."""
    options = {"agreement": 0.9, "window": 64, "cascade": CascadeOptions(prove=True)}
    whole = score(cascaded, rows, out=tmp_path / "whole.csv", **options)
    score(cascaded, rows, out=tmp_path / "three.csv", workers=3, **options)
    for share in (1, 2, 3):
        score(cascaded, rows, out=tmp_path / "shared.csv", shard=(share, 3), **options)
    merged = merge(tmp_path / "shared.csv")
    command = ["score", str(cascaded), str(rows), "--out", str(tmp_path / "killed.csv"), "--window", "64"]
    command += ["--agreement", "0.9", "--prove", "--quiet", "--resume"]
    for moment in (12, 30):
        assert dying(command, moment=moment).code == KILLED
    done = dying(command)
    assert done.code in (0, 3), done.stderr
    expected = digest(tmp_path / "whole.csv")
    assert {digest(tmp_path / name) for name in ("three.csv", "shared.csv", "killed.csv")} == {expected}
    report = json.loads((tmp_path / "killed.csv.report.json").read_text())
    assert report["cascade"] == merged["cascade"] == whole["cascade"]
    assert whole["cascade"]["audit"]["rows"] > 100


def test_parts_in_a_store_are_those_of_a_local_job(cascaded: Path, rows: Path, tmp_path: Path) -> None:
    """At a URL the student answers the same rows, and each part has the bytes of the local one."""
    options = {"agreement": 0.9, "window": 64, "part_rows": 128, "cascade": CascadeOptions(prove=True)}
    local = score(cascaded, rows, out=tmp_path / "out.csv", **options)
    try:
        stored = score(cascaded, rows, out="memory://student/scores.csv", **options)  # type: ignore[arg-type]
        found = {Path(name).name: content.getvalue() for name, content in MemoryFileSystem.store.items()}
    finally:
        MemoryFileSystem.store.clear()
    parts = {path.name: path.read_bytes() for path in (tmp_path / "out.csv").iterdir()}
    assert len(parts) > 2
    assert {name: found[name] for name in parts} == parts
    assert stored["cascade"] == local["cascade"]


def test_audited_rows_take_the_encoders_answer(cascaded: Path, rows: Path, tmp_path: Path) -> None:
    """Where every row is audited the output is the encoder's alone, and the report counts where the student differs."""
    # So few rows that the target takes all of them, however the student came out.
    some = 250
    report = score(
        cascaded, rows, out=tmp_path / "out.csv", agreement=0.9, cascade=CascadeOptions(prove=True), limit=some
    )
    audit = report["cascade"]["audit"]
    assert audit["share"] == 1
    assert (report["cascade"]["rows_by_student"], audit["rows"]) == (0, report["rows_scored"])
    assert sum(each["rows"] for each in audit["classes"]) == report["rows_scored"]
    assert 0 < audit["differ"] == sum(each["differ"] for each in audit["classes"])
    score(cascaded, rows, out=tmp_path / "plain.csv", limit=some)
    found = read_csv(tmp_path / "out.csv")
    assert {row.pop("scored_by") for row in found} == {"encoder"}
    assert_alike(found, read_csv(tmp_path / "plain.csv"))


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,000 rows unlike those that the student was made and proven with: one word each, said again and again."""
    words, draw = " ".join(CORPUS).split(), np.random.default_rng(5)
    texts = [" ".join([str(draw.choice(words))] * int(draw.integers(1, 60))) for _ in range(1000)]
    return write_csv(tmp_path_factory.mktemp("drifted") / "in.csv", texts)


def test_the_audit_sees_a_file_that_has_drifted(
    multi_cascaded: Path, drifted: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same bundle keeps its proof on rows like those that set it (0), and is found to break it on others (3): there
    the command says what was seen of which rows, and the output lies in its place, marked in its report.
    """
    alike = write_csv(tmp_path_factory.mktemp("alike") / "in.csv", bundles.texts(1000, seed=11))
    found = {}
    for name, given in (("alike", alike), ("drifted", drifted)):
        out = tmp_path / f"{name}.csv"
        command = [
            "score",
            str(multi_cascaded),
            str(given),
            "--out",
            str(out),
            "--agreement",
            "0.9",
            "--prove",
            "--quiet",
        ]
        found[name] = CliRunner().invoke(main, [*command, "--quiet"])
        assert len(read_csv(out)) == 1000
    audits = {
        name: json.loads((tmp_path / f"{name}.csv.report.json").read_text())["cascade"]["audit"] for name in found
    }
    assert (found["alike"].exit_code, audits["alike"]["verdict"]) == (0, "within"), found["alike"].stderr
    assert (found["drifted"].exit_code, audits["drifted"]["verdict"]) == (3, "broken")
    assert "broken, more than 10.00% differ" in found["drifted"].stderr
    for audit in audits.values():
        assert audit["differ"] < audit["by_student"] < audit["rows"]


def test_audit_stop_ends_the_job_which_goes_on_without_the_student(
    multi_cascaded: Path, drifted: Path, tmp_path: Path
) -> None:
    """--audit-stop ends a job in its middle; --resume --agreement 1 ends it by the encoder alone, in the same file."""
    options = {"window": 64, "cascade": CascadeOptions(prove=True, audit_stop=True)}
    with pytest.raises(GateError, match="otherwise than was proven") as error:
        score(multi_cascaded, drifted, out=tmp_path / "out.csv", agreement=0.9, **options)
    assert "--resume --agreement 1" in str(error.value)
    with pytest.raises(InputError, match="unfinished job"):
        score(multi_cascaded, drifted, out=tmp_path / "out.csv", agreement=1, **options)
    report = score(multi_cascaded, drifted, out=tmp_path / "out.csv", agreement=1, resume=True, **options)
    assert (report["rows_scored"], report["cascade"]["audit"]["verdict"]) == (1000, "broken")
    assert 0 < report["cascade"]["audit"]["rows"] < 1000
    assert {row["scored_by"] for row in read_csv(tmp_path / "out.csv")[-100:]} == {"encoder"}
    with pytest.raises(UsageError, match="nothing would be audited"):
        score(multi_cascaded, drifted, out=tmp_path / "new.csv", agreement=1, resume=True, **options)


def test_drift_is_not_judged_by_a_students_confidence(single: Path, cascaded: Path, rows: Path, tmp_path: Path) -> None:
    """Where a student answers, confidences are not compared with those of the encoder; lengths and labels are."""
    from tests.serve import cascades  # noqa: PLC0415 -- brings torch

    bundle = tmp_path / "bundle"
    shutil.copytree(cascaded, bundle)
    shutil.copy(with_reference(single, tmp_path / "other") / "reference.json", bundle)
    cascade = Bundle.open(cascaded).manifest.cascade
    assert cascade is not None
    cascades.with_cascade(bundle, cascade)
    found = score(bundle, rows, out=tmp_path / "out.csv", agreement=0.9)["drift"]["figures"]
    plain = score(bundle, rows, out=tmp_path / "plain.csv")["drift"]["figures"]
    assert set(plain) - set(found) == {"confidences"}


def test_another_agreement_is_another_job(cascaded: Path, rows: Path, tmp_path: Path) -> None:
    """A job that one agreement began is not gone on with at another, and shares of two agreements are no job."""
    score(cascaded, rows, out=tmp_path / "out.csv", agreement=0.9)
    with pytest.raises(InputError, match="agreement differs"):
        score(cascaded, rows, out=tmp_path / "out.csv", agreement=0.8, resume=True)
    for share, agreement in ((1, 0.9), (2, 0.8)):
        score(cascaded, rows, out=tmp_path / "shared.csv", agreement=agreement, shard=(share, 2), window=64)
    with pytest.raises(InputError, match="agreement differs"):
        merge(tmp_path / "shared.csv")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"agreement": 0.95}, "agreement 0.95 is not proven"),
        ({"agreement": 0.9, "thresholds": {"spam": 0.7}}, "the bundle's own thresholds"),
        *(({"agreement": wrong}, "no share of rows") for wrong in (0, -1, 2, float("nan"), "0.9")),
    ],
)
def test_what_was_not_proven_is_refused(cascaded: Path, options: dict[str, object], said: str) -> None:
    """An agreement that no rows have shown or that is none, and thresholds other than the proof's, are errors."""
    with pytest.raises(InputError, match=said):
        Scorer.open(cascaded, device="cpu", **options)  # type: ignore[arg-type]  # Settings of a parameter.


def test_answering_what_the_bundle_leaves_unanswered_is_refused(cascaded: Path) -> None:
    """A student that was proven with rows left unanswered is not asked to answer all: the proof was of another rule."""
    bundle = Bundle.open(cascaded)
    labels = replace(bundle.contract.labels, abstain=Abstain(below=0.6))
    manifest = replace(bundle.manifest, contract=replace(bundle.contract, labels=labels))
    options = ScorerOptions(agreement=0.9, abstain=False)
    with pytest.raises(InputError, match="leaves unanswered"):
        OpenCascade.wanted(replace(bundle, manifest=manifest), options, bundle.encoder(), "fp32")


def test_bundles_without_a_fitting_student_are_refused(single: Path, cascaded: Path, tmp_path: Path) -> None:
    """No student, one of another precision, one of another version: named, with what to do."""
    from tests.serve import cascades  # noqa: PLC0415 -- brings torch

    with pytest.raises(InputError, match="has no student"):
        Scorer.open(single, device="cpu", agreement=0.9)
    cascade = Bundle.open(cascaded).manifest.cascade
    assert cascade is not None
    for change, kind, said in (
        ({"precision": "int8"}, InputError, "against the int8 file"),
        ({"version": cascade.version - 1}, ArtifactError, "another version"),
        ({"targets": (replace(cascade.targets[1], classes=cascade.targets[1].classes[1:]),)}, ArtifactError, "labels"),
    ):
        folder = tmp_path / said.replace(" ", "_")
        shutil.copytree(cascaded, folder)
        cascades.with_cascade(folder, replace(cascade, **change))
        with pytest.raises(kind, match=said):
            Scorer.open(folder, device="cpu", agreement=0.9)


def test_a_changed_student_is_refused_when_the_bundle_is_opened(cascaded: Path, tmp_path: Path) -> None:
    """The student's file is hashed in the manifest like any other."""
    folder = tmp_path / "changed"
    shutil.copytree(cascaded, folder)
    path = folder / "cascade" / "student.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactError, match="was changed"):
        Bundle.open(folder)


def test_in_python_the_less_careful_of_two_proofs_serves(cascaded: Path) -> None:
    """0.85 is served by what was proven for 0.9; rows say who answered; logits stay the encoder's."""
    texts = bundles.texts(300, seed=4)
    with Scorer.open(cascaded, device="cpu", agreement=0.85) as both, Scorer.open(cascaded, device="cpu") as plain:
        assert both.cascade is not None
        assert both.cascade.target.agreement == 0.9
        found = list(both.score_iter(texts))
        assert both.logits(texts).tobytes() == plain.logits(texts).tobytes()
        assert both.predict(texts) == [row.labels[0] for row in found]
        alone = [next(both.score_iter([text])) for text in texts[:20]]
    assert {row.scored_by for row in found} == {"student", "encoder"}
    assert [row.scored_by for row in alone] == [row.scored_by for row in found[:20]]
    assert all(
        row.probabilities is not None and row.probabilities.tobytes() == each.probabilities.tobytes()  # type: ignore[union-attr]
        for row, each in zip(alone, found[:20], strict=True)
        if row.scored_by == "student"
    )


def test_what_measures_knows_the_student(
    cascaded: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dry run, `bench` and `tune` tell which share of the rows the student answers, and rates with it."""
    monkeypatch.setattr("serve.operations.tune._SECONDS", 0.01)
    found = {}
    for command in ("score", "bench", "tune"):
        given = [command, str(cascaded), str(rows), "--agreement", "0.9"]
        given += ["--dry-run", "--out", str(tmp_path / "out.csv")] if command == "score" else []
        done = CliRunner(env={"XDG_CACHE_HOME": str(tmp_path)}).invoke(main, given, catch_exceptions=False)
        assert done.exit_code == 0, done.stderr
        found[command] = json.loads(done.stdout.splitlines()[-1])
        assert "by the student" in done.stdout + done.stderr
    assert found["score"]["coverage"] == found["tune"]["coverage"]
    assert 0.2 < found["bench"]["cascade"]["coverage"] < 0.97
    assert not (tmp_path / "out.csv").exists()
