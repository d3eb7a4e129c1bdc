"""Every metric against scikit-learn."""

import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from trainer.contract.figures.metrics import METRICS, allowed, compute, compute_all, confusion, per_class, shown
from trainer.contract.labels import LabelSpace, Scores

Labels = np.ndarray[Any, Any]
# Labels, kind, rows, and whether the last label is absent.
CASES = [
    (2, "single", 200, False),
    (5, "single", 300, False),
    (5, "single", 40, True),
    (3, "single", 1, False),
    (4, "multi", 200, False),
    (4, "multi", 30, True),
    (1, "multi", 50, False),
]


def data(labels: int, kind: Any, rows: int, absent: bool) -> tuple[Scores, Labels, LabelSpace]:
    """Random logits, rounded so that many scores are tied, and labels that they tell something of."""
    random = np.random.default_rng(labels * 1000 + rows)
    space = LabelSpace(names=tuple(f"label{number}" for number in range(labels)), kind=kind)
    table = np.round(random.normal(size=(rows, labels)) * 2) / 2
    noisy = table + random.normal(size=table.shape)
    if absent:
        noisy[:, -1] = -1e9
    truth = noisy > 0.5 if kind == "multi" else noisy.argmax(axis=1)
    return space.decode(table), truth, space


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> tuple[Scores, Labels, LabelSpace]:
    """Scores, labels and space of one case."""
    return data(*request.param)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """scikit-learn warns where a metric is undefined; our side of those cases has tests of its own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"sklearn\..*")
        yield


def expected(name: str, scores: Scores, truth: Labels, space: LabelSpace) -> float:
    """scikit-learn's figure."""
    found, chances = scores.decisions, scores.probabilities.astype(np.float64)
    flags = truth if space.kind == "multi" else np.arange(len(space)) == truth[:, None]
    if name in ("precision", "recall", "f1"):
        function = getattr(sk, f"{name}_score")
        return float(function(truth, found, labels=[space.positive_id], average="macro", zero_division=0))
    if name.startswith("f1_"):
        return float(sk.f1_score(truth, found, average=name.removeprefix("f1_"), zero_division=0))
    if name in ("roc_auc", "average_precision"):
        function = sk.roc_auc_score if name == "roc_auc" else sk.average_precision_score
        chosen = [1] if space.kind == "single" and len(space) == 2 else range(len(space))
        return float(np.mean([function(flags[:, label], chances[:, label]) for label in chosen]))
    if name == "loss" and space.kind == "single":
        return float(sk.log_loss(truth, chances, labels=range(len(space))))
    if name == "loss":
        return float(
            np.mean([sk.log_loss(flags[:, label], chances[:, label], labels=[0, 1]) for label in range(len(space))])
        )
    return float({"accuracy": sk.accuracy_score, "mcc": sk.matthews_corrcoef}[name](truth, found))


def test_metrics_are_scikit_learns(case: tuple[Scores, Labels, LabelSpace]) -> None:
    """Every metric on random labels, with ties and absent classes, equals scikit-learn's, or is NaN where ranks are
    undefined (scikit-learn: NaN for roc_auc, 0 with a warning for average_precision).
    """
    scores, truth, space = case
    flags = truth if space.kind == "multi" else np.arange(len(space)) == truth[:, None]
    ranked = flags[:, 1:] if space.kind == "single" and len(space) == 2 else flags
    values = compute_all(scores, truth, space)
    assert list(values) == [name for name in METRICS if allowed(name, space)]
    for name, value in values.items():
        if name == "average_precision" and not ranked.any(axis=0).all():
            assert math.isnan(value)
        else:
            assert value == pytest.approx(expected(name, scores, truth, space), abs=1e-6, nan_ok=True), name


