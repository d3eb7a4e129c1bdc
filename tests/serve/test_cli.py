"""The commands as a user meets them."""

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from serve.cli import main
from tests.contract.system.test_installed import uninstall
from tests.serve import bundles
from tests.serve.helpers import read_csv, write_csv
from trainer.contract.system.installed import NOT_INSTALLED

REPOSITORY = Path(__file__).parents[2]


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def _python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("command", [[], ["score"], ["check"], ["bench"], ["doctor"]])
def test_help(command: list[str]) -> None:
    """`-h` answers everywhere."""
    result = _run(*command, "-h")
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_importing_serve_is_light() -> None:
    """`import serve` brings neither torch nor transformers, nor even ONNX Runtime."""
    heavy = ["torch", "transformers", "optimum", "onnxruntime", "pyarrow", "numpy"]
    done = _python(f"import sys, serve; print([name for name in {heavy} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr


def test_scoring_never_imports_torch(single: Path, tmp_path: Path) -> None:
    """A whole job, CSV to Parquet, ends without torch, transformers or optimum in the process."""
    rows = write_csv(tmp_path / "in.csv", ["x y", "z"])
    code = (
        "import sys; from serve.cli import main\n"
        "main(sys.argv[1:], standalone_mode=False)\n"
        "print([name for name in ('torch', 'transformers', 'optimum', 'datasets') if name in sys.modules])"
    )
    done = _python(code, "score", single, rows, "--out", tmp_path / "out.parquet")
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert json.loads(done.stdout.splitlines()[-2])["rows_scored"] == 2


@pytest.mark.parametrize(("options", "there"), [([], "no"), (["--engine", "ray", "--dry-run"], "yes")])
def test_parquet_without_pandas(single: Path, tmp_path: Path, options: list[str], there: str) -> None:
    """A job that writes Parquet runs without pandas, which pyarrow would load for nothing. Ray needs and gets it."""
    rows = write_csv(tmp_path / "in.csv", ["free prize", "see you"])
    code = (
        "import runpy\n"
        "try: runpy.run_module('serve', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end: print('exit', end.code)\n"
        "try: import pandas\n"
        "except ModuleNotFoundError: print('no')\n"
        "else: print('yes')"
    )
    done = _python(code, "score", single, rows, "--out", tmp_path / "out.parquet", *options)
    assert done.stdout.splitlines()[-2:] == ["exit 0", there], done.stderr


def test_one_row_from_a_cold_start(single: Path) -> None:
    """One row is scored in Python in under a second from a cold start, pyarrow unused."""
    code = (
        "import sys; from serve import Scorer\n"
        "with Scorer.open(sys.argv[1]) as scorer: print(scorer.predict(['free prize']), 'pyarrow' in sys.modules)"
    )
    before = os.times()
    done = _python(code, single)
    after = os.times()
    assert done.stdout.endswith("False\n"), done.stderr
    # Processor time: what else runs on the machine is not ours to measure.
    spent = after.children_user - before.children_user + after.children_system - before.children_system
    assert spent < 1.0


def test_score_prints_json_last(single: Path, tmp_path: Path) -> None:
    """Results are on standard output and end in one JSON line."""
    rows = write_csv(tmp_path / "in.csv", ["x", ""])
    result = _run("score", single, rows, "--out", tmp_path / "out.csv", "--precision", "fp32")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout.splitlines()[-1])
    assert (report["rows_scored"], report["rows_rejected"], report["precision"]) == (1, 1, "fp32")


