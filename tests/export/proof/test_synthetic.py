"""Golden rows of made-up words: no row's text is shipped, and a machine is tested as sharply."""

import json
from pathlib import Path

import numpy as np
import pytest

from export.bundle import Bundle, golden_logits
from export.pipeline import ExportJob, export
from export.proof.golden import decisions_and_margins
from tests.export.runs import contract, make_run


@pytest.fixture(scope="module", params=["single", pytest.param("multi", marks=pytest.mark.slow)])
def bundles(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle, Bundle]:
    """A run, its bundle, and its bundle with synthetic golden rows."""
    folder = tmp_path_factory.mktemp(request.param)
    run = make_run(folder / "run", contract(request.param, ("ham", "spam", "other")))
    for golden in ("validation", "synthetic"):
        job = ExportJob(run=run, out=folder / golden, precisions=("fp32",), golden=golden, timing=False, quiet=True)
        export(job)
    return run, Bundle.open(folder / "validation"), Bundle.open(folder / "synthetic")


def test_no_text_of_a_row_is_in_the_bundle(bundles: tuple[Path, Bundle, Bundle]) -> None:
    """None of the validation rows' texts, nor four of their words in a row, is in any file of the synthetic bundle."""
    run, plain, synthetic = bundles
    rows = [json.loads(line)["text"] for line in (run / "splits" / "validation.jsonl").read_bytes().splitlines()]
    runs = {" ".join(row.split()[:4]) for row in rows if len(row.split()) >= 4}

    def held(bundle: Bundle) -> int:
        text = "".join(path.read_text("utf-8") for path in bundle.path.iterdir() if path.is_file())
        return sum(words in text for words in runs)

    assert held(plain) > 0
    assert held(synthetic) == 0
    assert (plain.manifest.golden, synthetic.manifest.golden) == ("validation", "synthetic")


def test_made_up_rows_lie_as_near_to_a_decision(bundles: tuple[Path, Bundle, Bundle]) -> None:
    """For each label, the nearest made-up row is no farther from its decision than the nearest validation row, or than
    a tenth of the usual distance.
    """
    _, plain, synthetic = bundles

    def distances(bundle: Bundle) -> np.ndarray:
        space = bundle.contract.labels
        return decisions_and_margins(space.decode(golden_logits(bundle.golden())), space)[1]

    ours, theirs = distances(synthetic), distances(plain)
    assert (ours.min(axis=0) <= np.maximum(theirs.min(axis=0), 0.1 * np.median(theirs, axis=0))).all()


def test_the_same_checkpoint_gives_the_same_rows(bundles: tuple[Path, Bundle, Bundle], tmp_path: Path) -> None:
    """A second export makes the same golden texts."""
    run, _, synthetic = bundles
    job = ExportJob(run=run, out=tmp_path / "again", precisions=("fp32",), golden="synthetic", timing=False, quiet=True)
    export(job)
    again = Bundle.open(tmp_path / "again").golden()
    assert [row.text for row in again] == [row.text for row in synthetic.golden()]
