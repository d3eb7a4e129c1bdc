"""Which exporter writes the graph: the one asked for, or the first that this environment can import."""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import onnx
import transformers
from transformers.utils import logging as transformers_logging

from trainer.contract.errors import ClassifactError, InputError
from trainer.contract.lanes import other_lane
from trainer.opening.checkpoint import open_network

# In the order in which `auto` tries them. Each file offers `graph_of(model, scratch)`, and fails to import where
# what it needs is missing or does not fit.
EXPORTERS = {
    "optimum": "export.exporters.with_optimum",
    "transformers": "export.exporters.with_transformers",
    "torch": "export.exporters.with_torch",
}
AUTO = "auto"
# What brings one, and the lane that it is of: in the other lane's environment the line would break what is there.
_REMEDIES = {
    "optimum": ("pip install -c constraints.txt optimum-onnx", "4"),
    "transformers": ("pip install -c constraints-5.txt transformers onnxscript", "5"),
    "torch": ("pip install torch", ""),
}


def choose_exporter(asked: str = AUTO) -> str:
    """The name of the exporter that will be used, one of EXPORTERS.

    Raises ClassifactError where the one asked for cannot be imported here.
    """
    for name in EXPORTERS if asked == AUTO else (asked,):
        try:
            _module(name)
        except ImportError as error:
            if asked != AUTO:
                raise ClassifactError(
                    f"the exporter {name!r} cannot be used here", found=str(error)[:300], do=_remedy(name)
                ) from error
            continue
        return name
    raise ClassifactError("no exporter can be imported", do=_remedy("torch"))


def export_graph(checkpoint: Path, scratch: Path, exporter: str = AUTO) -> onnx.ModelProto:
    """The graph of a checkpoint in memory: inputs [B, T] by name, output "logits" [B, C], dynamic batch and length.

    scratch: an existing folder to work in. Raises what `open_network` raises, and InputError where the exporter cannot
    export this network.
    """
    name = choose_exporter(exporter)
    make: Callable[[Any, Path], onnx.ModelProto] = _module(name).graph_of
    # Opened again, not handed over: exporters change a model's settings, and the caller's gives torch's logits.
    model: Any = open_network(checkpoint)
    # What a decoder keeps for the next token would be outputs of the graph.
    model.config.use_cache = False
    with tempfile.TemporaryDirectory(dir=scratch) as folder, _silence():
        try:
            return _without_notes(make(model, Path(folder)))
        except Exception as error:
            # Exporters raise whatever the operator that stopped them raised.
            raise InputError(
                f"the exporter {name!r} cannot export this network",
                where=checkpoint,
                found=str(error).strip()[:300],
                do=f"choose another --exporter: {', '.join(EXPORTERS)}",
            ) from error


def _remedy(name: str) -> str:
    line, lane = _REMEDIES[name]
    return other_lane(transformers.__version__, written_by=lane) or line


def _without_notes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Take out what an exporter notes for people, in place: torch's notes name files of this machine, and would make
    the same run other bytes on another.
    """
    for part in (model, *_parts(model.graph)):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


def _parts(graph: onnx.GraphProto) -> Iterator[Any]:
    """A graph and all in it that can hold a note, the branches of its nodes too."""
    yield from (graph, *graph.input, *graph.output, *graph.value_info, *graph.initializer, *graph.node)
    for node in graph.node:
        for entry in node.attribute:
            if entry.type == onnx.AttributeProto.GRAPH:
                yield from _parts(entry.g)


def _module(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Imported only when asked for: each brings a library that the others do without.
        return import_module(EXPORTERS[name])


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporters' chatter off both streams: it warns of constants in the trace, which parity then checks."""
    transformers_logging.set_verbosity_error()
    level = logging.root.manager.disable
    # torch's handlers hold on to the stream that was there when it was imported.
    logging.disable(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
