"""The whole export of tiny models: what the bundle holds, and what stops it."""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import load_file, save_file

from export import cli
from export import precisions as graphs
from export.bundle import Bundle, hash_files
from export.cli import export_command
from export.int8 import choose as int8
from export.int8.choose import Int8Search
from export.passes import PASSES
from export.passes import choose as optimize
from export.pipeline import ExportJob, export
from export.proof.parity import shown_drop
from export.trained_run import TrainedRun
from tests.export.runs import contract, make_run
from trainer.contract.figures.reference import Reference


def leftovers(folder: Path) -> list[str]:
    """Everything in a folder, hidden names included."""
    return [path.name for path in folder.iterdir()]


def scores(bundle: Bundle, precision: str, texts: list[str]) -> Any:
    """Scores of texts, one at a time, by a session of our own."""
    session = ort.InferenceSession(str(bundle.graph_path(precision)), providers=["CPUExecutionProvider"])
    encoder, encoded = bundle.encoder(), bundle.encoder().encode(texts)
    names = [given.name for given in session.get_inputs()]
    logits = []
    for row in range(len(texts)):
        arrays = encoder.pad(encoded, np.array([row])).named()
        logits.append(session.run(None, {name: arrays[name] for name in names})[0][0])
    return bundle.contract.labels.decode(np.array(logits))


