"""`python -m export inspect`: a bundle for a person, and two bundles side by side."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from export.bundle import GRAPH_FILES, MANIFEST, ExportManifest
from export.cascade.certificate import Cascade, ClassBound, MetricEffect, Realised, Target
from export.cli import inspect_command
from export.inspect import describe, manifest_differences, manifest_summary, markdown
from export.pipeline import ExportJob, export
from trainer.contract.checkpoint import from_json
from trainer.contract.errors import ArtifactError


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


TARGET = Target(
    agreement=0.99,
    coverage=0.9,
    rows=900,
    wrong=1,
    classes=(ClassBound(label="ham", rows=9, wrong=0, bound=0.3, guard=0.1),),
    realised=Realised(rows=10, wrong=0, low=0.0, high=0.3),
    effect=MetricEffect(metric="f1", rows=9, encoder=0.9, cascade=0.9, difference=0.0, low=0.0, high=0.0),
)
HOSTILE = ("\x1b[2J\nowned", 10**400, 1e308, 0, -1, None, True, [], ["x"], {}, {"\x1b[2J\nowned": "x"})


def leaves(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every dictionary or list of a JSON value with each of its keys or places."""
    for key, value in [*(content.items() if isinstance(content, dict) else enumerate(content))]:
        yield content, key
        if isinstance(value, dict | list):
            yield from leaves(value)


def test_a_strangers_manifest_neither_ends_the_command_nor_writes_lines(bundle: Path) -> None:
    """Each value in turn becomes one of another type, a huge number, or a text that would clear the screen and begin a
    line: either the manifest is refused, or what is printed holds the text spelled.
    """
    data = json.loads((bundle / MANIFEST).read_bytes())
    cascade = Cascade(
        version=2,
        file="x",
        precision="int8",
        confidence=0.95,
        student_rows=9,
        agreement=0.9,
        targets=(TARGET,),
        missing={"0.998": "few rows"},
    )
    data = json.loads(json.dumps({**data, "cascade": asdict(cascade)}))
    data["contract"]["labels"]["abstain"] = {"below": 0.6}
    data["decisions"] = {"abstain": {"said": "it is so"}}
    del data["schema"]
    printed = 0
    for content, key in [*leaves(data)]:
        kept = content[key]
        for value in HOSTILE:
            content[key] = value
            try:
                manifest = from_json(ExportManifest, data, "manifest.json")
            except ArtifactError:
                continue
            for text in (describe(manifest), markdown(manifest)):
                assert "\x1b" not in text, key
                assert "\nowned" not in text, key
            manifest_differences(manifest, manifest)
            manifest_summary(manifest)
            printed += 1
        content[key] = kept
    assert printed > 100


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
