"""The canary fails where a machine, a graph, golden rows or a tokenizer are not those of the export."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.bundle import GOLDEN, Bundle, golden_logits
from export.proof.golden import NEAR_ROWS, decisions_and_margins
from serve import Scorer
from serve.operations.check import check
from serve.scoring.session import Session
from tests.serve import bundles
from trainer.contract.errors import ArtifactError, GateError
from trainer.contract.labels import LabelSpace

Change = Callable[[np.ndarray], np.ndarray]
# Drawn anew for each batch, so that rows are not all moved alike.
NOISE = np.random.default_rng(0)
CHANGES: dict[str, Change] = {
    "halved": lambda logits: logits / 2,
    "tripled": lambda logits: logits * 3,
    "noise": lambda logits: logits + NOISE.normal(0, 0.5, logits.shape).astype(np.float32),
    "two labels swapped": lambda logits: logits[:, [1, 0, *range(2, logits.shape[1])]],
    "not a number": lambda logits: logits * np.float32("nan"),
}
PRECISIONS = pytest.mark.parametrize("precision", ["fp32", "int8"])


@pytest.fixture(params=["single", "multi"])
def bundle(request: pytest.FixtureRequest) -> Path:
    """A bundle of either kind of labels."""
    path: Path = request.getfixturevalue(request.param)
    return path


@PRECISIONS
def test_the_machine_of_the_export_passes(bundle: Path, precision: str) -> None:
    """Where nothing changed, logits are those of the export: the bound is for other machines alone."""
    with Scorer.open(bundle, precision=precision, canary=True) as scorer:
        found = check(scorer)
    assert found.passed
    assert found.logit_difference <= 1e-5


@PRECISIONS
@pytest.mark.parametrize("change", CHANGES)
def test_a_machine_that_computes_otherwise_is_caught(
    bundle: Path, precision: str, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session whose logits are halved, tripled, noisy, in another order or no numbers fails, in Python as well."""
    run = Session.run
    monkeypatch.setattr(Session, "run", lambda self, batch: CHANGES[change](run(self, batch)))
    with pytest.raises(GateError, match="golden rows"):
        Scorer.open(bundle, precision=precision, canary=True)
    with Scorer.open(bundle, precision=precision) as scorer:
        assert not check(scorer).passed


def _changed(bundle: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy with golden rows of another content."""
    copy = Path(shutil.copytree(bundle, folder / "copy"))
    rows = [json.loads(line) for line in (copy / GOLDEN).read_text().splitlines()]
    for row in rows:
        change(row)
    (copy / GOLDEN).write_text("".join(json.dumps(row) + "\n" for row in rows))
    bundles.reseal(copy, Bundle.open(bundle).contract)
    return copy


@PRECISIONS
@pytest.mark.parametrize("change", [name for name in CHANGES if name != "not a number"])
@pytest.mark.parametrize("whose", ["torch", "the file"])
def test_golden_rows_of_another_model_are_caught(
    bundle: Path, tmp_path: Path, precision: str, change: str, whose: str
) -> None:
    """Torch's golden logits, and the file's own, each halved, tripled, noisy or swapped: the bundle does not pass."""

    def edit(row: dict[str, Any]) -> None:
        part, key = (row, "logits") if whose == "torch" else (row["files"], precision)
        part[key] = CHANGES[change](np.array([part[key]]))[0].tolist()

    with Scorer.open(_changed(bundle, tmp_path, edit), precision=precision) as scorer:
        assert not check(scorer).passed


@PRECISIONS
def test_another_tokenizer_is_caught(bundle: Path, tmp_path: Path, precision: str) -> None:
    """A tokenizer that gives two words each other's number is caught, though every hash is right."""
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    words["the"], words["you"] = words["you"], words["the"]
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    bundles.reseal(copy, Bundle.open(bundle).contract)
    with pytest.raises(GateError, match="other tokens"):
        Scorer.open(copy, precision=precision, canary=True)


def test_a_manifest_cannot_loosen_the_bound(single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound of any size is capped at a share of the golden logits."""
    copy = Path(shutil.copytree(single, tmp_path / "copy"))
    data = json.loads((copy / "manifest.json").read_text())
    data["graphs"]["int8"]["golden"] = {"logits": 99, "probabilities": 1, "from_torch": 99, "agreement": 0}
    (copy / "manifest.json").write_text(json.dumps(data))
    run = Session.run
    monkeypatch.setattr(Session, "run", lambda self, batch: run(self, batch) * 0.8)
    with pytest.raises(GateError):
        Scorer.open(copy, precision="int8", canary=True)


def test_no_golden_row_is_an_error(single: Path, tmp_path: Path) -> None:
    """A bundle without a golden row cannot be checked, and is refused, not passed."""
    copy = Path(shutil.copytree(single, tmp_path / "copy"))
    (copy / GOLDEN).write_text("")
    bundles.reseal(copy, Bundle.open(single).contract)
    with pytest.raises(ArtifactError, match="no golden row"):
        Scorer.open(copy, canary=True)


def test_golden_rows_lie_near_decisions(bundle: Path) -> None:
    """For each label, the rows of 200 nearest to its decision on either side are golden, beside rows of all lengths."""
    opened = Bundle.open(bundle)
    space = opened.contract.labels
    golden = {row.text for row in opened.golden()}
    texts = bundles.texts(200, seed=1)
    folder = bundle.parent / f"{bundle.name}-checkpoint"
    given, distance = decisions_and_margins(space.decode(bundles.torch_logits(folder, opened.encoder(), texts)), space)
    for label in range(len(space)):
        for side in (given[:, label], ~given[:, label]):
            nearest = np.flatnonzero(side)[np.argsort(distance[side, label])][: NEAR_ROWS // 6]
            assert {texts[row] for row in nearest} <= golden
    lengths = opened.encoder().encode(texts).lengths
    found = opened.encoder().encode(sorted(golden)).lengths
    assert (found.min(), found.max()) == (lengths.min(), lengths.max())
    assert golden_logits(opened.golden()).shape == (len(golden), 3)


@pytest.mark.parametrize("thresholds", [None, (0.2, 0.3, 0.5)])
@pytest.mark.parametrize("kind", ["single", "multi"])
def test_distance_to_a_decision(kind: Any, thresholds: tuple[float, ...] | None) -> None:
    """Where a row's distance for a label is nothing, the smallest push of that label's logit changes its decision."""
    space = LabelSpace(names=("a", "b", "c"), kind=kind, thresholds=thresholds)
    logits = np.random.default_rng(0).normal(0, 2, (500, 3)).astype(np.float32)
    given, distance = decisions_and_margins(space.decode(logits), space)
    for label in range(3):
        pushed = logits.copy()
        pushed[:, label] += np.where(given[:, label], -1, 1) * (distance[:, label] + 1e-3)
        assert (decisions_and_margins(space.decode(pushed), space)[0][:, label] != given[:, label]).all()
        pushed[:, label] -= np.where(given[:, label], -1, 1) * 2e-3
        assert (decisions_and_margins(space.decode(pushed), space)[0][:, label] == given[:, label]).all()
