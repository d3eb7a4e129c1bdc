"""Temperature, thresholds and promises, on rows whose truth is known."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import beta
from sklearn.metrics import f1_score, log_loss

from tests.trainer.deciding.rows import TEMPERATURE, Population, is_given
from trainer.contract.errors import GateError, InputError
from trainer.contract.figures.exact import at_most
from trainer.contract.labelled import LabelledRows
from trainer.contract.labels import Abstain, LabelSpace, Scores
from trainer.deciding.asked import parse
from trainer.deciding.chosen import planned
from trainer.deciding.fit import cross_fitted, decide_on, shared_out
from trainer.deciding.gains import gains
from trainer.deciding.parts import Rows
from trainer.deciding.temperature import fit_temperature
from trainer.deciding.thresholds import best_f1
from trainer.evaluation.calibration import Binned
from trainer.evaluation.groups import Groups
from trainer.evaluation.measured import Measured
from trainer.recipes.decisions_part import DecisionsPart
from trainer.recipes.recipe import Stage

PAIR = Population.of(LabelSpace(names=("ham", "spam")))
THREE = Population.of(LabelSpace(names=("a", "b", "c")))
MULTI = Population.of(LabelSpace(names=("a", "b", "c"), kind="multi"))
ALL = pytest.mark.parametrize("population", [PAIR, THREE, MULTI], ids=["two", "three", "multi"])
SPLITS = 200


def error(scores: Scores, rows: Rows, space: LabelSpace) -> float:
    """The calibration error."""
    return float(Binned.of(Measured(scores=scores, labels=rows.labels, space=space)).ece()[0])


@ALL
def test_temperature_mends_what_is_too_sure_and_changes_no_decision(population: Population) -> None:
    """The temperature that the labels were drawn with is found, calibration error falls by more than half on rows that
    it was not fitted on, and every decision stays.
    """
    space, rows = population.space, population.sample(2000, seed=1)
    asked = DecisionsPart()
    found = decide_on(asked, rows, space).labels
    assert found.temperature == pytest.approx(TEMPERATURE, rel=0.15)
    before, after = space.decode(population.rows.logits), found.decode(population.rows.logits)
    assert np.array_equal(before.decisions, after.decisions)
    errors = [error(scores, population.rows, space) for scores in (before, after)]
    assert errors[1] < errors[0] / 2
    held = cross_fitted(asked, rows, space)
    errors = [error(scores, rows, space) for scores in (space.decode(rows.logits), held)]
    assert errors[1] < errors[0] / 2


@ALL
def test_the_temperature_is_that_of_the_least_loss(population: Population) -> None:
    """A general minimizer of the likelihood finds the same number."""
    rows = population.sample(400, seed=2)

    def loss(temperature: float) -> float:
        scaled = rows.logits.astype(np.float64) / temperature
        if population.space.kind == "multi":
            return float(np.logaddexp(0, np.where(rows.labels, -scaled, scaled)).mean())
        scaled -= scaled.max(axis=1, keepdims=True)
        return float(log_loss(rows.labels, np.exp(scaled) / np.exp(scaled).sum(axis=1, keepdims=True)))

    expected = minimize_scalar(loss, bounds=(0.5, 10), method="bounded", options={"xatol": 1e-9}).x
    assert fit_temperature(rows, population.space)[0] == pytest.approx(expected, rel=1e-5)


def test_rows_without_an_error_fit_no_temperature() -> None:
    """Where every row is right, the likelihood asks for endless sureness: the temperature stays 1, and it is said."""
    logits = np.tile(np.array([[1.0, -1.0]], dtype=np.float32), (60, 1))
    rows = Rows(logits=logits, labels=np.zeros(60, dtype=np.int64), keys=np.arange(60, dtype=np.uint64))
    temperature, said = fit_temperature(rows, PAIR.space)
    assert temperature == 1
    assert "stays 1" in said


@pytest.mark.parametrize(
    ("asked", "rows", "match"),
    [
        (DecisionsPart(), 49, "a temperature needs 50 validation rows to fit it on; there are 49"),
        (
            DecisionsPart(temperature=False, abstain=0.02),
            90,
            "2 % needs 149 tested rows without an error; there are 60",
        ),
        (DecisionsPart(temperature=False, precision={"spam": 0.9}), 60, r"10 % needs 29 .* of 'spam' .*; there are"),
        (DecisionsPart(temperature=False, recall={"spam": 0.95}), 60, r"5 % needs 59 .* of 'spam' .*; there are"),
        (DecisionsPart(precision={"Spam": 0.9}), 600, "did you mean 'spam'"),
        (DecisionsPart(precision={"spam": 0.9, "ham": 0.9}), 600, "can be promised of one"),
        (DecisionsPart(precision={"spam": 0.9}, thresholds="f1"), 600, "one threshold decides"),
        (DecisionsPart(costs={"spam": {"egg": 2.0}}), 600, "there is no 'egg'"),
        (DecisionsPart(costs={"spam": {"ham": 0.0}}), 600, "costs nothing"),
        (DecisionsPart(costs={"Spam": {"ham": 2.0}}), 600, "did you mean 'spam'"),
        (DecisionsPart(costs={"spam": {"spam": 2.0}}), 600, "to decide 'spam' for 'spam' is no mistake"),
    ],
)
def test_what_rows_cannot_show_is_refused_by_number(asked: DecisionsPart, rows: int, match: str) -> None:
    """Too few rows, labels and combinations that cannot be: an error that says how many, or which, before there are
    logits.
    """
    sample = PAIR.sample(rows, seed=3)
    with pytest.raises(InputError, match=match):
        shared_out(asked, replace(sample, logits=np.empty((len(sample), 0), dtype=np.float32)), PAIR.space)
    with pytest.raises(InputError, match=match):
        decide_on(asked, sample, PAIR.space)


@pytest.mark.parametrize("costs", [{"a": {"b": 0.0}}, {"a": {"a": 3.0}}])
def test_costs_of_many_single_labels_are_of_mistakes(costs: dict[str, dict[str, float]]) -> None:
    """With more than two labels too, a right answer and a mistake that costs nothing are refused."""
    with pytest.raises(InputError, match="is no mistake"):
        decide_on(DecisionsPart(costs=costs), THREE.sample(600, seed=3), THREE.space)


def test_more_checkpoints_need_more_rows() -> None:
    """Rows that chose among three checkpoints need 203 of them for 2 %, where 149 do for one."""
    asked, rows = DecisionsPart(temperature=False, abstain=0.02), PAIR.sample(300, seed=4)
    with pytest.raises(InputError, match="needs 203 tested rows"):
        decide_on(asked, rows, PAIR.space, checkpoints=3)


def test_an_error_that_is_not_shown_is_a_gate() -> None:
    """A model without any sure row can promise nothing: exit code 3, with what was seen."""
    rows = PAIR.sample(600, seed=5)
    coin = Rows(logits=np.zeros_like(rows.logits), labels=rows.labels, keys=rows.keys)
    with pytest.raises(GateError, match="not shown: at most 5 % wrong"):
        decide_on(DecisionsPart(temperature=False, abstain=0.05), coin, PAIR.space)


@pytest.mark.parametrize(
    ("population", "asked"),
    [
        (PAIR, DecisionsPart(abstain=0.05)),
        (THREE, DecisionsPart(abstain=0.1)),
        (MULTI, DecisionsPart(abstain=0.1, thresholds="f1")),
    ],
    ids=["two", "three", "multi"],
)
def test_a_promised_error_is_broken_in_at_most_one_of_twenty_splits(
    population: Population, asked: DecisionsPart
) -> None:
    """Over 200 drawn splits the error among the answered, of the whole population, is above the promise in at most 5 %;
    a threshold chosen by the raw rate on all the rows breaks it in more than 30 %.
    """
    promised, raw, covered = 0, 0, list[float]()
    for seed in range(SPLITS):
        rows = population.sample(600, seed=1000 + seed)
        naive = _by_raw_rate(rows, population.space, asked.abstain or 0)
        raw += population.wrong(naive) > (asked.abstain or 0)
        try:
            found = decide_on(asked, rows, population.space).labels
        except GateError:
            continue
        covered.append(float(found.decode(population.rows.logits).answered.mean()))
        promised += population.wrong(found) > (asked.abstain or 0)
    assert promised <= 0.05 * SPLITS
    assert raw > 0.3 * SPLITS
    # The promise is not kept by answering nothing.
    assert len(covered) > 0.6 * SPLITS
    assert np.mean(covered) > 0.2


def _by_raw_rate(rows: Rows, space: LabelSpace, error: float) -> LabelSpace:
    """The boldest confidence whose error on these rows is within the promise."""
    scores = space.decode(rows.logits)
    order = np.argsort(-scores.confidence)
    rates = np.cumsum(~scores.right(rows.labels)[order]) / np.arange(1, len(rows) + 1)
    below = scores.confidence[order][np.flatnonzero(rates <= error).max(initial=0)]
    return LabelSpace(names=space.names, kind=space.kind, abstain=Abstain(below=float(below)))


@pytest.mark.parametrize("figure", ["precision", "recall"])
@pytest.mark.parametrize("population", [PAIR, THREE, MULTI], ids=["two", "three", "multi"])
def test_promised_precision_and_recall_hold(population: Population, figure: str) -> None:
    """Over 60 drawn splits the population's figure is below the promise in at most three more than 5 % of them."""
    name, label = population.space.names[1], 1
    asked = parse({figure: (f"{name}=0.85",)})
    assert asked is not None
    broken, shown = 0, 0
    true = population.rows.labels[:, label] if population.space.kind == "multi" else population.rows.labels == label
    for seed in range(60):
        try:
            found = decide_on(asked, population.sample(500, seed=5000 + seed), population.space).labels
        except GateError:
            continue
        shown += 1
        given = is_given(found, population.rows, label)
        of = given if figure == "precision" else true
        broken += (given & true).sum() / of.sum() < 0.85
    assert shown > 30
    assert broken <= 6


