"""Slices: what rows are divided by, Holm's adjustment, and the rules of the tree that looks for the worst."""

import random

import numpy as np
import pytest

from tests.trainer.evaluation.cases import measured
from trainer.contract.figures.exact import holm
from trainer.contract.labels import LabelSpace, Scores
from trainer.evaluation.measured import Bools, Measured
from trainer.evaluation.slicing.fisher import worse
from trainer.evaluation.slicing.slices import VALUES, Slice, adjusted_ps, figures_of_slices, find_slices
from trainer.evaluation.slicing.traits import Traits
from trainer.evaluation.slicing.worst_slices import halves, worst_slices

ROWS = 600


def traits_of(texts: list[str], cut: int = 0) -> Traits:
    """The traits of texts; the first `cut` of them were truncated."""
    return Traits.of(texts, None, np.array([int(place < cut) for place in range(len(texts))]))


def wrong_where(wrong: Bools) -> Measured:
    """Two labels, wrong in these rows."""
    labels = np.arange(len(wrong)) % 2
    decisions = np.where(wrong, 1 - labels, labels)
    probabilities = np.eye(2, dtype=np.float32)[decisions]
    space = LabelSpace(names=("a", "b"))
    return Measured(scores=Scores(probabilities=probabilities, decisions=decisions), labels=labels, space=space)


def texts_of(rows: int, seed: int = 0) -> list[str]:
    """Texts of 10 to 200 characters; every fourth has a number."""
    generator = random.Random(seed)
    return [("x" * generator.randint(10, 200)) + (" 7" if place % 4 == 0 else "") for place in range(rows)]


@pytest.mark.parametrize(
    ("text", "script", "holds"),
    [
        ("Привет, мир", "cyrillic", ()),
        ("見て www.example.com", "latin", ("url",)),
        ("漢字ばかりです", "hiragana", ()),
        ("call 0800", "latin", ("number",)),
        ("\U0001f600 ok \u2764", "latin", ("emoji",)),
        ("... !", "no letters", ()),
        ("see http://a.b", "latin", ("url",)),
    ],
)
def test_traits_are_seen(text: str, script: str, holds: tuple[str, ...]) -> None:
    """The script of most letters, links, numbers and emoji, and nothing else."""
    found = traits_of([text])
    assert found.script == [script]
    assert tuple(name for name in ("url", "number", "emoji") if getattr(found, name)[0]) == holds


def test_slices_cover_all_rows_once_for_each_property() -> None:
    """Of length, truncation, number and a column the parts are disjoint and together all rows; what all rows share is
    no slice.
    """
    parts = find_slices(traits_of(texts_of(100), cut=10), {"source": [str(place % 3) for place in range(100)]})
    kinds = {part.by for part in parts}
    assert kinds == {"length", "truncated", "number", "source"}
    for by in kinds:
        assert (np.sum([part.rows for part in parts if part.by == by], axis=0) == 1).all(), by


def test_rare_values_are_one_slice_and_hostile_ones_stay_text() -> None:
    """A column of many values has at most ten slices and one for the rest; markup, control characters and 100,000
    characters are values like any other, the latter cut.
    """
    hostile = ["<script>alert(1)</script>", "\x1b[31m\u202e", "{0.__class__}", "y" * 100_000, ""]
    cells = [hostile[place % 5] if place < 50 else f"user {place}" for place in range(ROWS)]
    wrong = np.array([cell == hostile[2] for cell in cells])
    parts = find_slices(traits_of(texts_of(ROWS)), {"source": cells})
    own = [part for part in parts if part.column]
    assert len(own) == VALUES + 1
    assert own[-1].rest
    assert own[-1].rows.sum() == ROWS - 50 - (VALUES - 5)
    assert {*hostile[:3], "(empty)"} <= {part.value for part in own}
    assert max(len(part.value) for part in own) == 80
    found = worst_slices(wrong_where(wrong), traits_of(texts_of(ROWS)), {"source": cells}, np.arange(ROWS), seed=1)
    # Ten errors are too few for a tree; the braces reach its rules in the next test.
    assert found["found"] == []
    assert found["checked_on"] == 0


