"""One ONNX Runtime session: the file by precision, the provider really got, and batches to logits."""

from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from export.bundle import Bundle
from trainer.contract.encoding import Batch
from trainer.contract.errors import ArtifactError, InputError, nearest

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
# "auto" takes the first of these that the bundle holds.
_PREFERRED = {CPU: ("int8", "fp32", "fp16"), CUDA: ("fp16", "fp32", "int8")}
_DTYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """What a session is asked to be.

    precision: "auto", "fp32", "int8" or "fp16". device: "auto", "cpu", "cuda" or "cuda:N".
    threads: intra-op threads of one run. arena: whether ONNX Runtime keeps freed memory for the next batch.
    """

    precision: str = "auto"
    device: str = "auto"
    allow_cpu_fallback: bool = False
    threads: int = 1
    arena: bool = True


class Session:
    """Runs batches; safe to call from several threads. `precision` and `provider` are what was really got."""

    def __init__(self, session: ort.InferenceSession, precision: str, labels: int) -> None:
        self.precision = precision
        self.provider: str = session.get_providers()[0]
        self._session = session
        self._labels = labels
        self._inputs = {item.name: _DTYPES.get(item.type, np.int64) for item in session.get_inputs()}
        self._output: str = session.get_outputs()[0].name

    @classmethod
    def open(cls, bundle: Bundle, options: SessionOptions) -> "Session":
        """Open the bundle's file for a precision on a device.

        Raises InputError where the bundle lacks the precision or the device is not to be had, ArtifactError where the
        graph does not fit the bundle.
        """
        wanted = _provider(options.device)
        precision = _precision(bundle, options.precision, wanted[0])
        if options.device == "auto":
            # Nobody asked for the GPU whose absence ONNX Runtime would announce in red.
            ort.set_default_logger_severity(4)
        try:
            session = _create(bundle, precision, wanted, options)
        finally:
            ort.set_default_logger_severity(2)
        got = session.get_providers()[0]
        if got != wanted[0] and options.device != "auto" and not options.allow_cpu_fallback:
            raise InputError(
                "the session did not get the device that was asked for",
                where=bundle.graph_path(precision),
                found=got,
                expected=wanted[0],
                do="run `python -m serve doctor` for the cause, or accept the processor with --allow-cpu-fallback",
            )
        if got != wanted[0] and _precision(bundle, options.precision, got) != precision:
            # The file that is best on a GPU is not the one that is best where the session ended up.
            precision = _precision(bundle, options.precision, got)
            session = _create(bundle, precision, (got, {}), options)
        _check_shape(session, bundle, precision)
        return cls(session, precision, len(bundle.contract.labels))

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Logits of a batch, float32 [B, C]."""
        named = batch.named()
        feed = {name: named[name].astype(dtype, copy=False) for name, dtype in self._inputs.items()}
        logits: NDArray[np.float32] = self._session.run([self._output], feed)[0].astype(np.float32, copy=False)
        if logits.shape != (len(batch.ids), self._labels):
            raise ArtifactError(
                "the graph gives another shape than the labels",
                found=list(logits.shape),
                expected=[len(batch.ids), self._labels],
                do="export again",
            )
        return logits


def _provider(device: str) -> tuple[str, dict[str, str]]:
    """The execution provider and its options for a device's name."""
    kind, _, number = device.partition(":")
    if device == "auto":
        return (CUDA if CUDA in ort.get_available_providers() else CPU), {}
    if device == "cpu":
        return CPU, {}
    if kind == "cuda" and (not number or number.isdecimal()):
        if CUDA in ort.get_available_providers():
            return CUDA, {"device_id": number or "0"}
        raise InputError(
            "the installed ONNX Runtime has no CUDA",
            found=f"onnxruntime {ort.__version__} with {', '.join(ort.get_available_providers())}",
            expected=CUDA,
            do="pip uninstall -y onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu; or use --device cpu",
        )
    raise InputError(
        "unknown device",
        found=repr(device),
        expected="auto, cpu, cuda or cuda:N",
        do=nearest(device, ["auto", "cpu", "cuda"]),
    )


def _precision(bundle: Bundle, precision: str, provider: str) -> str:
    """What "auto" means for a provider; any other precision must be in the bundle."""
    if precision == "auto":
        held = [name for name in _PREFERRED[provider] if name in bundle.manifest.graphs]
        precision = held[0] if held else "fp32"
    bundle.graph(precision)
    return precision


def _create(
    bundle: Bundle, precision: str, provider: tuple[str, dict[str, str]], options: SessionOptions
) -> ort.InferenceSession:
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    # Batches differ in shape, and the pattern of each shape would be kept: memory would grow with the shapes seen.
    settings.enable_mem_pattern = False
    settings.enable_cpu_mem_arena = options.arena
    settings.log_severity_level = 3
    providers = [provider] if provider[0] == CPU else [provider, (CPU, {})]
    path = bundle.graph_path(precision)
    try:
        return ort.InferenceSession(
            str(path),
            settings,
            providers=providers,
            disabled_optimizers=list(bundle.graph(precision).disabled_optimizers),
        )
    # ONNX Runtime's exceptions share no base but this one.
    except Exception as error:
        raise ArtifactError(
            "ONNX Runtime cannot open the graph",
            where=path,
            found=str(error)[:300],
            do="upgrade onnxruntime, or export again with the installed version",
        ) from error


def _check_shape(session: ort.InferenceSession, bundle: Bundle, precision: str) -> None:
    """Raise ArtifactError where the graph's declared inputs or its width are not the contract's."""
    where = bundle.graph_path(precision)
    known = ("input_ids", "attention_mask", "token_type_ids")
    unknown = [item.name for item in session.get_inputs() if item.name not in known]
    if unknown:
        raise ArtifactError(
            "the graph asks for an input we do not make",
            where=where,
            found=", ".join(unknown),
            expected=", ".join(known),
            do="export again",
        )
    shape = session.get_outputs()[0].shape
    labels = len(bundle.contract.labels)
    if len(shape) != 2 or (isinstance(shape[1], int) and shape[1] != labels):
        raise ArtifactError(
            "the graph's output does not fit the labels",
            where=where,
            found=shape,
            expected=f"[rows, {labels}]",
            do="export again",
        )