def test_f1_thresholds_are_the_best_there_are() -> None:
    """Of several labels each, and of two the positive one's: no threshold between two scores has a better F1, by
    scikit-learn.
    """
    for population in (PAIR, MULTI):
        space, rows = population.space, population.sample(150, seed=6)
        found, _ = best_f1(rows, space, [0, 1, 2][: len(space)])
        for label in [space.positive_id] if space.kind == "single" else range(len(space)):
            true = rows.labels[:, label] if space.kind == "multi" else rows.labels == label
            scores = space.decode(rows.logits).probabilities[:, label]
            best = max(f1_score(true, scores >= limit, zero_division=0.0) for limit in scores)
            assert f1_score(true, is_given(found, rows, label)) == pytest.approx(best, abs=0.008)


def test_more_than_two_single_labels_gain_in_mean_f1() -> None:
    """A rare label that the largest probability never gives is given, and the mean F1 on new rows rises."""
    generator = np.random.default_rng(7)
    labels = generator.choice(3, 3000, p=[0.5, 0.42, 0.08])
    logits = generator.normal(size=(3000, 3)) + 1.5 * np.eye(3)[labels] + np.log([0.5, 0.42, 0.08])
    rows = Rows(logits=logits.astype(np.float32), labels=labels, keys=np.arange(3000, dtype=np.uint64))
    fitted, new = rows.take(np.arange(3000) < 1500), rows.take(np.arange(3000) >= 1500)
    found, thresholds = best_f1(fitted, THREE.space, [0, 1, 2])
    values = [
        f1_score(new.labels, space.decode(new.logits).decisions, average="macro") for space in (THREE.space, found)
    ]
    assert values[1] > values[0] + 0.005
    assert [each.rule for each in thresholds] == ["f1"] * 3


