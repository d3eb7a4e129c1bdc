"""Golden logits are written with every checkpoint and compared before anything is measured or exported."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from export.pipeline import ExportJob, export
from tests.trainer import runs
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import ArtifactError
from trainer.contract.golden import Golden
from trainer.decide import DecideJob, decide
from trainer.evaluate import MeasureJob, measure
from trainer.network.load import open_checkpoint
from trainer.opening.golden import UNKNOWN, check_golden
from trainer.recipes.decisions_part import DecisionsPart
from trainer.recipes.file import load
from trainer.report.examples import explain_examples
from trainer.report.rows import SeenRow
from trainer.stages import train
from trainer.training import TrainJob

STAGE = {"epochs": 2, "batch": {"rows": 8, "tokens": 64}, "optimizer": {"learning_rate": 1.0e-2}}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "lora": {"lora": {"rank": 4, "dropout": 0.5}},
    "frozen_prefix": {"freeze": {"embeddings": True, "keep_last_layers": 1}},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the tiny recipe."""
    return run(tmp_path_factory.mktemp("golden"), {})


def run(folder: Path, stage: dict[str, Any]) -> Path:
    """Train the tiny recipe, its stage changed."""
    recipe = runs.write_recipe(folder, rows=240, stages=[{**STAGE, **stage}])
    train(TrainJob(recipe=load(recipe), out=folder / "run", quiet=True))
    return folder / "run"


@pytest.mark.parametrize("kind", KINDS)
def test_every_checkpoint_agrees_with_the_network_that_was_trained(kind: str, tmp_path: Path) -> None:
    """With adapters and frozen layers too, each checkpoint opens as the network that wrote it, within rounding."""
    folder = run(tmp_path, KINDS[kind])
    checkpoints = [Checkpoint.open(path) for path in (folder / "checkpoints").iterdir()]
    assert len(checkpoints) == 2
    for checkpoint in checkpoints:
        golden = Golden.open(checkpoint.path)
        assert golden is not None
        assert len(golden.texts) == 48  # all validation rows: there are fewer than 128
        assert golden.logits.std() > 0.1
        assert "golden rows: logits within" in check_golden(checkpoint, open_checkpoint(checkpoint.path).network)


def a_row(number: int) -> SeenRow:
    """A row of a split as a page sees it."""
    told = {"place": "x", "text": "x", "characters": 1, "labels": ("ham",), "predicted": ("ham",)}
    return SeenRow(id=number, loss=0.0, margin=0.0, probability=1.0, **told)  # type: ignore[arg-type]


def test_other_logits_stop_evaluate_and_export(trained: Path, tmp_path: Path) -> None:
    """Where the weights are read as another function, neither measures or writes anything, and the test split stays
    closed; nothing is decided and no row explained.
    """
    checkpoint = Checkpoint.best(trained)
    weights = load_file(checkpoint.path / "model.safetensors")
    as_trained = {name: tensor.clone() for name, tensor in weights.items()}
    weights["bert.embeddings.position_embeddings.weight"][2, 0] += 1.0
    save_file(weights, checkpoint.path / "model.safetensors")
    checkpoint.save()
    try:
        with pytest.raises(ArtifactError, match="another function here") as error:
            measure(MeasureJob(run=trained))
        assert "transformers" in str(error.value)
        assert not (trained / "test_opened.jsonl").exists()
        with pytest.raises(ArtifactError, match="another function here"):
            export(ExportJob(run=trained, out=tmp_path / "bundle", quiet=True))
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(ArtifactError, match="another function here"):
            decide(DecideJob(run=trained, asked=DecisionsPart(temperature=False)))
        with pytest.raises(ArtifactError, match="another function here"):
            explain_examples(trained / "splits" / "validation.jsonl", checkpoint, [a_row(0)], lambda _: None)
    finally:
        save_file(as_trained, checkpoint.path / "model.safetensors")
        checkpoint.save()
    assert "golden rows" in measure(MeasureJob(run=trained, split="validation"))["golden"]


def test_an_old_run_without_golden_logits_is_measured_and_told(trained: Path) -> None:
    """A checkpoint that never had the file opens, and it is said; one whose contract records it must have it."""
    checkpoint = Checkpoint.best(trained)
    path, contract = checkpoint.path / "golden.json", checkpoint.path / "contract.json"
    kept, recorded = path.read_bytes(), contract.read_bytes()
    path.unlink()
    try:
        with pytest.raises(ArtifactError, match="missing"):
            checkpoint.verify()
        content = json.loads(recorded)
        del content["sha256"]["golden.json"]
        contract.write_text(json.dumps(content), encoding="utf-8")
        assert measure(MeasureJob(run=trained, split="validation"))["golden"] == UNKNOWN
    finally:
        path.write_bytes(kept)
        contract.write_bytes(recorded)
