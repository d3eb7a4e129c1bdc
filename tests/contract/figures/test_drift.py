"""Drift: beyond chance and large enough to matter, or not called so."""

import numpy as np
import pytest

from trainer.contract.figures.drift import LEAST_DRIFT_ROWS, Figure, judged, merged_drift

SHARES = np.array([0.1, 0.2, 0.3, 0.25, 0.15])


def figure(counts: np.ndarray, shares: np.ndarray = SHARES, *, each: bool = False) -> Figure:
    """Bins named by number."""
    names = tuple(map(str, range(len(shares))))
    return Figure(names=names, reference=tuple(shares.tolist()), counts=tuple(counts.tolist()), each=each)


def found(here: Figure, rows: int, reference_rows: int = 558) -> list[str]:
    """What is called drift of one figure."""
    return list(judged({"labels": here}, rows, reference_rows)["found"])


def test_a_planted_drift_is_seen_with_its_worst_bin() -> None:
    """1,000 rows in other bins than the reference's are drift, and the sentence names the bin that moved most."""
    counts = np.random.default_rng(0).multinomial(1000, [0.4, 0.2, 0.1, 0.2, 0.1])
    told = judged({"labels": figure(counts)}, 1000, 558)
    assert told["found"] == ["labels"]
    assert "labels (0: 10.0 % there" in told["sentence"]
    assert told["figures"]["labels"]["p"] <= 0.001


@pytest.mark.parametrize("reference_rows", [558, 100_000])
def test_a_million_rows_that_differ_by_little_are_no_drift(reference_rows: int) -> None:
    """A class that is 10 % there and 11 % here is beyond chance among so many rows, and too little to matter."""
    shares = np.array([0.11, 0.2, 0.3, 0.24, 0.15])
    counts = np.random.default_rng(0).multinomial(1_000_000, shares)
    told = judged({"labels": figure(counts)}, 1_000_000, reference_rows)
    assert told["found"] == []
    assert (told["figures"]["labels"]["p"] < 0.01) == (reference_rows == 100_000)
    assert told["sentence"].startswith("no drift")


def test_few_rows_are_called_nothing() -> None:
    """50 rows of one bin alone are not judged, and the sentence says why; twice as many are."""
    assert found(figure(np.array([50, 0, 0, 0, 0])), 50) == []
    told = judged({"labels": figure(np.array([50, 0, 0, 0, 0]))}, 50, 558)
    assert told["sentence"] == f"drift is not judged: 50 rows are fewer than {LEAST_DRIFT_ROWS}"
    assert found(figure(np.array([100, 0, 0, 0, 0])), 100) == ["labels"]
    assert judged({}, 0, 558)["found"] == []


@pytest.mark.parametrize("bins", [5, 80])
def test_rows_of_the_same_kind_are_rarely_drift(bins: int) -> None:
    """Of 60 jobs that are drawn as the reference was, none is called drift, also with 80 bins and few rows in each,
    where the plain distance is above the bound that matters.
    """
    generator = np.random.default_rng(1)
    truth = generator.dirichlet(np.ones(bins))
    for _ in range(60):
        there, here = generator.multinomial(400, truth), generator.multinomial(300, truth)
        assert found(figure(here, there / 400), 300, 400) == []


def test_what_few_validation_rows_lack_is_no_drift() -> None:
    """A million rows that differ by little from what 2,000 validation rows were drawn from are beyond chance: among 80
    bins those rows alone lie nearly 0.1 off, which is taken off.
    """
    generator = np.random.default_rng(4)
    truth = generator.dirichlet(np.full(80, 5.0))
    moved = truth * np.exp(np.where(np.arange(80) % 2, 0.13, -0.13))
    there = generator.multinomial(2000, truth)
    counts = generator.multinomial(1_000_000, moved / moved.sum())
    told = judged({"labels": figure(counts, there / 2000)}, 1_000_000, 2000)
    assert told["figures"]["labels"]["p"] < 0.01
    assert 0.03 < told["figures"]["labels"]["distance"] < 0.09
    assert told["found"] == []


def test_each_label_of_several_is_compared_by_itself() -> None:
    """One label of 40 that a fifth of the rows have instead of a twentieth is drift; drawn alike, none is."""
    generator = np.random.default_rng(2)
    shares = np.full(40, 0.05)
    there = generator.binomial(500, shares) / 500
    assert found(figure(generator.binomial(800, shares), there, each=True), 800, 500) == []
    shares[7] = 0.2
    told = judged({"labels": figure(generator.binomial(800, shares), there, each=True)}, 800, 500)
    assert told["found"] == ["labels"]
    assert "labels (7:" in told["sentence"]


def test_parts_together_are_the_whole() -> None:
    """What the parts of a job say is merged to the very figures of the undivided job; an empty part adds nothing."""
    generator = np.random.default_rng(3)
    parts = [generator.multinomial(rows, SHARES) for rows in (40, 300, 7)]
    rates = [np.array([3]), np.array([10]), np.array([0])]
    whole = {"labels": figure(sum(parts)), "cut": figure(sum(rates), np.array([0.01]), each=True)}
    said = [
        judged({"labels": figure(part), "cut": figure(rate, np.array([0.01]), each=True)}, int(part.sum()), 558)
        for part, rate in zip(parts, rates, strict=True)
    ]
    assert merged_drift([*said, judged({}, 0, 558)]) == judged(whole, 347, 558)
    assert merged_drift([said[0], None]) is None


def test_the_bounds_are_what_the_page_says() -> None:
    """At the bound: halves that are 62 and 38 %, and a class of 1 % that is 5 %; a little less is not called drift."""
    rows = 10_000_000
    for share, below, above in ((0.5, 0.61, 0.63), (0.01, 0.045, 0.055)):
        for now, drift in ((below, []), (above, ["labels"])):
            counts = np.rint(np.array([now, 1 - now]) * rows).astype(np.int64)
            assert found(figure(counts, np.array([share, 1 - share])), rows, 1_000_000) == drift
