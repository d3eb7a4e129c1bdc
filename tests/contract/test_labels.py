"""Names to ids and logits to decisions, held against torch and scipy."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax

from trainer.contract.errors import InputError
from trainer.contract.labels import Abstain, LabelSpace

NAMES = ("neutral", "joy", "anger")
SINGLE = LabelSpace(names=NAMES)
MULTI = LabelSpace(names=NAMES, kind="multi")
PAIR = ("ham", "spam")


def logits(rows: int = 200, columns: int = 3, scale: float = 5.0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Random logits [rows, columns]."""
    return (np.random.default_rng(0).normal(size=(rows, columns)) * scale).astype(np.float32)


@pytest.mark.parametrize(
    ("settings_", "match"),
    [
        ({"names": ("a",)}, "at least 2"),
        ({"names": (), "kind": "multi"}, "at least 1"),
        ({"names": ("a", "b", "a")}, "named twice"),
        ({"names": PAIR, "thresholds": (0.5,)}, "one a label"),
        ({"names": PAIR, "thresholds": (0.0, 1.0)}, "between 0 and 1"),
        ({"names": PAIR, "thresholds": (float("nan"), 0.5)}, "between 0 and 1"),
        ({"names": PAIR, "temperature": 0.0}, "positive"),
        ({"names": PAIR, "temperature": float("nan")}, "positive"),
        ({"names": PAIR, "temperature": float("inf")}, "positive"),
        ({"names": PAIR, "positive": "Spam"}, "did you mean 'spam'"),
    ],
)
def test_a_label_space_that_cannot_be_is_refused(settings_: dict[str, Any], match: str) -> None:
    """What no classifier can have is refused when the space is made, with the field's name."""
    with pytest.raises(ValueError, match=match):
        LabelSpace(**settings_)


@pytest.mark.parametrize(("name", "hint"), [("angr", "'anger'"), ("JOY", "'joy'"), ("neutral ", "'neutral'")])
def test_an_unknown_label_names_the_nearest(name: str, hint: str) -> None:
    """A misspelt label is an error with the label that was meant, whatever the case."""
    for space in (SINGLE, MULTI):
        with pytest.raises(InputError, match="not one of the labels") as caught:
            space.ids([["joy"], [name]])
        assert f"did you mean {hint}" in str(caught.value)


@pytest.mark.parametrize("row", [[], ["joy", "anger"], ["joy", "joy"]])
def test_a_single_label_row_has_exactly_one_label(row: list[str]) -> None:
    """No label, or two, is an error where one is expected; none is dropped without a word."""
    with pytest.raises(InputError, match="exactly one"):
        SINGLE.ids([["joy"], row])


@pytest.mark.parametrize("shape", [(3,), (2, 2), (2, 4), (1, 3, 1)])
def test_logits_of_another_width_are_refused(shape: tuple[int, ...]) -> None:
    """A model with another number of outputs cannot be decoded by accident of broadcasting."""
    with pytest.raises(ValueError, match=r"expected logits \[N, 3\]"):
        SINGLE.decode(np.zeros(shape, dtype=np.float32))


def test_names_become_ids() -> None:
    """Single-label rows are ids; multi-label rows are flags, with none, one or a repeated name."""
    assert SINGLE.ids([["anger"], ["neutral"]]).tolist() == [2, 0]
    assert MULTI.ids([["anger", "joy", "anger"], [], ["joy"]]).tolist() == [
        [False, True, True],
        [False] * 3,
        [False, True, False],
    ]
    assert (SINGLE.ids([]).shape, MULTI.ids([]).shape) == ((0,), (0, 3))


