"""Parity figures and their gates, on logits made by hand."""

from dataclasses import replace

import numpy as np
import pytest

from export.proof.parity import ParityBounds, Truth, failures, gate, shown_drop
from trainer.contract.errors import ArtifactError, GateError
from trainer.contract.labels import LabelSpace

SPACE = LabelSpace(names=("ham", "spam"))
BOUNDS = ParityBounds(max_drop=0.005, min_agreement=0.98, max_difference=0.1)


def truth(rows: int = 200, metric: str = "accuracy") -> tuple[Truth, np.ndarray]:
    """A perfect classifier and its logits: half of the rows of each label."""
    labels = np.arange(rows) % 2
    logits = np.where(labels[:, None] == np.arange(2), 1.0, -1.0).astype(np.float32)
    return Truth.of(logits, labels, SPACE, metric), logits


def test_equal_logits() -> None:
    """The same logits agree fully, differ by nothing and drop nothing."""
    real, logits = truth()
    parity = real.compare(logits)
    assert (parity.label_agreement, parity.max_difference, parity.drop) == (1, 0, 0)
    assert (parity.drop_low, parity.drop_high) == (0, 0)
    assert failures(parity, BOUNDS) == []


def test_flipped_rows() -> None:
    """Ten flipped rows of 200 are 0.95 agreement and a drop of 0.05 whose interval holds it."""
    real, logits = truth()
    logits[:10] *= -1
    parity = real.compare(logits)
    assert parity.label_agreement == pytest.approx(0.95)
    assert parity.drop == pytest.approx(0.05)
    assert 0 < parity.drop_low < 0.05 < parity.drop_high < 0.1
    with pytest.raises(GateError, match="int8") as caught:
        gate("int8", parity, BOUNDS)
    assert all(word in caught.value.details["found"] for word in ("agreement", "probability", "drops"))
    assert caught.value.exit_code == 3


def test_a_drop_that_few_rows_cannot_show_passes() -> None:
    """One flipped row of 100 drops the metric by more than the bound and proves nothing; six flipped rows do."""
    real, logits = truth(rows=100)
    bounds = replace(BOUNDS, min_agreement=0.9, max_difference=1.0)
    one, six = logits.copy(), logits.copy()
    one[:1] *= -1
    six[:6] *= -1
    assert real.compare(one).drop > bounds.max_drop
    assert failures(real.compare(one), bounds) == []
    assert len(failures(real.compare(six), bounds)) == 1


def test_loss_is_better_when_lower() -> None:
    """Of a loss the sign is turned: a file with a larger loss has a positive drop."""
    real, logits = truth(metric="loss")
    parity = real.compare(logits / 2)
    assert parity.drop > 0.1
    assert parity.value > parity.torch_value


def test_one_row_may_fall_either_way() -> None:
    """A single disagreeing row of a small sample is no failure by itself; two are."""
    real, logits = truth(rows=40)
    parity = real.compare(logits)
    bounds = replace(BOUNDS, min_agreement=0.999)
    assert failures(replace(parity, label_agreement=39 / 40), bounds) == []
    assert failures(replace(parity, label_agreement=38 / 40), bounds) != []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_a_number(value: float) -> None:
    """A file that gives NaN or infinity for any row fails its gate."""
    real, logits = truth()
    logits[3, 1] = value
    with pytest.raises(GateError, match="not numbers"):
        real.compare(logits)


def test_undefined_metric() -> None:
    """A metric that has no value on these rows (a rank metric with one label only) is refused, not passed."""
    with pytest.raises(ArtifactError, match="roc_auc is undefined"):
        Truth.of(np.zeros((50, 2), dtype=np.float32), np.zeros(50, dtype=np.int64), SPACE, "roc_auc")


def test_what_few_rows_do_not_show_is_told_and_not_proven() -> None:
    """One flipped row of 200 passes the gate and fails to prove 0.005; the words say where the interval reaches."""
    real, logits = truth()
    logits[0] *= -1
    parity = real.compare(logits)
    loose = replace(BOUNDS, max_difference=1.0)
    assert failures(parity, loose) == []
    assert shown_drop(parity, 0.005) == f"not shown to be within 0.005: the interval reaches {parity.drop_high:.4f}"
    (found,) = failures(parity, replace(loose, prove=True))
    assert "not shown to be within 0.005" in found


@pytest.mark.parametrize(("rows", "proven"), [(32, False), (590, False), (610, True)])
def test_no_changed_row_proves_as_much_as_there_are_rows(rows: int, proven: bool) -> None:
    """A file whose probabilities moved and whose decisions did not has still lost up to three rows of N: 0.005 takes
    600 rows. The very same function needs none.
    """
    real, logits = truth(rows=rows)
    moved = replace(BOUNDS, max_difference=1.0, prove=True)
    assert (failures(real.compare(logits * 0.9), moved) == []) == proven
    assert failures(real.compare(logits), moved) == []
