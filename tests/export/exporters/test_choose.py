"""Which exporter writes a graph, and that all that are at hand write the same classifier."""

import importlib
import logging
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
import transformers

from benchmarks.families import MORE
from export import cli
from export.exporters import choose
from export.exporters.choose import EXPORTERS, choose_exporter, export_graph
from tests import tiny
from tests.export.passes.graphs import ALL, FAMILIES, FAMILIES_5, USABLE, exported, from_torch
from tests.export.runs import contract
from trainer.contract.errors import ClassifactError, InputError

# transformers' DeBERTa and torch's own compiler use torch.jit, which torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.*is deprecated:DeprecationWarning")
# The proofs of the passes run on every family in every test run; here two stand for the rest.
QUICK = {"bert", "modernbert"}


def test_the_command_offers_the_exporters_that_there_are() -> None:
    """The names that --exporter takes, listed without importing what exporters need, are the exporters."""
    assert tuple(EXPORTERS) == cli.EXPORTER_NAMES


def test_torch_can_always_export() -> None:
    """The last exporter needs nothing but what training needs."""
    assert "torch" in USABLE


@pytest.mark.parametrize("exporter", USABLE)
@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in ALL]
)
def test_every_exporter_writes_the_same_classifier(family: str, exporter: str, tmp_path: Path) -> None:
    """As exported and after every exact pass, logits are torch's on padded batches of many sizes."""
    made = tiny.checkpoint(
        tmp_path / "checkpoint",
        contract(max_tokens=512),
        family,
        **{"initializer_range": 0.1, "spread": 1.0, **ALL[family]},
    )
    as_exported, rewritten, applied = from_torch(made, exporter, tmp_path)
    assert as_exported < 1e-5
    assert rewritten < 1e-5, applied


def test_the_page_lists_the_families_that_are_tested() -> None:
    """The page's table has a row for each family that tests cover, a row with a star for each that the benchmark adds,
    and says how many they are.
    """
    page = (Path(__file__).parents[3] / "export" / "README.md").read_text(encoding="utf-8")
    table = page.partition("\n| family |")[2].partition("\n\n")[0].splitlines()[2:]
    names = [row.split("|")[1].strip() for row in table]
    assert names == [*FAMILIES, *FAMILIES_5, *(f"{name} *" for name in MORE)]
    assert f"Tiny random models of {len(names)} families of encoders" in page


@pytest.mark.parametrize("exporter", USABLE)
def test_a_graph_tells_nothing_of_this_machine(exporter: str) -> None:
    """No folder of libraries is named in a graph: torch notes for every node which lines of which files made it, where
    its newer exporter is at work.
    """
    graph = exported("bert", exporter)
    for module in (torch, transformers):
        assert module.__file__ is not None
        assert str(Path(module.__file__).parent).encode() not in graph
    assert b"site-packages" not in graph


def test_notes_go_from_branches_too() -> None:
    """What an exporter noted at a node inside a branch of another node goes, and nothing else."""
    given = onnx.helper.make_tensor_value_info("given", onnx.TensorProto.BOOL, [])
    made = onnx.helper.make_tensor_value_info("made", onnx.TensorProto.BOOL, [])
    inner = onnx.helper.make_node("Not", ["given"], ["made"])
    inner.metadata_props.add(key="pkg.torch.onnx.stack_trace", value="File /home/somebody/model.py")
    branch = onnx.helper.make_graph([inner], "branch", [], [made])
    node = onnx.helper.make_node("If", ["given"], ["made"], then_branch=branch, else_branch=branch)
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "graph", [given], [made]))
    assert b"somebody" in model.SerializeToString()
    found = choose._without_notes(model)
    assert b"somebody" not in found.SerializeToString()
    assert [entry.g.node[0].op_type for entry in found.graph.node[0].attribute] == ["Not", "Not"]


@pytest.mark.parametrize("exporter", USABLE)
def test_exporters_say_nothing(
    exporter: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """What an exporter warns of and reports reaches neither a log nor a stream; logs work again afterwards."""
    made = tiny.checkpoint(tmp_path / "checkpoint", contract())
    capfd.readouterr()
    export_graph(made.path, tmp_path, exporter)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert capfd.readouterr() == ("", "")
    logging.getLogger("torch.onnx").warning("heard")
    assert caplog.messages[-1] == "heard"


def test_auto_takes_the_first_that_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where optimum and transformers' exporter cannot be imported, auto is torch, and asking for one is an error that
    says how to have it: by a line for pip in its own lane, in the other by an environment of its own.
    """
    real = importlib.import_module

    def without(name: str) -> Any:
        if name.endswith(("with_optimum", "with_transformers")):
            raise ImportError("cannot import name 'main_export'")
        return real(name)

    monkeypatch.setattr(choose, "import_module", without)
    assert choose_exporter() == "torch"
    for version in ("4.57.6", "5.24.0"):
        # Not `transformers` as it is called here: its processing_utils puts another module in its own place.
        monkeypatch.setattr(choose.transformers, "__version__", version)
        for name, lane in (("optimum", "4"), ("transformers", "5")):
            with pytest.raises(ClassifactError, match="cannot be used here") as caught:
                choose_exporter(name)
            said = "pip install -c constraints" if version.startswith(lane) else f"use lane {lane}:"
            assert caught.value.details["do"].startswith(said)


def test_a_network_that_an_exporter_cannot_write_is_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What an exporter raises becomes one error that names the exporter and the others."""

    class Broken:
        @staticmethod
        def graph_of(_model: Any, _scratch: Path) -> None:
            raise RuntimeError("no translation of aten::fancy")

    made = tiny.checkpoint(tmp_path / "checkpoint", contract())
    monkeypatch.setattr(choose, "_module", lambda _name: Broken)
    with pytest.raises(InputError, match="'torch' cannot export") as caught:
        export_graph(made.path, tmp_path, "torch")
    assert "aten::fancy" in str(caught.value)
    assert "optimum, transformers, torch" in str(caught.value)
