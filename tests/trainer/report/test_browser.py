"""The page in a real browser: quiet, without a request, readable at two widths, in two colour schemes and on paper."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from tests.trainer.report.made import Made, make_run
from tests.trainer.sources import SHARED
from trainer.contract.system.files import write_json
from trainer.report.job import ReportJob, report

SCRIPT = Path(__file__).with_name("look.mjs")
# apt-get install chromium npm; `make test-all` then installs these two.
MODULES = Path(os.environ.get("CLASSIFACT_NODE_MODULES", Path(__file__).parents[3] / "node_modules"))
CHROMIUM = shutil.which("chromium")
NEEDED = [MODULES / "playwright-core", MODULES / "axe-core"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium"),
    pytest.mark.skipif(
        not all(path.is_dir() for path in NEEDED), reason="two packages of npm are not here: make node-modules"
    ),
]


def look(page: Path) -> dict[str, Any]:
    """What is wrong with a page."""
    shots = os.environ.get("CLASSIFACT_SHOTS", "")
    command = ["node", str(SCRIPT), str(MODULES), str(CHROMIUM), str(page), shots and f"{shots}/{page.parent.name}"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200)
    return dict(json.loads(result.stdout.splitlines()[-1]))


def assert_right(found: dict[str, Any]) -> None:
    """Nothing is said on the console, asked for, too wide, beyond the edge of a table, on top of another thing, hard to
    reach, or cut on paper.
    """
    for name in ("console", "requests", "wide", "hidden", "overlaps", "axe", "cut"):
        assert found[name] == [], name
    assert found["pages"] >= 2
    assert len(set(found["title"])) == 1


def test_a_page_of_two_labels(tmp_path: Path) -> None:
    """With hostile rows, explained rows and every section that a run fills; sorting works, the script row does not."""
    texts = [f"win a prize {row}" for row in range(80)]
    texts[:4] = ["<script>document.title='owned'</script>", "a \u202eb\u2066 c", "word " * 20_000, "x" * 100_000]
    made = make_run(tmp_path / "two", Made(texts=texts, wrong=0.6))
    found = look(Path(report(ReportJob(run=made, examples=2))["report"]))
    assert_right(found)
    assert found["title"][0] == "made <b>bold</b>: report"
    assert found["sorted"] is True


def test_the_look_finds_faults(tmp_path: Path) -> None:
    """A page that says something, asks for a picture, is too wide, lays text over text, hides columns and is pale is
    found out.
    """
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<!doctype html><html lang="en"><head><title>t</title></head><body><main><section><h2>x</h2>'
        '<p style="position:absolute;top:0;left:0">over</p><div style="width:2000px;color:#aaa">wide</div>'
        '<div class="scroll" style="width:200px;overflow-x:auto"><p style="width:400px">beyond</p></div>'
        '<img src="http://127.0.0.1:9/x.png"></section></main><script>console.log("hi")</script></body></html>',
        "utf-8",
    )
    found = look(bad)
    assert all(found[name] for name in ("console", "requests", "wide", "hidden", "overlaps", "axe", "cut"))


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_a_page_of_many_long_labels(tmp_path: Path, kind: str) -> None:
    """Forty labels of a hundred characters without a gap stay within the page."""
    names = tuple(f"{number}{'x' * 100}" for number in range(40))
    made = make_run(tmp_path / kind, Made(names=names, kind=kind, texts=["text"] * 200, wrong=0.5))
    write_json(made / "sweep.json", sweep())
    assert_right(look(Path(report(ReportJob(run=made, examples=0))["report"])))


def sweep() -> dict[str, Any]:
    """What a search leaves."""
    trial = {
        "state": "complete",
        "values": {},
        "deviation": None,
        "epochs": 3,
        "seconds": 1.0,
        "error": None,
        "folder": "t",
    }
    key = "stages.0.optimizer.learning_rate"
    trials = [{**trial, "number": number, "value": 0.5 + number / 20, "settings": {key: 1e-5}} for number in range(8)]
    states = {"complete": 8, "pruned": 0, "fail": 0}
    return {
        "metric": "f1",
        "direction": "maximize",
        "sampler": "tpe",
        "pruner": "none",
        "states": states,
        "best": trials[-1],
        "importances": {key: 1.0},
        "trials": trials,
    }


@dataclass(frozen=True, kw_only=True)
class System:
    """What a notebook would have asked for, on some of its rows."""

    decide: list[str]
    rows: str
    """The file that is scored."""
    mark: str = ";"
    """Between its columns."""
    settings: tuple[str, ...] = ("data.limit=400",)


SYSTEMS = {
    "s2_medical": System(decide=["--thresholds", "f1"], rows="medical_techsphere/challenge_data-18-ago.csv"),
    "s3_call_to_action": System(decide=["--recall", "call_to_action=0.5"], rows="german_c2a/c2a_train.csv"),
    # Its videos are kept apart; the recipe's own validation rows are too few to promise anything.
    "s4_toxic": System(
        decide=["--abstain", "0.65"],
        rows="youtoxic/youtoxic_english_1000.csv",
        mark=",",
        settings=("data.limit=300", "data.split.validation=0.3"),
    ),
}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the systems' rows are not beside the checkout")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SYSTEMS)
def test_the_page_of_a_system(name: str, tmp_path: Path) -> None:
    """A short training of a real recipe on real rows, then every command that fills a section: none is left empty but
    the search, and the page is right.
    """
    run, bundle, scored = (str(tmp_path / each) for each in (name, "bundle", "scored.csv"))
    system = SYSTEMS[name]
    recipe = Path(__file__).parents[3] / "launch_configs" / "recipes" / f"{name}.yaml"
    settings = [f"model.name={tiny.encoder(tmp_path / 'encoder', initializer_range=0.2)}", *system.settings]
    settings += ["stages.0.epochs=2", "stages.0.optimizer.learning_rate=1.0e-2", "input.max_tokens=64"]
    commands = [
        ["train", str(recipe), "--out", run, "--quiet", *(f"--set={setting}" for setting in settings)],
        ["decide", run, "--quiet", *system.decide],
        ["evaluate", run, "--quiet"],
        ["suspects", run, "--quiet"],
        ["export", run, "--out", bundle, "--precision", "fp32", "--anyway", "--no-timing", "--quiet"],
        ["score", bundle, str(SHARED / system.rows), "--out", scored, "--delimiter", system.mark, "--quiet"],
        ["report", run, "--bundle", bundle, "--scores", f"{scored}.report.json", "--quiet"],
    ]
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "classifact", *command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    page = tmp_path / name / "report.html"
    text = page.read_text("utf-8")
    assert "To have it, run" not in text
    assert_right(look(page))
