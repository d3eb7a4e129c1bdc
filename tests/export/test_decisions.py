"""What was decided in a run is what its bundle decides: in the manifest, in the golden rows and in scored rows."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export.bundle import Bundle, golden_logits
from export.inspect import describe
from export.pipeline import ExportJob, export
from export.proof.torch_logits import torch_logits
from export.trained_run import TrainedRun
from serve.scorer import Scorer
from tests.export.runs import make_run
from trainer.contract.checkpoint import DECISIONS, Checkpoint
from trainer.contract.errors import ArtifactError
from trainer.contract.figures.stamped import write_figures
from trainer.contract.labelled import LabelledRows
from trainer.contract.labels import Abstain, LabelSpace
from trainer.opening.checkpoint import open_network

SAID = "at most 2 % wrong among the 91 % answered, with 95 % confidence"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that decides by a temperature and thresholds and leaves about half of its rows unanswered."""
    folder = make_run(tmp_path_factory.mktemp("decided") / "run")
    checkpoint = Checkpoint.best(folder)
    labels = replace(checkpoint.contract.labels, temperature=1 / 0.7, thresholds=(1 - (0.1 + 0.2), 0.1 + 0.2))
    sure = labels.decode(logits(folder, checkpoint)).confidence
    labels = replace(labels, abstain=Abstain(below=float(np.median(sure)), error=0.02, level=0.95))
    decided = checkpoint.decide(labels)
    content = {
        "abstain": {"said": SAID},
        "promises": [],
        "curves": {"long": [0.0] * 1000},
        "chose_checkpoint": {"said": "The same rows chose the checkpoint."},
    }
    write_figures(folder / DECISIONS, content, decided)
    return folder


def logits(run: Path, checkpoint: Checkpoint) -> np.ndarray:
    """Torch's, of the validation rows one by one, [N, C]."""
    rows = LabelledRows.open(run / "splits" / "validation.jsonl", checkpoint.contract.labels)
    encoder = checkpoint.encoder()
    encoded = encoder.encode(rows.texts)
    batches = [encoder.pad(encoded, np.array([row])) for row in range(len(rows))]
    return np.concatenate(torch_logits(open_network(checkpoint.path), batches, lambda _rows: None))


def test_decisions_survive_export_and_scoring_byte_for_byte(run: Path, tmp_path: Path) -> None:
    """The manifest holds the labels as the contract does, digit by digit; rows are scored as torch's logits decode;
    what was shown stands in the manifest, the card and `inspect`; golden rows lie on both sides of the rule.
    """
    export(ExportJob(run=run, out=tmp_path / "bundle", precisions=("fp32",), timing=False, quiet=True))
    checkpoint, bundle = Checkpoint.best(run), Bundle.open(tmp_path / "bundle")
    files = (checkpoint.path / "contract.json", tmp_path / "bundle" / "manifest.json")
    kept = [json.dumps(json.loads(path.read_text())["contract"]["labels"]) for path in files]
    assert kept[0] == kept[1]
    space: LabelSpace = bundle.contract.labels
    assert space == checkpoint.contract.labels
    rows = LabelledRows.open(run / "splits" / "validation.jsonl", space)
    expected = space.decode(logits(run, checkpoint))
    with Scorer.open(tmp_path / "bundle", canary=True) as scorer:
        found = scorer.scores(rows.texts)
    # One row may lie on a boundary, where rounding decides.
    assert found.agreement(expected) >= 1 - 1 / len(rows)
    assert 0.3 < found.answered.mean() < 0.7
    assert bundle.manifest.decisions is not None
    assert bundle.manifest.decisions["abstain"]["said"] == SAID
    assert "curves" not in bundle.manifest.decisions
    assert SAID in (tmp_path / "bundle" / "README.md").read_text()
    assert SAID in describe(bundle.manifest)
    golden = space.decode(golden_logits(bundle.golden()))
    assert min(golden.answered.sum(), (~golden.answered).sum()) >= 8


def test_decisions_of_other_weights_are_not_exported(run: Path) -> None:
    """A decisions.json that was made of another contract ends the export, with what to do."""
    checkpoint = Checkpoint.best(run)
    labels = checkpoint.contract.labels
    try:
        checkpoint.decide(labels.undecided())
        with pytest.raises(ArtifactError, match="another hash of its contract") as caught:
            TrainedRun.open(run)
        assert "classifact decide RUN" in str(caught.value)
    finally:
        checkpoint.decide(labels)
