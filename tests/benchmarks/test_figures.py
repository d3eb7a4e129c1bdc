"""Figures of the benchmarks that are computed, not measured: exponents, operations, shares, and what is drawn."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.peers import growth, picture
from benchmarks.peers.limit import operations
from benchmarks.peers.products import products
from benchmarks.peers.score import with_share
from benchmarks.peers.tables import markdown
from tests import tiny
from trainer.opening.checkpoint import open_network


def test_an_exponent_is_found_with_its_interval() -> None:
    """A clean power and equal values have no interval to speak of; under noise of 10 % it holds the true exponent."""
    sizes = [10, 100, 1000, 10_000]
    assert growth.exponent(sizes, [128.1] * len(sizes)) == {"b": 0.0, "low": 0.0, "high": 0.0}
    clean = growth.exponent(sizes, [3 * size**1.5 for size in sizes])
    assert clean["b"] == pytest.approx(1.5)
    assert clean["high"] - clean["low"] < 1e-6
    noise = 1 + 0.1 * np.random.default_rng(0).standard_normal(4)
    noisy = growth.exponent(sizes, [size**0.5 * float(each) for size, each in zip(sizes, noise, strict=True)])
    assert noisy["low"] < 0.5 < noisy["high"]
    assert noisy["high"] - noisy["low"] > 0.001


def test_operations_are_those_that_torch_counts(tmp_path: Path) -> None:
    """Without the pooler and the head, which a row asks for once, they are torch's own count of a row."""
    checkpoint = tiny.checkpoint(tmp_path / "checkpoint")
    encoder, network = checkpoint.encoder(), open_network(checkpoint.path)
    texts = ["win a prize now", "see you at the station in the morning " * 3]
    encoded = encoder.encode(texts)
    counted = []
    for row in range(2):
        batch = {name: torch.from_numpy(array) for name, array in encoder.pad(encoded, np.array([row])).named().items()}
        # Fused attention is not counted by torch.
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            network(**batch)
        head = 2 * 32 * 32 + 2 * 32 * len(checkpoint.contract.labels)
        counted.append(counter.get_total_flops() - head)
    assert operations(checkpoint.path, texts) == counted


def test_a_share_is_of_the_limit_of_its_precision() -> None:
    """Rows a second times a row's operations, over the best kernel's; a cascade is held against nothing."""
    most = {"int8": {"rate": 1000.0}, "fp32": {"rate": 10.0}}
    record = {"rows": 2, "rates": [3.0, 4.0, 5.0], "precision": "int8"}
    assert with_share(record, [100.0, 50.0, 9e9], most)["share"] == pytest.approx(4 * 75 / 1000)
    assert with_share({**record, "precision": ""}, [100.0, 50.0], most)["share"] is None
    assert with_share({"precision": "int8", "fell": "x"}, [100.0], most)["share"] is None


def test_a_limit_is_the_rate_of_the_fastest_shape() -> None:
    """Each shape runs as often as asked, and the rate is operations over seconds."""
    runs: list[tuple[int, int, int]] = []
    found = products(lambda *shape: lambda: runs.append(shape))({"rows": 3})
    assert runs.count((2048, 2048, 2048)) == 3
    assert found["shape"] == (2048, 2048, 2048)
    assert found["rate"] > 0


QUALITY: dict[str, Any] = {
    "a": {
        "name": "A",
        "multi": False,
        "contestants": [
            {"name": "bag", "accuracy": [0.8, 0, 1], "rows_per_cpu_second": 100.0},
            {"name": "Classifact", "accuracy": [0.9, 0, 1], "rows_per_cpu_second": 9.0},
        ],
    },
    "b": {
        "name": "B",
        "multi": False,
        "contestants": [
            {"name": "bag", "accuracy": [0.6, 0, 1], "rows_per_cpu_second": 10_000.0},
            {"name": "Classifact", "accuracy": [0.8, 0, 1], "rows_per_cpu_second": 4.0},
            {"name": "half <measured>", "accuracy": [0.9, 0, 1], "rows_per_cpu_second": 5.0},
        ],
    },
    "c": {"name": "C", "missing": "no file"},
    "d": {"name": "D", "multi": True, "contestants": []},
}


def test_the_picture_shows_who_is_measured_everywhere() -> None:
    """Means over the measured sets of one label a row; who has figures of some alone is not compared. Letters stay
    letters, and its alternative text says the same.
    """
    expected = {"Classifact": (6, 0.85), "bag": (1000, 0.7)}
    assert {name: pytest.approx(each) for name, each in expected.items()} == picture.points(QUALITY)
    drawn = picture.svg(QUALITY)
    assert ">2   bag: 70.0%, 1,000 rows/s<" in drawn
    told = "Mean accuracy on A, B against rows a second of one processor: Classifact 85.0% at 6 rows/s; bag 70.0% at "
    assert picture.told(QUALITY) == f"{told}1,000 rows/s."
    assert "half" not in drawn
    assert drawn == picture.svg(QUALITY)


def test_growth_is_measured_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real jobs on made rows end in a table."""
    monkeypatch.setitem(growth.AXES, "rows", (20, 40, 80))
    growth.run(argparse.Namespace(rounds=1, quick=False, out=tmp_path, axis=["rows"]))
    found = json.loads((tmp_path / "growth.json").read_text())["axes"]["rows"]
    assert [point["size"] for point in found["points"]] == [20, 40, 80]
    (line,) = [line for line in markdown(tmp_path).splitlines() if line.startswith("| rows")]
    assert line.startswith("| rows | 20 | 80 | ")
