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
# protobuf cannot hold more; larger graphs keep their weights in a file beside.
INLINE_BYTES = 2**31 - 2**20


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


def save_graph(graph: onnx.ModelProto, path: Path) -> None:
    """Write a graph; one too large for a single file keeps its weights in NAME_data beside it."""
    if graph.ByteSize() < INLINE_BYTES:
        path.write_bytes(graph.SerializeToString(deterministic=True))
        return
    onnx.save_model(
        graph, str(path), save_as_external_data=True, all_tensors_to_one_file=True, location=path.name + "_data"
    )


def opset(graph: onnx.ModelProto) -> int:
    """The version of the standard operators that a graph uses."""
    return next(int(entry.version) for entry in graph.opset_import if entry.domain in ("", "ai.onnx"))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporters' chatter off both streams: it warns of constants in the trace, which parity then checks."""
    logging.set_verbosity_error()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
