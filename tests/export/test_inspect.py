"""`python -m export inspect`: a bundle for a person, and two bundles side by side."""

import json
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from export.bundle import GRAPH_FILES
from export.cli import inspect_command
from export.pipeline import ExportJob, export


def test_says_what_a_bundle_holds(bundle: Path) -> None:
    """Labels, limits, files with their hashes, passes, versions and the training fingerprint are printed."""
    result = CliRunner().invoke(inspect_command, [str(bundle)])
    assert result.exit_code == 0, result.stderr
    for part in (
        "ham, spam",
        "at most 64 tokens",
        "first_token",
        "onnxruntime",
        '"fingerprint": "abc"',
        GRAPH_FILES["int8"],
    ):
        assert part in result.stdout
    assert json.loads(result.stdout.splitlines()[-1])["graphs"]["fp32"]["passes"][-1] == "one_query"


def test_table_for_a_page(bundle: Path) -> None:
    """`--markdown` prints a table with a row for each precision, as wide as its head, and no more of the manifest."""
    lines = CliRunner().invoke(inspect_command, [str(bundle), "--markdown"]).stdout.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:4]] == ["fp32", "int8"]
    assert len({line.count("|") for line in lines[:4]}) == 1
    assert "first_token" in lines[5]
    assert not any("onnxruntime" in line for line in lines[:-1])


def test_damaged_bundle(bundle: Path, tmp_path: Path) -> None:
    """A folder that is no bundle is an error, exit 1."""
    result = CliRunner().invoke(inspect_command, [str(tmp_path)])
    assert result.exit_code == 1
    assert "no bundle here" in result.stderr
    assert "no manifest.json" in result.stderr
    assert bundle.exists()


def test_equal_bundles(bundle: Path) -> None:
    """A bundle does not differ from itself."""
    result = CliRunner().invoke(inspect_command, [str(bundle), "--diff", str(bundle)])
    assert json.loads(result.stdout)["different"] == []


def test_differing_bundles(bundle: Path, run: Path, tmp_path: Path) -> None:
    """What differs is listed by key with both values, and nothing else is."""
    job = ExportJob(run=run, out=tmp_path / "b", precisions=("fp32",), skip=("one_query",), timing=False, quiet=True)
    export(job)
    result = CliRunner().invoke(inspect_command, [str(bundle), "--diff", str(tmp_path / "b")])
    different = json.loads(result.stdout.splitlines()[-1])["different"]
    assert {"graphs.fp32.passes", "files.onnx/model.onnx", "files.onnx/model_quantized.onnx"} <= set(different)
    assert not any(key.startswith(("contract.", "versions.", "training.")) for key in different)
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("graphs.fp32.passes"))
    assert line.endswith("'first_token')")
    assert "'one_query') -> (" in line


def test_as_a_program(bundle: Path) -> None:
    """`python -m export inspect` answers without importing torch."""
    code = (
        "import sys; sys.argv[1:] = ['inspect', sys.argv[1]]\n"
        "from export.cli import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    root = Path(__file__).parents[2]
    found = subprocess.run(
        [sys.executable, "-c", code, str(bundle)], capture_output=True, text=True, cwd=root, check=True
    )
    assert found.stderr.strip() == "False"
    assert "ham, spam" in found.stdout
