"""The harness of `make bench`, on fake tools: who is measured, who is listed with a reason, and what the table says."""

import json
import platform
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.peers import machine
from benchmarks.peers.__main__ import main
from benchmarks.peers.contestant import ON_GPU, Contestant, Variant, contestants
from benchmarks.peers.device import device
from benchmarks.peers.environments import python_of
from benchmarks.peers.machine import joined
from benchmarks.peers.program import Fell, Program
from benchmarks.peers.rounds import Outcome, Schedule, calibrated, compete
from benchmarks.peers.score import BASE, beside, judged, ratios, wanted
from benchmarks.peers.scoring import cross_encoder_onnx
from benchmarks.peers.tables import machine_line, markdown
from benchmarks.without_avx512 import MARK
from tests.benchmarks import fakes
from trainer.contract.system.files import write_json

ROWS = 300


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """Three rounds of every fake that needs no GPU."""
    folder = tmp_path_factory.mktemp("results")
    texts = folder / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": str(row)}) + "\n" for row in range(ROWS)))
    schedule = Schedule(rounds=3, seconds=0.001, most=ROWS, first=ROWS)
    chosen = contestants(fakes.__name__, lambda variant: not variant.gpu)
    return compete(chosen, {"texts": str(texts)}, schedule, folder)


@pytest.fixture(scope="module")
def records(outcomes: list[Outcome]) -> dict[str, dict[str, Any]]:
    """What the table is made of, by name; every tenth row's truth is not known."""
    truth = [None if row % 10 == 0 else row % 3 for row in range(ROWS)]
    return {record["name"]: record for record in judged(outcomes, truth, bound=0.97)}


def test_the_reference_is_measured_first(outcomes: list[Outcome], records: dict[str, dict[str, Any]]) -> None:
    """It has all rounds, agrees with itself, and loads before the others, whose labels are held against its own."""
    assert outcomes[0].contestant.variant.name == "reference"
    assert len(outcomes[0].whole["labels"]) == ROWS
    found = records["reference"]
    assert found["fell"] == ""
    assert (len(found["rates"]), found["agreement"], found["accuracy"]) == (3, 1.0, 1.0)
    assert set(found["versions"]) == {"pytest"}


def test_a_fast_wrong_answer_is_no_answer(records: dict[str, dict[str, Any]]) -> None:
    """Labels of which 5 % are false are listed as wrong; 1 % are within the bound, and told."""
    assert "a wrong answer: it agrees with torch fp32 on 0.950 of the rows" in records["liar"]["fell"]
    assert records["careless"]["fell"] == ""
    assert records["careless"]["agreement"] == 0.99


def test_rows_without_a_label_are_wrong(outcomes: list[Outcome]) -> None:
    """A tool that leaves its last row out does not agree in full."""
    found = {record["name"]: record for record in judged(outcomes, [None] * ROWS, bound=1.0)}
    assert "0.997 of the rows" in found["lazy"]["fell"]
    assert found["lazy"]["agreement"] == (ROWS - 1) / ROWS
    assert found["lazy"]["accuracy"] is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent", "not installable: "),
        ("dies", "died with exit code 9 in 'round': libraries print what they like"),
        ("raises", "RuntimeError: no more"),
    ],
)
def test_who_falls_is_listed_with_the_reason(records: dict[str, dict[str, Any]], name: str, reason: str) -> None:
    """What cannot be installed, dies in a round or raises has a reason and no figures; the others go on."""
    assert records[name]["fell"].startswith(reason)
    assert "rates" not in records[name]


def test_who_does_not_answer_is_ended(tmp_path: Path) -> None:
    """A tool that hangs in a round falls when patience ends, and its program with it."""
    (tmp_path / "texts.jsonl").write_text('{"text": "1"}\n')
    with Program(Path(sys.executable), "tests.benchmarks.fakes.by_number", tmp_path / "log") as program:
        program.ask({"do": "load", "settings": {"texts": str(tmp_path / "texts.jsonl"), "hangs": True}}, 60)
        with pytest.raises(Fell, match="no answer to 'round' within 0 s"):
            program.ask({"do": "round", "rows": 1}, 0.2)
        with pytest.raises(Fell, match="was ended before 'round'"):
            program.ask({"do": "round", "rows": 1}, 60)


def test_without_a_reference_nobody_has_figures(outcomes: list[Outcome]) -> None:
    """Where labels cannot be checked, a rate is not told."""
    others = [outcome for outcome in outcomes if not outcome.contestant.variant.reference]
    assert all(record["fell"] for record in judged(others, [None] * ROWS))