def test_a_label_of_few_rows_keeps_the_usual_threshold() -> None:
    """A label with 9 rows is not fitted, and the note says how many are needed."""
    rows = MULTI.sample(300, seed=8)
    labels = rows.labels.copy()
    labels[:, 2] = np.arange(300) < 9
    found, thresholds = best_f1(Rows(logits=rows.logits, labels=labels, keys=rows.keys), MULTI.space, [0, 1, 2])
    assert found.thresholds is not None
    assert (found.thresholds[2], thresholds[2].rule) == (0.5, "usual")
    assert "9 of 300 rows; 10" in str(thresholds[2].note)


@pytest.mark.parametrize(
    ("population", "costs"),
    [
        (PAIR, {"ham": {"spam": 9.0}}),
        (THREE, {"a": {"b": 9.0, "c": 3.0}, "b": {"a": 0.5}}),
        (MULTI, {"a": {"missed": 4.0}, "c": {"false": 9.0}}),
    ],
    ids=["two", "three", "multi"],
)
def test_costs_are_the_least_that_can_be_expected(population: Population, costs: dict[str, Any]) -> None:
    """Decisions by costs cost less on the population than those without, and no other fixed shift does better."""
    space = population.space
    found = decide_on(DecisionsPart(costs=costs), population.sample(2000, seed=9), space).labels
    cost = _cost(population, costs)
    assert cost(found) < cost(space)
    if space.kind == "single" and len(space) == 2:
        limits = np.linspace(0.02, 0.98, 49)
        best = min(cost(LabelSpace(names=space.names, temperature=TEMPERATURE, thresholds=(1 - t, t))) for t in limits)
        assert cost(found) <= best * 1.03