def test_bundle_is_complete(bundle: Path, run: Path) -> None:
    """A bundle opens, holds every file of the layout and nothing else, and its tokenizer is the checkpoint's own."""
    assert set(hash_files(bundle)) == {
        *("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
        *("onnx/model.onnx", "onnx/model_quantized.onnx", "golden.jsonl", "reference.json", "README.md"),
    }
    opened = Bundle.open(bundle)
    assert opened.manifest.files == hash_files(bundle)
    assert opened.manifest.training["fingerprint"] == "abc"
    assert opened.contract == TrainedRun.open(run).checkpoint.contract
    original = TrainedRun.open(run).checkpoint.path / "tokenizer.json"
    assert (bundle / "tokenizer.json").read_bytes() == original.read_bytes()


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_same_decisions_as_torch(kind: str, tmp_path: Path) -> None:
    """The fp32 file gives torch's golden logits within 1e-4, for single-label and multi-label, and config.json says
    which it is.
    """
    made = make_run(tmp_path / "run", contract(kind, ("a", "b", "c")))
    export(ExportJob(run=made, out=tmp_path / "bundle", precisions=("fp32",), timing=False, quiet=True))
    opened = Bundle.open(tmp_path / "bundle")
    golden = opened.golden()
    found = scores(opened, "fp32", [row.text for row in golden])
    expected = opened.contract.labels.decode(np.array([row.logits for row in golden]))
    assert np.abs(found.probabilities - expected.probabilities).max() < 1e-4
    assert found.agreement(expected) == 1
    config = json.loads((tmp_path / "bundle" / "config.json").read_text())
    assert config["problem_type"] == f"{kind}_label_classification"
    assert config["id2label"] == {"0": "a", "1": "b", "2": "c"}


def test_quantized_weights(bundle: Path) -> None:
    """Every product with constant weights is quantized, those of activations with activations are not, and the int8
    file is close to the fp32 one.
    """
    opened = Bundle.open(bundle)
    graph = onnx.load(opened.graph_path("int8")).graph
    kinds = [node.op_type for node in graph.node]
    # Two layers of six products, but the last layer's keys and values, which are absorbed in float; two attention
    # products a layer have no constant side; pooler and head stay in float.
    assert (kinds.count("MatMulInteger"), kinds.count("MatMul")) == (10, 8)
    assert opened.graph("int8").parity.label_agreement >= 0.9
    assert 0 < opened.graph("int8").parity.max_difference < 0.5


def test_reference_distribution(bundle: Path) -> None:
    """The reference holds shares that add up, for labels, lengths and confidences."""
    reference = json.loads((bundle / "reference.json").read_text())
    assert sum(reference["labels"].values()) == pytest.approx(1)
    assert reference["rows"] == 120
    for name in ("tokens", "confidence"):
        assert sum(reference[name]["shares"]) == pytest.approx(1)
        assert len(reference[name]["edges"]) == len(reference[name]["shares"]) + 1
    assert 0 < reference["rows_cut"] < 1
    assert 0 <= reference["unknown_tokens"] <= reference["unknown_rows"] <= 1
    Reference.open(bundle / "reference.json", Bundle.open(bundle).contract.labels)


def break_weights(graph: onnx.ModelProto) -> onnx.ModelProto:
    """What a wrong pass does: the weights of one layer norm are scaled."""
    for tensor in graph.graph.initializer:
        if "LayerNorm.weight" in tensor.name:
            tensor.raw_data = (onnx.numpy_helper.to_array(tensor) * np.float32(1.5)).tobytes()
            return graph
    raise AssertionError("no layer norm")


def saturate(graph: onnx.ModelProto) -> onnx.ModelProto:
    """What saturated products do: large weights are cut."""
    for tensor in graph.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8 and tensor.dims:
            tensor.raw_data = onnx.numpy_helper.to_array(tensor).clip(-20, 20).tobytes()
    return graph


def break_pass(result: tuple[onnx.ModelProto, tuple[str, ...]]) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """What a pass that scales a layer norm leaves."""
    return break_weights(result[0]), result[1]


@pytest.mark.parametrize(
    ("target", "damage", "precision"),
    [
        ((graphs, "export_graph"), break_weights, "fp32"),
        ((optimize, "apply_passes"), break_pass, "fp32"),
        ((int8, "quantize"), saturate, "int8"),
    ],
)
def test_broken_graph_fails_its_gate(
    target: tuple[ModuleType, str],
    damage: Callable[[Any], Any],
    precision: str,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broken fp32 graph, a broken pass and a saturated int8 file exit with 3, say which figure is outside, and leave
    nothing.
    """
    # That repair cannot save such a file is a test of int8/; here it would try each product alone.
    monkeypatch.setattr(Int8Search, "_repair", lambda _search, trial: trial)
    real = getattr(*target)
    monkeypatch.setattr(*target, lambda *given, **named: damage(real(*given, **named)))
    arguments = [str(run), "--out", str(tmp_path / "bundle"), "--quiet", "--no-timing"]
    result = CliRunner().invoke(export_command, arguments)
    assert result.exit_code == 3
    assert f"the {precision} file is not the same classifier" in result.stderr
    assert "expected at most" in result.stderr
    assert leftovers(tmp_path) == []


def test_full_disk(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is an error with advice, exit 1, and leaves nothing."""

    def full(*_given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "bundle"))

    monkeypatch.setattr(graphs, "save_graph", full)
    result = CliRunner().invoke(export_command, [str(run), "--out", str(tmp_path / "bundle")])
    assert result.exit_code == 1
    assert "the disk is full" in result.stderr
    assert leftovers(tmp_path) == []


def test_existing_output(run: Path, tmp_path: Path) -> None:
    """An output that exists is refused before any work and stays as it was."""
    (tmp_path / "mine.txt").write_text("keep")
    result = CliRunner().invoke(export_command, [str(run), "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "exists already" in result.stderr
    assert leftovers(tmp_path) == ["mine.txt"]


def test_weights_that_do_not_fill_the_network(run: Path, tmp_path: Path) -> None:
    """A checkpoint without a head is refused: transformers would fill it with random numbers."""
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    checkpoint = TrainedRun.open(copy).checkpoint
    weights = load_file(checkpoint.path / "model.safetensors")
    weights.pop("classifier.weight")
    save_file(weights, checkpoint.path / "model.safetensors", metadata={"format": "pt"})
    checkpoint.save()
    result = CliRunner().invoke(export_command, [str(copy), "--out", str(tmp_path / "bundle"), "--quiet"])
    assert result.exit_code == 1
    assert "do not fill its network" in result.stderr
    assert "classifier.weight" in result.stderr


@pytest.fixture(scope="module")
def timed(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """What the command gives where graphs are raced, in every precision."""
    out = tmp_path_factory.mktemp("timed") / "bundle"
    arguments = [str(run), "--out", str(out), "--max-drop", "0.1", "--min-agreement", "0.9"]
    return CliRunner().invoke(export_command, [*arguments, "--precision", "int8,fp32,fp16"]), out


def test_what_the_command_prints(timed: tuple[Result, Path]) -> None:
    """Standard output is a table and one JSON line; progress is on standard error alone."""
    result, out = timed
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["fp32", "int8", "fp16"]
    summary = json.loads(lines[-1])
    assert summary["graphs"]["int8"]["rows"] == 120
    # A race was run, and its figures are printed and kept.
    assert summary["graphs"]["fp32"]["gains"]["first_token"] > 0
    assert summary["graphs"]["int8"]["speed"] > 0
    assert summary["graphs"]["int8"]["speed_over_usual"] > 0
    assert lines[5].startswith("same, of 32:")
    assert "first_token" in lines[6]
    assert "exporting the graph" in result.stderr
    manifest = Bundle.open(out).manifest
    assert manifest.name == "tiny"
    # What the rows show of each file's drop stands in the table, on the card and in the JSON.
    card = (out / "README.md").read_text("utf-8")
    for line, (name, graph) in zip(lines[2:5], manifest.graphs.items(), strict=True):
        told = shown_drop(graph.parity, 0.1)
        assert line.endswith(told)
        assert f"`{graph.file}`" in card
        assert f", {told} |" in next(row for row in card.splitlines() if row.startswith(f"| `{graph.file}`"))
        assert summary["graphs"][name]["proven"] == (graph.parity.drop_high <= 0.1)


def test_fp16_in_a_bundle(timed: tuple[Result, Path]) -> None:
    """The bundle holds the fp16 file, its figures and what was fused; no speed, since no GPU timed it."""
    entry = Bundle.open(timed[1]).graph("fp16")
    assert entry.file == "onnx/model_fp16.onnx"
    assert entry.passes == ("fuse_attention", "first_token")
    assert entry.parity.label_agreement >= 0.99
    assert 0 < entry.parity.max_difference < 0.05
    assert (entry.speed, entry.speed_over_usual, entry.rows_per_second, entry.gains) == (None, None, None, {})


def test_timing_does_not_reach_the_graphs(timed: tuple[Result, Path], bundle: Path) -> None:
    """An export that raced holds the very graphs of one that did not: races choose settings, which lie in the
    manifest.
    """
    for file in ("onnx/model.onnx", "onnx/model_quantized.onnx"):
        assert (timed[1] / file).read_bytes() == (bundle / file).read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--precision", "fp23"],
        ["--precision", ""],
        ["--max-drop", "x"],
        ["--max-drop", "nan"],
        ["--min-agreement", "nan"],
        ["--skip", "nothing"],
        ["--unlabelled", "rows.csv"],
        ["--wrong"],
    ],
)
def test_usage_errors(run: Path, tmp_path: Path, arguments: list[str]) -> None:
    """What is no valid option is a usage error, exit 2."""
    result = CliRunner().invoke(export_command, [str(run), "--out", str(tmp_path / "bundle"), *arguments])
    assert result.exit_code == 2


def test_help() -> None:
    """-h explains the command."""
    result = CliRunner().invoke(export_command, ["-h"])
    assert result.exit_code == 0
    assert "--max-drop" in result.stdout


def test_passes_of_the_command_line_are_those_that_exist() -> None:
    """The names that --skip takes, listed without importing what passes need, are the passes."""
    assert tuple(PASSES) == cli.PASS_NAMES


def test_skipped_pass(run: Path, tmp_path: Path) -> None:
    """A pass that is left out is not applied, and the manifest lists those that are."""
    job = ExportJob(run=run, out=tmp_path / "b", precisions=("fp32",), skip=("first_token",), timing=False, quiet=True)
    found = export(job).graphs["fp32"].passes
    # transformers' own exporter leaves nothing idle to drop, and its Gelu is put in order.
    assert [name for name in found if name not in {"drop_idle", "order_gelu"}] == ["fold_shapes", "fold_token_types"]


def test_same_run_same_bytes(bundle: Path, run: Path, tmp_path: Path) -> None:
    """The same run exports to the same bytes, in every file of the bundle."""
    job = ExportJob(run=run, out=tmp_path / "again", min_agreement=0.9, max_drop=0.1, timing=False, quiet=True)
    export(job)
    assert hash_files(tmp_path / "again") == hash_files(bundle)
    assert (tmp_path / "again" / "manifest.json").read_bytes() == (bundle / "manifest.json").read_bytes()


def test_int8_alone(run: Path, tmp_path: Path) -> None:
    """A bundle of one precision holds one graph."""
    job = ExportJob(
        run=run, out=tmp_path / "b", precisions=("int8",), min_agreement=0.9, max_drop=0.1, timing=False, quiet=True
    )
    export(job)
    assert list(Bundle.open(tmp_path / "b").manifest.graphs) == ["int8"]
    assert leftovers(tmp_path / "b" / "onnx") == ["model_quantized.onnx"]


def test_a_model_that_has_learnt_nothing_is_not_exported(run: Path, tmp_path: Path) -> None:
    """A head that gives every row the same answer agrees with its every file: it is refused with what that answer is
    worth, and exported --anyway with a card and a manifest that tell.
    """
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    checkpoint = TrainedRun.open(copy).checkpoint
    weights = load_file(checkpoint.path / "model.safetensors")
    weights["classifier.weight"][:] = 0
    save_file(weights, checkpoint.path / "model.safetensors", metadata={"format": "pt"})
    checkpoint.save()
    arguments = [str(copy), "--out", str(tmp_path / "bundle"), "--quiet", "--no-timing", "--precision", "fp32"]
    refused = CliRunner().invoke(export_command, arguments)
    assert refused.exit_code == 3
    assert "the model has learnt nothing" in refused.stderr
    assert "--anyway" in refused.stderr
    assert leftovers(tmp_path) == ["run"]
    taken = CliRunner().invoke(export_command, [*arguments, "--anyway"])
    assert taken.exit_code == 0, taken.stderr
    assert (Bundle.open(tmp_path / "bundle").manifest.constant or {})["beaten"] is False
    assert "It has learnt nothing" in (tmp_path / "bundle" / "README.md").read_text()
