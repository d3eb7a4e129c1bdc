"""What the Ray engine computes, without a cluster: `test_ray_cluster.py` has one."""

import gzip
import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from export.bundle import Bundle
from serve.job import prove
from serve.job_cascade import CascadeOptions
from serve.journal.state import JobState, ScoredWindow
from serve.reading.sources import Reading, find_sources
from serve.reading.windows import InputPosition, read_windows
from serve.scorer import Scorer
from serve.scoring.cascade import Auditing
from serve.scoring.identity import scorer_identity
from serve.scoring.session import SessionOptions
from serve.scoring.settings import ScorerOptions
from serve.writing.formats import make_format
from serve.writing.layout import AddedColumns, make_layout
from tests.serve.bundles import texts
from tests.serve.helpers import score, write_csv
from tests.serve.test_abstain import decided
from tests.serve.test_drift import with_reference
from trainer.contract.errors import InputError
from trainer.contract.system.files import sha256

pytest.importorskip("ray")
ray_engine = importlib.import_module("serve.scoring.ray_engine")
OPTIONS = ScorerOptions(session=SessionOptions(precision="int8", device="cpu"), workers=1)


def _answers(
    bundle: Path, rows: Path, identity: dict[str, str] | None = None, options: ScorerOptions = OPTIONS, **more: Any
) -> list[object]:
    """What a cluster computes, in this process: every reading task, then an actor."""
    sources = find_sources([str(rows)], Reading())
    with Scorer(Bundle.open(bundle), options) as scorer:
        columns = scorer.bundle.contract.input.columns
        first = next(read_windows(sources, columns, 64))
        names = AddedColumns.of(scorer.bundle.contract.labels, "", probabilities=False)
        layout = make_layout(sources, first, names, "csv")
        work = ray_engine.Work(
            bundle=bundle,
            options=options,
            layout=layout,
            kind="csv",
            max_chars=1000,
            nulls=False,
            prove=prove,
            identity={**scorer_identity(scorer), **(identity or {})},
            **more,
        )
        head = make_format("csv", layout, scorer.bundle.contract.labels).head()
    actor = ray_engine.ScoreActor(work)
    inputs = ray_engine.Inputs(sources=sources, columns=columns, size=64, start=InputPosition())
    blocks = [block for task in ray_engine._Windows(inputs).get_read_tasks(1) for block in task()]
    return [head, *(item for block in blocks for item in ray_engine._items(actor(block)))]


def test_windows_travel_and_come_back_scored(single: Path, three_files: Path, tmp_path: Path) -> None:
    """What reading tasks and an actor hand on, joined, are the bytes of a local job."""
    score(single, three_files, out=tmp_path / "out.csv", precision="int8", window=64)
    head, *answers = _answers(single, three_files)
    found: list[ScoredWindow] = [answer.scored for answer in answers]  # type: ignore[attr-defined]
    assert head + b"".join(scored.rows for scored in found) == (tmp_path / "out.csv").read_bytes()
    errors = (tmp_path / "out.csv.errors.jsonl").read_bytes()
    assert b"".join(scored.errors for scored in found) == errors
    assert len(found) == 15 + 1 + 18


def test_rows_that_are_not_answered_travel_too(single: Path, tmp_path: Path) -> None:
    """A bundle with a temperature, thresholds and a rule to abstain has the bytes and the count of a local job."""
    bundle, rows = decided(single, tmp_path / "bundle"), write_csv(tmp_path / "in.csv", texts(200))
    report = score(bundle, rows, out=tmp_path / "out.csv", window=64)
    options = replace(OPTIONS, session=SessionOptions(precision="fp32", device="cpu"))
    head, *answers = _answers(bundle, rows, options=options)
    found: list[ScoredWindow] = [answer.scored for answer in answers]  # type: ignore[attr-defined]
    assert head + b"".join(scored.rows for scored in found) == (tmp_path / "out.csv").read_bytes()
    assert sum(scored.abstained for scored in found) == report["rows_abstained"] > 0


