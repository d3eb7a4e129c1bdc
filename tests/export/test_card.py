"""The model card: a block that hubs read, the figures of the page, the limits found, and whose texts are shipped."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from huggingface_hub import ModelCard

from export.card_figures import limits, without_texts
from export.cli import inspect_command
from export.pipeline import ExportJob, export
from tests.export.runs import contract, make_run
from tests.trainer.report.made import Made, figures
from trainer.contract.checkpoint import Checkpoint, Contract
from trainer.contract.encoding import EncodingPolicy
from trainer.contract.figures.stamped import write_figures
from trainer.contract.inputs import InputSpec
from trainer.contract.labels import LabelSpace
from trainer.contract.visible import as_code


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
    assert as_code("<b>`x`</b>\n# y|z") == "`<b>'x'</b>\\n# y\\|z`"


def test_names_of_a_hostile_run_stay_in_their_place(tmp_path: Path) -> None:
    """Labels, columns and a folder that look like markup, or move a terminal's cursor, are shown as they are by the
    card and by `inspect`.
    """
    odd = "x`\n# owned\x1b[2J|"
    space = LabelSpace(names=(f"a{odd}", f"b{odd}"))
    spec = InputSpec(text=(f"t{odd}",))
    run = make_run(tmp_path / f"r{odd}", Contract(labels=space, input=spec, encoding=EncodingPolicy(max_tokens=64)))
    export(ExportJob(run=run, out=tmp_path / "made", precisions=("fp32",), timing=False, quiet=True))
    card = (tmp_path / "made" / "README.md").read_text("utf-8")
    told = CliRunner().invoke(inspect_command, [str(tmp_path / "made")]).stdout
    for text in (card.split("---\n")[2], told):
        assert "a" + "x" in text
        assert not [line for line in text.splitlines() if line.startswith("# owned")]
        assert "\x1b" not in text


def test_limits_are_those_of_the_figures() -> None:
    """Without test figures the card says that nothing is known; values of columns can be left out."""

    class Untested:
        test_metrics: dict[str, Any] | None = None

    assert "Nothing is known" in limits(Untested())  # type: ignore[arg-type]
    assert without_texts(None) is None