@pytest.mark.parametrize("temperature", [1.0, 0.25, 3.7])
def test_single_label_decode_is_torchs_softmax(temperature: float) -> None:
    """Probabilities are the softmax of the scaled logits and the decision is the largest."""
    scores = LabelSpace(names=NAMES, temperature=temperature).decode(logits())
    expected = torch.softmax(torch.tensor(logits()).double() / temperature, dim=1)
    np.testing.assert_allclose(scores.probabilities, expected.numpy(), rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(
        scores.probabilities, softmax(logits().astype(np.float64) / temperature, axis=1), rtol=1e-6, atol=1e-30
    )
    assert scores.decisions.tolist() == torch.tensor(logits()).argmax(dim=1).tolist()


@pytest.mark.parametrize("temperature", [1.0, 0.25, 3.7])
def test_multi_label_decode_is_torchs_sigmoid(temperature: float) -> None:
    """Probabilities are sigmoids and a label is given from 0.5 on."""
    scores = LabelSpace(names=NAMES, kind="multi", temperature=temperature).decode(logits())
    expected = torch.sigmoid(torch.tensor(logits()).double() / temperature)
    np.testing.assert_allclose(scores.probabilities, expected.numpy(), rtol=1e-6)
    np.testing.assert_allclose(scores.probabilities, expit(logits().astype(np.float64) / temperature), rtol=1e-6)
    assert np.array_equal(scores.decisions, logits() >= 0)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_extreme_logits_overflow_nowhere(kind: Literal["single", "multi"]) -> None:
    """Logits of 1e4 and of float32's limits give probabilities of 0 and 1, without a warning."""
    big = float(np.finfo(np.float32).max)
    scores = LabelSpace(names=PAIR, kind=kind).decode(
        np.array([[1e4, -1e4], [-big, big], [big, -big]], dtype=np.float32)
    )
    assert scores.probabilities.tolist() == [[1, 0], [0, 1], [1, 0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_logit_that_is_no_number_stays_in_its_row(bad: float) -> None:
    """NaN, and infinity in a softmax, give a NaN row for the scorer to reject, no warning, and touch no other row."""
    table = logits(3)
    clean = SINGLE.decode(table).probabilities
    table[1, 2] = bad
    found = SINGLE.decode(table).probabilities
    assert np.isnan(found[1]).any()
    assert np.array_equal(found[[0, 2]], clean[[0, 2]])
    assert np.isnan(MULTI.decode(np.full((1, 3), np.nan)).probabilities).all()


@settings(max_examples=300, deadline=None)
@given(first=st.floats(-30, 30, width=32), second=st.floats(-30, 30, width=32), threshold=st.floats(0.001, 0.999))
def test_two_labels_the_second_wins_from_its_threshold_on(first: float, second: float, threshold: float) -> None:
    """With thresholds (1 - t, t) the second label is decided exactly where its reported probability reaches t."""
    table = np.array([[first, second]], dtype=np.float32)
    scores = LabelSpace(names=PAIR, thresholds=(1 - threshold, threshold)).decode(table)
    assert scores.decisions[0] == int(float(scores.probabilities[0, 1]) >= threshold)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_a_probability_equal_to_its_threshold_reaches_it(kind: Literal["single", "multi"]) -> None:
    """A threshold chosen among reported probabilities counts the row that it was chosen from."""
    for row in range(50):
        table = logits(50, 2, scale=2.0)[row : row + 1]
        threshold = float(LabelSpace(names=PAIR, kind=kind).decode(table).probabilities[0, 1])
        scores = LabelSpace(names=PAIR, kind=kind, thresholds=(1 - threshold, threshold)).decode(table)
        assert (scores.decisions[0] if kind == "single" else scores.decisions[0, 1]) == 1


def test_thresholds_of_many_labels_weigh_them() -> None:
    """The label with the largest probability / threshold wins: equal thresholds change nothing, a low one helps."""
    equal = LabelSpace(names=NAMES, thresholds=(0.3, 0.3, 0.3)).decode(logits())
    assert np.array_equal(equal.decisions, SINGLE.decode(logits()).decisions)
    thresholds = (0.6, 0.3, 0.05)
    weighed = LabelSpace(names=NAMES, thresholds=thresholds).decode(logits())
    expected = [
        max(range(3), key=lambda label: row[label] / thresholds[label]) for row in weighed.probabilities.tolist()
    ]
    assert weighed.decisions.tolist() == expected
    assert (weighed.decisions == 2).sum() > (equal.decisions == 2).sum()


def test_multi_label_thresholds_are_each_labels_own() -> None:
    """Every label is held against its own threshold."""
    limits = (0.2, 0.5, 0.9)
    scores = LabelSpace(names=NAMES, kind="multi", thresholds=limits).decode(logits())
    assert np.array_equal(scores.decisions, scores.probabilities >= np.array(limits))


def test_agreement_counts_whole_rows() -> None:
    """A multi-label row agrees where all its labels do; no rows agree wholly."""
    left, right = np.array([[1.0, 1, 1], [1, 1, 1]]), np.array([[1.0, 1, 1], [1, 1, -1]])
    assert MULTI.decode(left).agreement(MULTI.decode(right)) == 0.5
    assert SINGLE.decode(logits(4)).agreement(SINGLE.decode(logits(4))) == 1.0
    assert SINGLE.decode(logits(0)).agreement(SINGLE.decode(logits(0))) == 1.0


@pytest.mark.parametrize(("positive", "expected"), [(None, 1), ("neutral", 0), ("anger", 2)])
def test_the_positive_label_is_the_second_unless_named(positive: str | None, expected: int) -> None:
    """F1 of one class is that of the second name by default; with a single name it is that one."""
    assert LabelSpace(names=NAMES, positive=positive).positive_id == expected
    assert LabelSpace(names=("toxic",), kind="multi").positive_id == 0


@pytest.mark.parametrize(
    ("settings_", "match"),
    [
        ({"names": PAIR, "costs": ((0.0, 1.0),)}, "2 rows of 2"),
        ({"names": PAIR, "costs": ((0.0, -1.0), (1.0, 0.0))}, "0 or more"),
        ({"names": PAIR, "costs": ((0.0, 1.0), (1.0, 0.0)), "thresholds": (0.5, 0.5)}, "in place of thresholds"),
        ({"names": PAIR, "costs": ((0.0, 1.0), (1.0, 0.0)), "kind": "multi"}, "single labels"),
    ],
)
def test_costs_that_cannot_be_are_refused(settings_: dict[str, Any], match: str) -> None:
    """Costs are a square of numbers of single labels, and nothing else decides beside them."""
    with pytest.raises(ValueError, match=match):
        LabelSpace(**settings_)


def test_the_least_expected_cost_wins() -> None:
    """A whole cost matrix decides as its definition says; equal costs decide as the largest probability does."""
    costs = ((0.0, 1.0, 9.0), (2.0, 0.0, 1.0), (5.0, 1.0, 0.0))
    scores = LabelSpace(names=NAMES, costs=costs).decode(logits())
    for row, decided in zip(scores.probabilities.tolist(), scores.decisions.tolist(), strict=True):
        expected = [sum(row[true] * costs[true][given] for true in range(3)) for given in range(3)]
        assert expected[decided] == pytest.approx(min(expected))
    even = LabelSpace(names=NAMES, costs=((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0))).decode(logits())
    assert np.array_equal(even.decisions, SINGLE.decode(logits()).decisions)
    assert not np.array_equal(scores.decisions, even.decisions)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_unsure_rows_are_not_answered_and_keep_all_else(kind: Literal["single", "multi"]) -> None:
    """A row abstains exactly where its confidence is below the rule's; probabilities and decisions stay."""
    plain = LabelSpace(names=NAMES, kind=kind)
    every, some = plain.decode(logits()), replace(plain, abstain=Abstain(below=0.9)).decode(logits())
    assert every.abstained is None
    assert every.answered.all()
    assert np.array_equal(some.probabilities, every.probabilities)
    assert np.array_equal(some.decisions, every.decisions)
    if kind == "single":
        sure = every.probabilities.max(axis=1).astype(np.float64)
    else:
        sure = np.array([min(max(p, 1 - p) for p in row) for row in every.probabilities.astype(float).tolist()])
    assert np.array_equal(some.answered, sure >= 0.9)
    assert 0 < some.answered.mean() < 1
    assert some.agreement(every) == some.answered.mean()


def test_a_confidence_is_that_of_the_decision() -> None:
    """A label that wins by its low threshold is as sure as its own probability, not as the largest one."""
    scores = LabelSpace(names=PAIR, thresholds=(0.8, 0.2)).decode(np.log(np.array([[0.7, 0.3]], dtype=np.float32)))
    assert (scores.decisions.tolist(), scores.confidence.tolist()) == ([1], [pytest.approx(0.3)])


@pytest.mark.parametrize(
    "settings_", [{"below": 1.5}, {"below": float("nan")}, {"below": 0.5, "error": 0.02}, {"below": 0.5, "level": 0.9}]
)
def test_a_rule_to_abstain_that_cannot_be_is_refused(settings_: dict[str, float]) -> None:
    """A confidence lies from 0 to 1, and a bound on the error is nothing without its confidence."""
    with pytest.raises(ValueError, match=r"below|belong together"):
        Abstain(**settings_)