def test_holm_is_the_adjustment_of_the_paper() -> None:
    """By hand: of 0.01, 0.04, 0.03 and 0.005 the adjusted are 0.03, 0.06, 0.06 and 0.02; never above 1."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_test_counts_hands_of_cards() -> None:
    """By hand: all 3 wrong rows of 10 among 4 drawn at random: 4 of 120 ways."""
    assert worse(3, 4, 3, 10) == pytest.approx(4 / 120)
    assert worse(0, 4, 3, 10) == 1.0


def test_random_slices_are_flagged_as_rarely_as_holm_says() -> None:
    """Columns that say nothing of the errors: over 40 draws of twenty slices each, at most three draws have a flag."""
    flagged = 0
    for seed in range(40):
        generator = np.random.default_rng(seed)
        columns = {f"c{number}": generator.integers(0, 3, ROWS).astype(str).tolist() for number in range(4)}
        case = wrong_where(generator.random(ROWS) < 0.1)
        parts = find_slices(traits_of(texts_of(ROWS, seed)), columns)
        flagged += any(adjusted is not None and adjusted < 0.05 for _, adjusted in adjusted_ps(case.wrong, parts))
    assert flagged <= 3


def test_a_planted_bad_slice_is_flagged() -> None:
    """Of a column's three values one is wrong in 30 % of its rows, the others in 5 %: it alone is flagged."""
    generator = np.random.default_rng(0)
    cells = generator.choice(["web", "phone", "mail"], ROWS)
    case = wrong_where(generator.random(ROWS) < np.where(cells == "phone", 0.3, 0.05))
    found = figures_of_slices(case, find_slices(traits_of(texts_of(ROWS)), {"source": cells.tolist()}), "f1_macro")
    (bad,) = [each for each in found["found"] if each["flagged"]]
    assert (bad["by"], bad["value"], bad["rows"]) == ("source", "phone", int((cells == "phone").sum()))
    assert bad["accuracy"]["low"] < bad["accuracy"]["value"] < bad["accuracy"]["high"] < 0.8
    assert bad["metric"]["low"] <= bad["metric"]["value"] <= bad["metric"]["high"]
    assert found["columns"] == ["source"]


def test_a_metric_of_a_slice_is_that_of_its_rows() -> None:
    """F1 of the rows with a number is that of those rows alone; a rank metric gives way to accuracy."""
    case = measured("binary", rows=400)
    parts = find_slices(traits_of(texts_of(400)), {})
    (number,) = [part for part in parts if (part.by, part.value) == ("number", "yes")]
    found = figures_of_slices(case, parts, "f1")["found"][parts.index(number)]
    truth, decided = case.labels[number.rows] == 1, case.scores.decisions[number.rows] == 1
    assert found["metric"]["value"] == pytest.approx(2 * (truth & decided).sum() / (truth.sum() + decided.sum()))
    assert figures_of_slices(case, parts, "roc_auc")["metric"] == "accuracy"


@pytest.mark.parametrize(("kind", "metric"), [("binary", "f1"), ("multi", "f1_macro")])
def test_a_metric_of_a_label_that_a_slice_hardly_has_is_undefined(kind: str, metric: str) -> None:
    """F1 of a slice with nine rows of its label says nothing, with ten it is told; accuracy is told of both."""
    case = measured(kind, rows=400)
    has = case.truth[:, case.space.positive_id]
    parts = []
    for count in (9, 10):
        rows = ~has
        rows[np.flatnonzero(has)[:count]] = True
        parts.append(Slice(by="made", value=str(count), rows=rows))
    few, enough = figures_of_slices(case, parts, metric)["found"]
    assert np.isnan(few["metric"]["value"])
    assert 0 < enough["metric"]["value"] <= 1
    assert min(few["accuracy"]["value"], enough["accuracy"]["value"]) > 0


def test_the_tree_finds_a_planted_slice_on_rows_that_it_has_not_seen() -> None:
    """Long texts of one value are wrong: a rule of both is found, confirmed by the other half, and is plain text."""
    generator = np.random.default_rng(3)
    texts = texts_of(2000)
    cells = generator.choice(["{0}", "phone", "mail"], 2000)
    planted = (cells == "{0}") & (np.array([len(text) for text in texts]) > 120)
    case = wrong_where(generator.random(2000) < np.where(planted, 0.6, 0.03))
    found = worst_slices(case, traits_of(texts), {"source": cells.tolist()}, np.arange(2000), seed=0)
    worst = found["found"][0]
    assert worst["flagged"]
    assert "source is '{0}'" in worst["rule"]
    assert "more than 1" in worst["rule"]
    assert worst["rows"] + worst["found_rows"] == pytest.approx(planted.sum(), abs=25)
    assert found["found_on"] + found["checked_on"] == 2000
    _, second = halves(np.arange(2000), 0)
    assert worst["p"] == worse(worst["wrong"], worst["rows"], int(case.wrong[second].sum()), int(second.sum()))


def test_the_tree_is_not_believed_where_errors_are_chance() -> None:
    """Errors that nothing explains: over 20 draws, rules look bad where they were found, and at most three draws have
    one that the other half confirms.
    """
    confirmed = 0
    for seed in range(20):
        case = wrong_where(np.random.default_rng(seed).random(ROWS) < 0.15)
        found = worst_slices(case, traits_of(texts_of(ROWS, seed)), {}, np.arange(ROWS), seed)["found"]
        confirmed += any(each["flagged"] for each in found)
        assert all(each["found_wrong"] / each["found_rows"] > 0.05 for each in found)
    assert confirmed <= 3


def test_rows_of_a_group_lie_in_one_half() -> None:
    """Twelve groups of fifty rows: each half is made of whole groups."""
    groups = np.repeat(np.arange(12), 50)
    found = worst_slices(wrong_where(np.arange(ROWS) % 5 == 0), traits_of(texts_of(ROWS)), {}, groups, seed=0)
    assert found["found_on"] % 50 == 0
    assert found["found_on"] == 300
