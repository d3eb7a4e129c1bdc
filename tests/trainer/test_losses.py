"""Losses: summed, divided by the whole batch's weight, so that cutting a batch changes nothing."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from trainer.contract.errors import InputError
from trainer.contract.labels import LabelSpace
from trainer.losses import Loss
from trainer.recipes.recipe import LossPart

SINGLE = LabelSpace(names=("a", "b", "c"))
MULTI = LabelSpace(names=("a", "b", "c"), kind="multi")
LABELS = np.array([0, 0, 0, 1, 2, 2])
FLAGS = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 0, 1]], dtype=bool)


def mean(loss: Loss, logits: torch.Tensor, labels: np.ndarray) -> float:
    """What a step reports for these rows."""
    return float(loss.total(logits, torch.from_numpy(labels))) / loss.normaliser(labels)


@pytest.mark.parametrize(
    "part", [LossPart(), LossPart(weights="balanced"), LossPart(label_smoothing=0.1), LossPart(focal=2.0)]
)
@pytest.mark.parametrize(("space", "labels"), [(SINGLE, LABELS), (MULTI, FLAGS)])
def test_a_batch_cut_in_two_has_the_same_loss(part: LossPart, space: LabelSpace, labels: np.ndarray) -> None:
    """The totals of the parts, divided by the whole's normaliser, add up to the loss of the whole."""
    logits = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(0))
    loss = Loss(part, space, labels)
    parts = sum(
        float(loss.total(logits[rows], torch.from_numpy(labels[rows]))) for rows in (slice(0, 1), slice(1, None))
    )
    assert parts / loss.normaliser(labels) == pytest.approx(mean(loss, logits, labels), rel=1e-5)


def test_balanced_weights_are_scikit_learns() -> None:
    """Balanced cross-entropy equals torch's weighted mean with scikit-learn's balanced weights."""
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor(compute_class_weight("balanced", classes=np.arange(3), y=LABELS), dtype=torch.float32)
    expected = functional.cross_entropy(logits, torch.from_numpy(LABELS), weight=weights)
    assert mean(Loss(LossPart(weights="balanced"), SINGLE, LABELS), logits, LABELS) == pytest.approx(
        float(expected), rel=1e-5
    )


def test_balanced_weights_of_multi_label_are_per_label() -> None:
    """A label given to one row of four weighs its positives three times, one given to three rows a third."""
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    expected = functional.binary_cross_entropy_with_logits(
        logits, torch.from_numpy(FLAGS).float(), pos_weight=torch.tensor([1 / 3, 3.0, 3.0])
    )
    assert mean(Loss(LossPart(weights="balanced"), MULTI, FLAGS), logits, FLAGS) == pytest.approx(
        float(expected), rel=1e-5
    )


def test_focal_loss_is_the_published_formula() -> None:
    """Each row's cross-entropy times (1 - p)^gamma, p its true label's probability."""
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    right = logits.softmax(1)[torch.arange(6), torch.from_numpy(LABELS)]
    expected = (-((1 - right) ** 2) * right.log()).mean()
    assert mean(Loss(LossPart(focal=2.0), SINGLE, LABELS), logits, LABELS) == pytest.approx(float(expected), rel=1e-5)


def test_given_weights_are_by_name() -> None:
    """A named label gets its weight, the others 1; a name that is no label is refused with the nearest."""
    loss = Loss(LossPart(weights={"b": 4.0}), SINGLE, LABELS)
    assert loss.normaliser(LABELS) == 9.0
    space = LabelSpace(names=("cardio", "neuro"))
    with pytest.raises(InputError, match="not a label") as error:
        Loss(LossPart(weights={"nuero": 2.0}), space, np.array([0, 1]))
    assert "did you mean 'neuro'?" in str(error.value)


@pytest.mark.parametrize("space", [SINGLE, MULTI])
@pytest.mark.parametrize("focal", [0.5, 1.0, 2.0])
def test_a_focal_loss_has_a_slope_where_a_row_is_quite_right(space: LabelSpace, focal: float) -> None:
    """A row whose probability reads 1 adds nothing, and its gradient is 0 and not NaN."""
    labels = np.array([0]) if space is SINGLE else np.array([[True, False, False]])
    logits = torch.tensor([[200.0, -200.0, -200.0]], requires_grad=True)
    Loss(LossPart(focal=focal), space, labels).total(logits, torch.from_numpy(labels)).backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros(1, 3))


@pytest.mark.parametrize(
    "part",
    [
        LossPart(),
        LossPart(weights="balanced"),
        LossPart(weights={"b": 4.0}),
        LossPart(label_smoothing=0.1),
        LossPart(weights="balanced", label_smoothing=0.2),
    ],
)
@pytest.mark.parametrize(("space", "labels"), [(SINGLE, LABELS), (MULTI, FLAGS)])
def test_no_other_constant_has_a_smaller_loss(part: LossPart, space: LabelSpace, labels: np.ndarray) -> None:
    """The constant logits are the minimum over all constants: a search by gradient from there finds none lower."""
    loss = Loss(part, space, labels)
    logits = loss.constant().clone().requires_grad_()
    found = loss.total(logits.expand(len(labels), 3), torch.from_numpy(labels)) / loss.normaliser(labels)
    assert float(found.detach()) == pytest.approx(loss.of_shares(), rel=1e-5)
    (gradient,) = torch.autograd.grad(found, logits)
    assert float(gradient.abs().max()) < 1e-5


def test_the_loss_of_the_shares_has_the_focal_factor() -> None:
    """With a focal factor the loss of the label shares is the mean over the rows, factor included."""
    loss = Loss(LossPart(focal=2.0), SINGLE, LABELS)
    expected = mean(loss, loss.constant().expand(6, 3), LABELS)
    assert loss.of_shares() == pytest.approx(expected, rel=1e-5)


def test_a_label_that_every_row_has_keeps_finite_logits() -> None:
    """Labels of all rows, or of none, start at large and finite log-odds."""
    flags = np.tile([True, False, True], (10, 1))
    found = Loss(LossPart(), MULTI, flags).constant()
    assert torch.isfinite(found).all()
    assert found[0] > 2 > -2 > found[1]