def test_a_checkout_that_is_not_installed_scores(single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing says which version this is, the job ends as any other, and its report says so."""
    uninstall(monkeypatch)
    result = _run("score", single, write_csv(tmp_path / "in.csv", ["x"]), "--out", tmp_path / "out.csv")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1])["version"] == NOT_INSTALLED


def test_quiet_leaves_standard_error_empty(single: Path, tmp_path: Path) -> None:
    """With --quiet nothing is written to standard error."""
    rows = write_csv(tmp_path / "in.csv", ["x"])
    result = _run("score", single, rows, "--out", tmp_path / "out.csv", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")


def test_dialect_options(single: Path, tmp_path: Path) -> None:
    """A headerless file with any delimiter, quotes as characters and another encoding is read."""
    (tmp_path / "in.txt").write_bytes('1;"caf\xe9\n2;z\n'.encode("latin-1"))
    result = _run(
        *("score", single, tmp_path / "in.txt", "--out", tmp_path / "out.csv", "--format", "csv", "--delimiter", ";"),
        *("--no-header", "--columns", "id,text", "--quoting", "none", "--encoding", "latin-1"),
    )
    assert result.exit_code == 0, result.output
    assert [row["text"] for row in read_csv(tmp_path / "out.csv")] == ['"caf\xe9', "z"]


@pytest.mark.parametrize(
    "arguments",
    [["--no-header"], ["--columns", "a"], ["--max-errors", "many"], ["--precision", "int4"], ["--workers", "0"]],
)
def test_usage_errors(single: Path, tmp_path: Path, arguments: list[str]) -> None:
    """Wrong usage exits with 2."""
    rows = write_csv(tmp_path / "in.csv", ["x"])
    assert _run("score", single, rows, "--out", tmp_path / "out.csv", *arguments).exit_code == 2


def test_user_errors(single: Path, tmp_path: Path) -> None:
    """What the user got wrong exits with 1, on standard error, without a traceback."""
    result = _run("score", single, tmp_path / "missing.csv", "--out", tmp_path / "out.csv")
    assert result.exit_code == 1
    assert "missing.csv" in result.stderr
    assert "Traceback" not in result.output


def test_check(single: Path) -> None:
    """`check` scores the golden rows and ends in JSON."""
    result = _run("check", single, "--precision", "fp32")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1])["label_agreement"] == 1.0


def test_check_fails(single: Path, tmp_path: Path) -> None:
    """Golden rows that score differently exit with 3."""
    wrong = tmp_path / "bundle"
    shutil.copytree(single, wrong)
    lines = [json.loads(line) for line in (wrong / "golden.jsonl").read_text().splitlines()]
    lines[3]["logits"] = lines[3]["logits"][::-1]
    (wrong / "golden.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    bundles.reseal(wrong, bundles.contract())
    result = _run("check", wrong, "--precision", "fp32")
    assert result.exit_code == 3
    assert "golden rows" in result.stderr


def test_bench(single: Path, tmp_path: Path) -> None:
    """`bench` ends in JSON with the rate and the share that is not the session, and leaves no scores."""
    rows = write_csv(tmp_path / "in.csv", bundles.texts(50))
    result = _run("bench", single, rows, "--quiet")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["rows_per_second"] > 0
    assert 0 <= report["non_session_share"] <= 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_doctor() -> None:
    """`doctor` ends in JSON with the provider that a session really got."""
    result = _run("doctor")
    assert json.loads(result.stdout.splitlines()[-1])["sessions"]["CPUExecutionProvider"] == "CPUExecutionProvider"


def test_canary_stops_a_job(single: Path, tmp_path: Path) -> None:
    """A job on a machine that scores the golden rows differently exits with 3 before a row is scored, unless told."""
    wrong = tmp_path / "bundle"
    shutil.copytree(single, wrong)
    lines = [json.loads(line) for line in (wrong / "golden.jsonl").read_text().splitlines()]
    lines[3]["logits"] = lines[3]["logits"][::-1]
    (wrong / "golden.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    bundles.reseal(wrong, bundles.contract())
    command = ["score", wrong, write_csv(tmp_path / "in.csv", ["x"]), "--out", tmp_path / "out.csv"]
    command += ["--precision", "fp32"]
    result = _run(*command)
    assert result.exit_code == 3
    assert not (tmp_path / "out.csv").exists()
    assert _run(*command, "--no-canary").exit_code == 0


@pytest.mark.parametrize(("given", "kept"), [(None, "1"), ("0", "0")])
def test_telemetry_is_off_unless_asked_for(monkeypatch: pytest.MonkeyPatch, given: str | None, kept: str) -> None:
    """Importing `serve` switches ONNX Runtime's telemetry off before that is loaded, and leaves what the user set."""
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "")
    if given is None:
        monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    else:
        monkeypatch.setenv("ORT_DISABLE_TELEMETRY", given)
    runpy.run_path(str(REPOSITORY / "serve" / "__init__.py"))
    assert os.environ["ORT_DISABLE_TELEMETRY"] == kept
