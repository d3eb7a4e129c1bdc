"""The whole road: train, export and score a tiny model, and find in the scored file what training found."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.pipeline import ExportJob, export
from serve import Scorer
from serve.job import ScoreJob
from serve.job import run as score
from serve.scoring.settings import ScorerOptions
from tests.trainer import runs
from trainer.contract.system.files import read_json
from trainer.evaluate import MeasureJob, measure
from trainer.recipes.file import load
from trainer.report.job import ReportJob, report
from trainer.search.sweep import SweepJob, sweep
from trainer.stages import train
from trainer.training import TrainJob

ROOT = Path(__file__).parents[1]
STRANGE = [
    "win [SEP] a prize [CLS] now [PAD] call [MASK] [UNK]",
    "are you 🙂👨‍👩‍👧 coming home 🏠",
    "مرحبا بالعالم call now שלום עולם",
    "win a prize " * 3334,
    "see you tomorrow at the office " * 1667,
    "  ok  ",
    "e\u0301 é ﬁ ½",
]


def write_rows(path: Path, kind: str) -> None:
    """160 rows as JSON lines, with texts that break careless code among them."""
    lines = []
    for number in range(160):
        words = runs.WORDS["spam" if number % 3 == 0 else "ham"]
        start = words if number % 4 else STRANGE[number // 4 % len(STRANGE)]
        text = f"{start} {number}"
        names = [name for name, period in (("spam", 3), ("urgent", 4), ("long", 5)) if number % period == 0]
        lines.append({"text": text, "label": names if kind == "multi" else ("spam" if number % 3 == 0 else "ham")})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "truncation"),
    [
        ("single", "head"),
        ("single", "tail"),
        ("multi", "head_tail"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [("single", "head_tail"), ("multi", "head"), ("multi", "tail")]
        ),
    ],
)
def test_scoring_finds_what_training_found(tmp_path: Path, kind: str, truncation: str) -> None:
    """Labels and probabilities (fp32, within 1e-4) of the scored file equal those of trainer's evaluation, row by
    row.
    """
    write_rows(tmp_path / "rows.jsonl", kind)
    recipe = runs.write_recipe(
        tmp_path,
        data={"train": {"files": "rows.jsonl"}, "split": {"validation": 0.25, "test": 0.3}},
        input={"text": "text", "max_tokens": 24, "truncation": truncation},
        labels={"column": "label", "kind": kind},
        stages=[{"epochs": 1, "batch": {"rows": 8}, "optimizer": {"learning_rate": 1e-2}}],
        select={"metric": "f1_micro"},
    )
    run, bundle, out = tmp_path / "run", tmp_path / "bundle", tmp_path / "scored.jsonl"
    train(TrainJob(recipe=load(recipe), out=run, quiet=True))
    truncated = measure(MeasureJob(run=run))["truncation"]
    assert truncated["rows_cut"] > 0
    # One epoch of a tiny network learns little, which export would refuse; here it is the same answers that count.
    export(ExportJob(run=run, out=bundle, precisions=("fp32",), anyway=True, timing=False, quiet=True))
    score(
        ScoreJob(
            bundle=bundle,
            inputs=(str(run / "splits" / "test.jsonl"),),
            out=out,
            probabilities=True,
            quiet=True,
            scorer=ScorerOptions(batch_tokens=64),
        )
    )
    scored, found = read_lines(out), read_lines(run / "test_predictions.jsonl")
    assert [row["id"] for row in scored] == [row["id"] for row in found]
    for row, expected in zip(scored, found, strict=True):
        assert (row["predictions"] if kind == "multi" else [row["prediction"]]) == expected["predicted"]
        probabilities = {name: row[f"p_{name}"] for name in expected["probabilities"]}
        assert probabilities == pytest.approx(expected["probabilities"], abs=1e-4)
    with Scorer.open(bundle) as scorer:
        again = scorer.predict_proba([row["text"] for row in found])
    np.testing.assert_allclose(again, [list(row["probabilities"].values()) for row in found], atol=1e-4)


def test_a_searchs_result_is_exported_and_scored_like_any_run(tmp_path: Path) -> None:
    """The bundle of a search's folder decides on the test rows as `evaluate` says of the same folder."""
    write_rows(tmp_path / "rows.jsonl", "single")
    recipe = runs.write_recipe(
        tmp_path,
        data={"train": {"files": "rows.jsonl"}, "split": {"validation": 0.25, "test": 0.3}},
        stages=[{"epochs": 1, "batch": {"rows": 8}}],
        sweep={"space": {"stages.0.optimizer.learning_rate": {"choices": [1e-2, 1e-4]}}, "sampler": "grid"},
    )
    out = tmp_path / "search"
    sweep(SweepJob(recipe=load(recipe), out=out, quiet=True))
    measure(MeasureJob(run=out))
    export(ExportJob(run=out, out=tmp_path / "bundle", precisions=("fp32",), anyway=True, timing=False, quiet=True))
    lines = [json.loads(line) for line in (out / "splits" / "test.jsonl").read_bytes().splitlines()]
    with Scorer.open(tmp_path / "bundle") as scorer:
        found = scorer.predict([line["text"] for line in lines])
    expected = [json.loads(line) for line in (out / "test_predictions.jsonl").read_bytes().splitlines()]
    assert [[label] for label in found] == [line["predicted"] for line in expected]