def test_no_rows_have_no_metrics() -> None:
    """Every metric of zero rows is NaN, with no warning and no crash, and so is its interval."""
    for kind in ("single", "multi"):
        scores, truth, space = data(3, kind, 0, False)
        assert all(math.isnan(value) for value in compute_all(scores, truth, space).values())
        assert confusion(scores, truth, space).sum() == 0


def test_nothing_to_divide_by_is_zero() -> None:
    """A class that is neither decided nor labelled has precision, recall and F1 of 0; a constant decision has MCC 0."""
    space = LabelSpace(names=("a", "b"))
    scores = space.decode(np.tile([1.0, 0.0], (4, 1)))
    truth = np.zeros(4, dtype=np.int64)
    assert [compute(name, scores, truth, space) for name in ("precision", "recall", "f1", "mcc")] == [0, 0, 0, 0]
    assert compute("accuracy", scores, truth, space) == 1
    assert math.isnan(compute("roc_auc", scores, truth, space))


def test_a_sure_mistake_costs_a_finite_loss() -> None:
    """A probability of 0 for the right label costs a large but finite loss, and one just short of it no more."""
    space = LabelSpace(names=("a", "b"), kind="multi")
    losses = [
        compute("loss", space.decode(np.full((1, 2), logit)), np.zeros((1, 2), dtype=bool), space)
        for logit in (16, 18, 500)
    ]
    assert losses == sorted(losses)
    assert losses[0] == pytest.approx(16, abs=0.3)
    assert losses[2] < 18
    single = LabelSpace(names=("a", "b"))
    assert compute("loss", single.decode(np.array([[0.0, 60.0]])), np.array([0]), single) == pytest.approx(60, rel=1e-5)


def test_metrics_of_one_class_need_single_labels() -> None:
    """Precision, recall, F1 and MCC are not offered for multi-label rows, and no name outside the list is."""
    multi, single = LabelSpace(names=("a", "b"), kind="multi"), LabelSpace(names=("a", "b"))
    assert [name for name in METRICS if not allowed(name, multi)] == ["precision", "recall", "f1", "mcc"]
    assert all(allowed(name, single) for name in METRICS)
    assert not allowed("f2", single)


def test_the_positive_label_can_be_named() -> None:
    """With `positive` the figures are that label's, those of ranks too."""
    scores, truth, _ = data(2, "single", 200, False)
    space = LabelSpace(names=("label0", "label1"), positive="label0")
    assert compute("f1", scores, truth, space) == pytest.approx(sk.f1_score(truth, scores.decisions, pos_label=0))
    assert compute("average_precision", scores, truth, space) == pytest.approx(
        sk.average_precision_score(truth == 0, scores.probabilities[:, 0]), abs=1e-6
    )


def test_per_class_and_confusion_are_scikit_learns(case: tuple[Scores, Labels, LabelSpace]) -> None:
    """Each label's figures and the tables of mistakes."""
    scores, truth, space = case
    labels = list(range(len(space)))
    table = sk.precision_recall_fscore_support(truth, scores.decisions, labels=labels, zero_division=0)
    rows = per_class(scores, truth, space)
    if len(space) > 1:
        for place, key in enumerate(("precision", "recall", "f1", "support")):
            assert [row[key] for row in rows] == pytest.approx(table[place].tolist())
    assert [row["label"] for row in rows] == list(space.names)
    if space.kind == "single":
        assert np.array_equal(
            confusion(scores, truth, space), sk.confusion_matrix(truth, scores.decisions, labels=labels)
        )
    elif len(space) > 1:
        assert np.array_equal(confusion(scores, truth, space), sk.multilabel_confusion_matrix(truth, scores.decisions))


def test_a_figure_for_a_person_has_no_negative_zero() -> None:
    """What rounds to nothing is 0.0000, on whichever side of it the figure lies; NaN is undefined."""
    assert [shown(value) for value in (-1e-9, 1e-9, -0.0, -0.12345)] == ["0.0000", "0.0000", "0.0000", "-0.1235"]
    assert shown(float("nan")) == shown(None) == "undefined"
