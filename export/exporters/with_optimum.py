"""Best checkpoint to ONNX. The only file that touches optimum, so that another exporter is a change to one file."""

import contextlib
import io
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
from optimum.exporters.onnx import main_export
from optimum.exporters.tasks import TasksManager
from transformers.utils import logging

from trainer.contract.errors import InputError, nearest
from trainer.contract.files import read_json

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

    scratch: an existing folder to work in.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as folder, _silence():
        # No validation: optimum's only warns, and parity on real rows is a gate of our own.
        main_export(
            str(checkpoint),
            folder,
            task=TASK,
            framework="pt",
            library_name="transformers",
            device="cpu",
            dtype="fp32",
            no_post_process=True,
            do_validation=False,
            local_files_only=True,
            trust_remote_code=False,
        )
        return onnx.load(Path(folder) / "model.onnx")


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporters' chatter off both streams: it warns of constants in the trace, which parity then checks."""
    logging.set_verbosity_error()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