def _cost(population: Population, costs: dict[str, Any]) -> Callable[[LabelSpace], float]:
    names, labels = population.space.names, population.rows.labels

    def cost(space: LabelSpace) -> float:
        decided = space.decode(population.rows.logits).decisions
        if space.kind == "multi":
            each = [costs.get(name, {}) for name in names]
            missed, false = (np.array([one.get(kind, 1.0) for one in each]) for kind in ("missed", "false"))
            return float((missed * (labels & ~decided) + false * (decided & ~labels)).sum(axis=1).mean())
        matrix = np.array([[costs.get(true, {}).get(given, float(true != given)) for given in names] for true in names])
        return float(matrix[labels, decided].mean())

    return cost


def test_equal_texts_lie_in_one_part() -> None:
    """Repeated rows never stand on both sides of a split, whatever their order, and the parts have their sizes."""
    rows = PAIR.sample(300, seed=10)
    twice = Rows(
        logits=np.concatenate([rows.logits] * 2),
        labels=np.concatenate([rows.labels] * 2),
        keys=np.concatenate([rows.keys] * 2),
    )
    first, second = twice.parts([1 / 3, 2 / 3])
    assert not {*first.keys.tolist()} & {*second.keys.tolist()}
    assert (len(first), len(second)) == (200, 400)
    assert np.array_equal(twice.folds()[:300], twice.folds()[300:])


def test_the_chance_of_few_errors_is_scipys() -> None:
    """P(X <= k) of a binomial, by the incomplete beta function."""
    for wrong, rows, rate in ((0, 10, 0.1), (3, 40, 0.2), (40, 40, 0.5), (7, 400, 0.01)):
        expected = 1.0 if wrong == rows else beta.sf(rate, wrong + 1, rows - wrong)
        assert at_most(wrong, rows, rate) == pytest.approx(expected, rel=1e-9)


def test_options_are_the_recipes_part() -> None:
    """What the command line says is what the recipe would; nothing said is nothing, what is no number is refused."""
    assert parse({}) is None
    assert parse({"cost": ("ham:spam=10", "a:b:c=2"), "abstain": 0.1, "temperature": False}) == DecisionsPart(
        costs={"ham": {"spam": 10.0}, "a:b": {"c": 2.0}}, abstain=0.1, temperature=False
    )
    assert parse({"recall": ("a=b=0.9",)}) == DecisionsPart(recall={"a=b": 0.9})
    for wrong in ({"cost": ("spam=1",)}, {"precision": ("spam",)}, {"precision": ("spam=1.5",)}, {"abstain": 2.0}):
        with pytest.raises(ValueError, match=r"expected"):
            parse(wrong)
    with pytest.raises(ValueError, match="one threshold"):
        parse({"precision": ("spam=0.9",), "recall": ("spam=0.9",)})


def grouped(texts: list[str], cells: list[str]) -> Rows:
    """Rows of those texts and groups."""
    count = len(texts)
    rows = LabelledRows(ids=np.arange(count), texts=texts, pairs=None, labels=np.arange(count) % 2, places=[""] * count)
    return Rows.of(np.zeros((count, 2), dtype=np.float32), rows, Groups.by("author", cells, count))