def test_windows_bring_their_counts_for_drift(single: Path, tmp_path: Path) -> None:
    """Summed over an actor's windows, rows in bins are those of a local job; without a reference there are none."""
    bundle, rows = with_reference(single, tmp_path / "bundle"), write_csv(tmp_path / "in.csv", texts(200))
    local = score(bundle, rows, out=tmp_path / "out.csv", precision="int8", window=64)["drift"]
    state = JobState()
    for answer in _answers(bundle, rows)[1:]:
        state = state.after(answer.scored)  # type: ignore[attr-defined]
    assert {name: state.seen[name] for name in local["figures"]} == {
        name: figure["counts"] for name, figure in local["figures"].items()
    }
    assert _answers(single, rows)[1].scored.seen == {}  # type: ignore[attr-defined]


def test_a_student_answers_on_a_cluster_as_it_does_here(cascaded: Path, three_files: Path, tmp_path: Path) -> None:
    """With an agreement an actor's windows are the bytes of a local job, and bring the counts of its audit."""
    options = replace(OPTIONS, session=replace(OPTIONS.session, precision="fp32"), agreement=0.9)
    told = CascadeOptions(scored_by=False)
    local = score(cascaded, three_files, out=tmp_path / "out.csv", window=64, agreement=0.9, cascade=told)
    share, key = local["job"]["audited_share"], int(sha256(cascaded / "manifest.json")[:16], 16)
    head, *answers = _answers(cascaded, three_files, options=options, auditing=Auditing(share=share, key=key))
    state, found = JobState(), head
    for answer in answers:
        state, found = state.after(answer.scored), found + answer.scored.rows  # type: ignore[attr-defined, operator]
    assert found == (tmp_path / "out.csv").read_bytes()
    assert state.cascade["taken"] == [local["cascade"]["rows_by_student"]]
    assert state.cascade["all"][0] == local["cascade"]["audit"]["rows"] > 10


def test_halved_batches_are_counted(single: Path, tmp_path: Path, fails: list[Any]) -> None:
    """What an actor had to cut in two comes back with its windows, for the report."""
    rows = write_csv(tmp_path / "in.csv", [f"prize {row}" for row in range(20)])
    # Golden rows, which come first, begin differently.
    fails.append(lambda ids: MemoryError() if len(ids) > 3 and (ids[:, 1] == ids[0, 1]).all() else None)
    (answer,) = _answers(single, rows)[1:]
    assert answer.scored.batches_halved > 0  # type: ignore[attr-defined]


def test_a_machine_of_another_kind_is_refused(single: Path, three_files: Path) -> None:
    """An actor on a machine with other instructions, or with another bundle, scores nothing and says why."""
    for name in ("instruction_set", "bundle", "onnxruntime"):
        answers = _answers(single, three_files, {name: "another"})[1:]
        assert {type(answer) for answer in answers} == {InputError}
        assert f"differs in {name}" in str(answers[0])


def test_damage_comes_after_the_windows_before_it(single: Path, three_files: Path) -> None:
    """A file that is cut short gives its sound windows, then the error."""
    packed = gzip.compress((three_files / "0.csv").read_bytes())
    (three_files / "0.csv.gz").write_bytes(packed[: len(packed) * 3 // 4])
    *before, error = _answers(single, three_files / "0.csv.gz")
    assert isinstance(error, InputError)
    assert "cannot be read to its end" in str(error)
    assert len(before) > 3


def test_without_ray(single: Path, three_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Ray is not installed the error is one line to install it, and no work is begun."""
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "serve.scoring.ray_engine", raising=False)
    with pytest.raises(InputError) as error:
        score(single, three_files, out=tmp_path / "out.csv", engine="ray")
    assert "pip install 'classifact[ray]'" in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_shards_are_not_for_ray(single: Path, three_files: Path, tmp_path: Path) -> None:
    """A share of a job is refused: the cluster divides it."""
    with pytest.raises(InputError, match="neither pipes nor --shard"):
        score(single, three_files, out=tmp_path / "out.csv", engine="ray", shard=(1, 2))


def test_no_such_cluster(single: Path, three_files: Path, tmp_path: Path) -> None:
    """A cluster that does not answer is an error that names the address."""
    with pytest.raises(InputError, match="cannot be reached") as error:
        score(single, three_files, out=tmp_path / "out.csv", engine="ray", ray_address="127.0.0.1:1")
    assert "127.0.0.1:1" in str(error.value)
