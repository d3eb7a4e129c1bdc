"""Best checkpoint to ONNX. The only file that touches optimum, so that another exporter is a change to one file."""

import contextlib
import io
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from optimum.exporters.onnx import onnx_export_from_model
from optimum.exporters.tasks import TasksManager
from transformers.utils import logging

from trainer.contract.errors import InputError, nearest
from trainer.contract.files import read_json
from trainer.opening.checkpoint import open_network

TASK = "text-classification"


def check_family(checkpoint: Path) -> str:
    """The model family of a checkpoint.

    Raises InputError, naming what can be exported, where optimum cannot export it.
    """
    family = str(read_json(checkpoint / "config.json").get("model_type"))
    known = sorted(TasksManager.get_supported_model_type_for_task(TASK, "onnx"))
    if family not in known:
        raise InputError(
            f"models of the family {family!r} cannot be exported for {TASK}",
            where=checkpoint / "config.json",
            expected=", ".join(known),
            do=nearest(family, known) or "train with an encoder of one of these families",
        )
    return family


def export_graph(checkpoint: Path, scratch: Path) -> onnx.ModelProto:
    """The graph of a checkpoint as optimum exports it, in memory, with dynamic batch and length.

    scratch: an existing folder to work in. Raises what `open_network` raises.
    """
    model: Any = open_network(checkpoint)
    # What a decoder keeps for the next token would be outputs of the graph.
    model.config.use_cache = False
    with (
        tempfile.TemporaryDirectory(dir=scratch) as folder,
        tempfile.TemporaryDirectory(dir=scratch) as empty,
        _silence(),
    ):
        # optimum looks in the model's own folder for tokenizers and processors to save, and would open what is there.
        model.config._name_or_path = empty
        # No validation: optimum's only warns, and parity on real rows is a gate of our own.
        onnx_export_from_model(
            model=model, output=folder, task=TASK, device="cpu", no_post_process=True, do_validation=False
        )
        return onnx.load(Path(folder) / "model.onnx")


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporters' chatter off both streams: it warns of constants in the trace, which parity then checks."""
    logging.set_verbosity_error()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