def test_rows_of_one_group_lie_in_one_part_and_so_do_equal_texts() -> None:
    """No author fits and tests, nor stands in two folds, even where only a text that two of them share connects them;
    rows without an author stand alone. Without groups the authors would be torn.
    """
    cells = [f"author {row // 10}" if row < 300 else "" for row in range(400)]
    texts = [f"text {row}" for row in range(400)]
    texts[15] = texts[205] = "what two authors wrote"
    rows = grouped(texts, cells)
    authors = np.arange(300) // 10
    authors[authors == 20] = 1
    assert all(len(np.unique(rows.folds()[:300][authors == each])) == 1 for each in np.unique(authors))
    torn = Rows.of(
        rows.logits, LabelledRows(ids=np.arange(400), texts=texts, pairs=None, labels=rows.labels, places=texts)
    )
    assert any(len(np.unique(torn.folds()[:300][authors == each])) > 1 for each in np.unique(authors))
    first, second = rows.parts([1 / 3, 2 / 3])
    assert 80 <= len(first) <= 190
    assert not {*first.keys.tolist()} & {*second.keys.tolist()}
    assert second.groups is not None
    assert set(second.groups.tolist()) == set(range(len(np.unique(second.groups))))
    assert np.unique(rows.folds()[300:]).size == 5


@pytest.mark.parametrize("videos", [1, 3])
def test_one_group_alone_is_torn(videos: int) -> None:
    """Rows of three videos lie in a fold each; of one, where nothing could be divided, equal texts stay together."""
    rows = grouped([f"text {row // 2}" for row in range(200)], [f"video {row % videos}" for row in range(200)])
    folds = rows.folds()
    if videos == 1:
        assert np.unique(folds).tolist() == [0, 1, 2, 3, 4]
        assert (folds[::2] == folds[1::2]).all()
        return
    # Equal texts stand under two videos each, and so connect all of them.
    assert np.unique(folds).tolist() == [0, 1, 2, 3, 4]
    apart = grouped([f"text {row}" for row in range(200)], [f"video {row % videos}" for row in range(200)]).folds()
    assert all(len(np.unique(apart[place::3])) == 1 for place in range(3))
    assert len(np.unique(apart)) > 1


def test_rows_that_cannot_be_divided_are_refused() -> None:
    """Where one text is nearly all rows, the part that thresholds are chosen on may be empty: an error, no crash."""
    rows = PAIR.sample(300, seed=11)
    one = replace(rows, keys=np.where(np.arange(300) < 299, np.uint64(1), np.uint64(2)))
    with pytest.raises(InputError, match="no validation row is left"):
        decide_on(DecisionsPart(temperature=False, abstain=0.3), one, PAIR.space)


def test_gains_of_groups_have_wider_intervals() -> None:
    """Where all rows of an author gain or lose together, the interval by author is wider than that by row."""
    labels = np.zeros(400, dtype=np.int64)
    units = np.arange(400) // 40
    decided = np.where(units % 2 == 0, 1, 0)
    given = np.eye(2, dtype=np.float32)
    before, after = (
        Measured(scores=Scores(probabilities=given[each], decisions=each), labels=labels, space=PAIR.space)
        for each in (decided, labels)
    )
    by_row, by_group = (gains(before, after, each)["accuracy"]["gain"] for each in (None, units))
    assert by_row["value"] == by_group["value"] == pytest.approx(0.5)
    assert by_group["high"] - by_group["low"] > 2 * (by_row["high"] - by_row["low"])
    assert by_group["low"] > 0


@pytest.mark.parametrize(("epochs", "batches", "every"), [(3, 7, None), (3, 7, 2), (2, 10, 5), (4, 6, 9), (1, 4, 50)])
def test_as_many_checkpoints_are_planned_as_the_loop_evaluates(epochs: int, batches: int, every: int | None) -> None:
    """At each epoch's end and each `evaluate_every` steps, those that fall together once; stages multiply."""
    stage = Stage(epochs=epochs, evaluate_every=every)
    steps = range(1, epochs * batches + 1)
    due = sum(step % batches == 0 or (every is not None and step % every == 0) for step in steps)
    assert planned([stage], [batches]) == due
    assert planned([stage, replace(stage, evaluate_every=None)], [batches, 3]) == due * epochs