def test_the_table_says_all_of_it(records: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """Measured tools have a line with ratios over the base, the others a reason each."""
    machine = {**dict.fromkeys(("memory_gb", "system", "python"), "x"), "processor": "P1", "gpu": "", "masked": "AVX2"}
    machine |= {"cores": 2, "instructions": ["avx2"]}
    made = [
        {**machine, "date": "2026-01-01 00:01", "load": 0.1, "commit": "c1"},
        {**machine, "date": "2026-01-01 00:09", "load": 2.0, "commit": "c2"},
    ]
    case = {
        "name": "numbers",
        "rows": ROWS,
        "bound": 0.97,
        "base": BASE,
        "limits": {"int8": {"rate": 2e12, "kernel": "K"}},
        "operations_per_row": 1e9,
        "contestants": [{**each, "share": None, "made": made} for each in beside(BASE, list(records.values()))],
    }
    write_json(tmp_path / "scoring.json", {"numbers": case})
    page = markdown(tmp_path)
    lines = {line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")}
    assert {"reference", "careless", "lazy"} <= lines
    assert not {"liar", "dies", "absent"} & lines
    assert "* liar: a wrong answer" in page
    assert "commit c1, c2; 2026-01-01 00:01 to 2026-01-01 00:09 UTC; load 0.1 to 2.0. Products by AVX2 alone." in page
    # Of the base there are no rounds, so no ratio is told.
    (line,) = [line for line in page.splitlines() if line.startswith("| reference |")]
    assert line.split(" | ")[2] == ""


def test_a_table_is_made_in_pieces() -> None:
    """Who is measured again takes the new figures, who is not keeps its own, and other rows are another table."""
    old = {"rows": 9, "contestants": [{"name": "a", "rate": 1}, {"name": "b", "rate": 2}]}
    new = {"rows": 9, "contestants": [{"name": "b", "rate": 3}]}
    assert joined(old, new, ("rows",))["contestants"] == [{"name": "a", "rate": 1}, {"name": "b", "rate": 3}]
    assert joined(old, {**new, "rows": 8}, ("rows",))["contestants"] == [{"name": "b", "rate": 3}]
    assert joined(None, new, ("rows",)) == new


def test_a_table_names_every_machine_and_commit_that_made_it() -> None:
    """A checkout that moves between two pieces, or within one, and another machine are told; results that told one
    machine and commit for all still are a table.
    """
    base = {"memory_gb": 1, "system": "s", "python": "3", "masked": "", "cores": 2, "instructions": [], "load": 0}
    one, other = ({**base, "date": "d", "processor": name, "commit": commit} for name, commit in ("A1", "B2"))
    moved = {**one, "commit": "3+"}
    parts = [{"name": "a", "made": [one, moved]}, {"name": "b", "made": [other, other]}]
    line = machine_line({"contestants": parts})
    assert line.startswith("A, 2 cores")
    assert " and B, 2 cores" in line
    assert "commit 1, 3+, 2; d to d" in line
    bare = {"name": "c", "made": [{"date": "d", "load": 0}]}
    old = {"machine": one, "contestants": [bare]}
    assert "commit 1; d" in machine_line(old)
    assert "commit 1, 2; d" in machine_line(joined(old, {"contestants": parts[1:]}, ()))


def test_a_ratio_is_of_rounds_side_by_side() -> None:
    """Each piece has its own rounds of the base; a base that gave a wrong answer is none."""
    records = [{"name": BASE, "fell": "", "rates": [10.0, 20.0]}, {"name": "a", "fell": "", "rates": [30.0, 20.0]}]
    assert ratios(beside(BASE, records)[1]) == {"median": 2.0, "low": 1.0, "high": 3.0}
    assert ratios(beside(BASE, [{**records[0], "fell": "a wrong answer"}, records[1]])[1]) is None


def test_tools_with_the_same_needs_share_an_environment(tmp_path: Path) -> None:
    """Its folder is called by the packages, without versions and in pip's own letters; without needs it is ours."""
    for needs in (("Some_tool[onnx]==1.2", "other<2"), ("some-tool[onnx]==1.3", "other>=1")):
        home = tmp_path / "some-tool-onnx_other"
        home.mkdir(exist_ok=True)
        (home / "installed.json").write_text(json.dumps(needs))
        assert python_of(needs, tmp_path) == home / "bin" / "python"
    assert python_of((), tmp_path) == Path(sys.executable)


def test_every_contestant_of_the_product_can_be_listed() -> None:
    """The rooms' files are read without the libraries that they need; each has variants, and one is the reference."""
    found = contestants("benchmarks.peers.scoring")
    files = {path.stem for path in Path("benchmarks/peers/scoring").glob("*.py")} - {"__init__"}
    assert {each.tool for each in found} == files
    assert [each.variant.name for each in found if each.variant.reference] == [found[0].variant.name]
    names = [each.variant.name for each in found]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("room", ["scoring", "training", "limits"])
def test_what_runs_on_a_gpu_says_so_in_its_name(room: str) -> None:
    """What ratios are over is found by it."""
    found = contestants(f"benchmarks.peers.{room}")
    assert any(each.variant.gpu for each in found)
    for each in found:
        assert each.variant.name.endswith(ON_GPU) == each.variant.gpu


def test_a_gpu_has_tables_of_its_own() -> None:
    """`--gpu` chooses what runs there, and the reference; without it nobody who needs one is asked."""
    for gpu in (False, True):
        given = Namespace(gpu=gpu, quick=False, only=["Classifact"])
        chosen = contestants("benchmarks.peers.scoring", lambda variant: wanted(variant, given, large=False))  # noqa: B023
        assert {each.variant.gpu for each in chosen if not each.variant.reference} == {gpu}
        assert [each.variant.name for each in chosen if each.variant.name == BASE + ON_GPU * gpu]
        assert [each.variant.reference for each in chosen].count(True) == 1
        assert len(chosen) > 3


def test_without_a_gpu_nothing_is_measured_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No contestant is started, and no result of nothing is written; one that is started all the same falls."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for command in ("scoring", "training"):
        monkeypatch.setattr(sys, "argv", ["peers", "--out", str(tmp_path / "out"), command, "--gpu"])
        main()
        assert capsys.readouterr().out == f"{command} on a GPU: not run, there is no CUDA device here\n"
    assert not (tmp_path / "out").exists()
    with pytest.raises(RuntimeError, match="not run: there is no CUDA device here"):
        device({"device": "cuda"})
    assert device({"device": "cpu"}) == "cpu"


def test_who_runs_on_a_gpu_is_told_to(tmp_path: Path) -> None:
    """Else it would be measured on the processor, and nobody would see it."""
    (tmp_path / "texts.jsonl").write_text('{"text": "1"}\n')
    settings, schedule = {"texts": str(tmp_path / "texts.jsonl")}, Schedule(rounds=1, seconds=0.001, most=1, first=1)
    chosen = contestants(fakes.__name__, lambda variant: variant.name in {"GPU", "reference"})
    found = {each.contestant.variant.name: each.fell for each in compete(chosen, settings, schedule, tmp_path)}
    assert found == {"GPU": "RuntimeError: a GPU was asked for", "reference": ""}


class Asked:
    """A program whose first round takes 9 s more than others, which take 1 ms a row."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def ask(self, request: dict[str, Any], _: float) -> dict[str, float]:
        """The seconds of a round."""
        self.rows.append(request["rows"])
        return {"seconds": 0.001 * request["rows"] + 9 * (len(self.rows) == 1)}


def test_what_a_first_round_pays_once_decides_no_rows() -> None:
    """Kernels that a GPU compiles in the first round would leave it with few rows for good."""
    program = Asked()
    assert calibrated(program, Schedule(rounds=1, seconds=2, most=9000)) == 2000  # type: ignore[arg-type]
    assert program.rows == [64, 64, 512, 2000]
    whole = Asked()
    assert calibrated(whole, Schedule(rounds=1, seconds=2, most=900, first=900)) == 900  # type: ignore[arg-type]
    assert whole.rows == [900]


def test_a_contestant_is_called_by_its_file() -> None:
    """The environment of a tool has the file's name."""
    assert (
        Contestant(module="benchmarks.peers.scoring.infinity", needs=(), variant=Variant(name="x")).tool == "infinity"
    )


def test_a_mask_leaves_out_what_it_does_not_reach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings do not mask ONNX Runtime; a copy that was masked does count."""
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    assert machine.reaches(onnx_runtime=True)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert machine.reaches(onnx_runtime=False)
    assert not machine.reaches(onnx_runtime=True)
    (tmp_path / "onnxruntime").mkdir()
    for name in ("__init__.py", MARK):
        (tmp_path / "onnxruntime" / name).touch()
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert machine.reaches(onnx_runtime=True)


def test_a_contestant_finds_what_the_harness_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """PYTHONPATH, by which another ONNX Runtime takes part."""
    (tmp_path / "given.py").write_text("input()\nprint('{\"answered\": true}')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Program(Path(sys.executable), "given", tmp_path / "log") as program:
        assert program.ask({"do": "load"}, 60) == {"answered": True}


def test_a_contestant_without_torch_is_measured_without_it() -> None:
    """Classifact's scorer needs none: its memory would be that of torch."""
    program = "import sys; from benchmarks.peers.device import device; device({'device': 'cpu'})"
    words = [sys.executable, "-c", f"{program}; print('torch' in sys.modules)"]
    found = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


@pytest.mark.parametrize(
    ("system", "flags", "mask", "named"),
    [
        ("x86_64", {"avx2", "avx512f", "avx512_vnni"}, "", "avx512_vnni"),
        ("x86_64", {"avx2", "avx512f"}, "", "avx512"),
        ("x86_64", {"avx2"}, "", "avx2"),
        ("x86_64", {"avx2", "avx512f", "avx512_vnni"}, "AVX2", "avx2"),
        ("aarch64", {"asimd"}, "", "arm64"),
    ],
)
def test_cross_encoders_int8_file_is_for_this_processor(
    system: str, flags: set[str], mask: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its library makes one file for each kind, and another one would not be its best."""
    monkeypatch.setattr(platform, "machine", lambda: system)
    monkeypatch.setattr(cross_encoder_onnx, "cpu_flags", lambda: flags)
    monkeypatch.setattr(cross_encoder_onnx, "masked", lambda: mask)
    assert cross_encoder_onnx._instructions() == named