def test_scoring_in_a_new_process_loads_no_torch(tmp_path: Path) -> None:
    """A process that opens a bundle and scores a row has neither torch nor transformers in it."""
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    recipe = runs.write_recipe(tmp_path, rows=200, stages=[{"epochs": 1, "batch": {"rows": 8}}])
    train(TrainJob(recipe=load(recipe), out=run, quiet=True))
    export(ExportJob(run=run, out=bundle, precisions=("fp32",), anyway=True, timing=False, quiet=True))
    code = (
        "import sys; from serve import Scorer\n"
        f"with Scorer.open({str(bundle)!r}) as scorer: print(scorer.predict(['win a prize'])[0])\n"
        "print({'torch', 'transformers'} & set(sys.modules) or 'none')"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    label, loaded = result.stdout.split()
    assert label in ("ham", "spam")
    assert loaded == "none"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """A JSON lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def naming(name: str, places: list[Path]) -> list[str]:
    """Files, at these places or below them, that hold a name."""
    files = [file for place in places for file in (place.rglob("*") if place.is_dir() else [place]) if file.is_file()]
    return sorted(file.name for file in files if name.encode() in file.read_bytes())


def test_what_leaves_the_house_does_not_say_where_it_lay(tmp_path: Path) -> None:
    """Neither bundle nor page nor the tables for labelling tools name the folders of rows, encoder, run or bundle."""
    home = tmp_path / "home_of_zebulon"
    for folder in ("first", "second"):
        (home / folder).mkdir(parents=True)
        runs.write_rows(home / folder / "rows.csv", 100, seed=len(folder))
    recipe = runs.write_recipe(
        home,
        data={"train": {"files": ["first/rows.csv", "second/rows.csv"]}, "split": {"validation": 0.3, "test": 0.3}},
        stages=[{"epochs": 1, "batch": {"rows": 8}, "optimizer": {"learning_rate": 1e-2}}],
        decisions={},
    )
    run, bundle = home / "run", home / "bundle"
    train(TrainJob(recipe=load(recipe), out=run, quiet=True))
    measure(MeasureJob(run=run))
    export(ExportJob(run=run, out=bundle, precisions=("fp32",), anyway=True, timing=False, quiet=True))
    scored = ScoreJob(bundle=bundle, inputs=(str(home / "first" / "rows.csv"),), out=home / "scored.jsonl")
    score(scored)
    report(ReportJob(run=run, bundle=bundle, scores=home / "scored.jsonl.report.json"))
    assert naming("zebulon", [bundle, run / "report.html", run / "review"]) == []
    # It would be found: the run itself stays at home, and says where its rows are.
    assert naming("zebulon", [run / "recipe.yaml"]) == ["recipe.yaml"]
    files = read_json(bundle / "manifest.json")["training"]["files"]
    assert [each["file"] for each in files] == ["first/rows.csv", "second/rows.csv"]
