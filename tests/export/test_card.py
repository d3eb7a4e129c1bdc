"""The model card: a block that hubs read, the figures of the page, the limits found, and whose texts are shipped."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from export.card_figures import as_code, limits, without_texts
from export.pipeline import ExportJob, export
from tests.export.runs import contract, make_run
from tests.trainer.report.made import Made, figures
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.figures.stamped import write_figures


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with test figures."""
    folder = make_run(tmp_path_factory.mktemp("card") / "run", contract())
    (folder / "test_predictions.jsonl").write_text("", "utf-8")
    lines = [{"labels": [name], "predicted": [name], "right": True} for name in ["ham"] * 40 + ["spam"] * 20]
    content = figures(Made(), folder, lines)
    content["slices"]["found"][0] |= {"flagged": True, "by": "author", "value": "Jane `Doe`", "column": True}
    write_figures(folder / "test_metrics.json", content, Checkpoint.best(folder))
    return folder


@pytest.fixture(scope="module", params=["validation", "synthetic"])
def card(request: pytest.FixtureRequest, run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Which golden rows, and the card's text."""
    out = tmp_path_factory.mktemp("bundles") / "made"
    export(ExportJob(run=run, out=out, precisions=("fp32",), golden=request.param, timing=False, quiet=True))
    return request.param, (out / "README.md").read_text("utf-8")


def test_hubs_read_the_figures(card: tuple[str, str], tmp_path: Path) -> None:
    """huggingface_hub reads the block back: every figure of the test rows with its interval."""
    (tmp_path / "README.md").write_text(card[1], "utf-8")
    data = ModelCard.load(tmp_path / "README.md").data
    found = {result.metric_type: result for result in data.eval_results or []}
    assert found["f1"].metric_value == 0.9
    assert "0.8800 to 0.9200" in found["f1"].metric_name
    assert (found["f1"].dataset_split, data.pipeline_tag) == ("test", "text-classification")
    assert set(found) == {"f1", "accuracy", "ece", "loss"}


def test_the_card_tells_what_is_shipped(card: tuple[str, str]) -> None:
    """Whose texts are in the folder stands on the card, and a column's values are on it only where texts may be."""
    golden, text = card
    assert ("`golden.jsonl` holds texts of validation rows" in text) == (golden == "validation")
    assert ("No text of a row is in this folder" in text) == (golden == "synthetic")
    assert ("Jane 'Doe'" in text) == (golden == "validation")
    assert "| f1 | 0.9000 | 0.8800 to 0.9200 | 0.5000 | 0.5000 |" in text
    assert "`spam` has 20 test rows" in text


def test_a_name_cannot_leave_its_line_of_markdown() -> None:
    """A label that looks like markup, or that would end the code it stands in, is shown as it is."""
    assert as_code("<b>`x`</b>\n# y") == "`<b>'x'</b>\\n# y`"


def test_limits_are_those_of_the_figures() -> None:
    """Without test figures the card says that nothing is known; values of columns can be left out."""

    class Untested:
        test_metrics: dict[str, Any] | None = None

    assert "Nothing is known" in limits(Untested())  # type: ignore[arg-type]
    assert without_texts(None) is None
