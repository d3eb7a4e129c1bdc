"""ONNX Runtime sessions: the file by precision, the provider really got, and batches to logits."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from export.bundle import PACKED_FILE, Bundle
from trainer.contract.encoding import Batch, Ints
from trainer.contract.errors import ArtifactError, ClassifactError, InputError, UsageError, nearest
from trainer.contract.system.machine import threads_keep_memory

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
# "auto" takes the first of these that the bundle holds.
_PREFERRED = {CPU: ("int8", "fp32", "fp16"), CUDA: ("fp16", "fp32", "int8")}
# An execution provider's name, and its options.
Provider = tuple[str, dict[str, str]]
_DTYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


# ONNX Runtime's bits of its CUDA kernels of attention: flash, memory-efficient, two of TensorRT's, and plain products.
_ATTENTION = 1 + 2 + 4 + 32 + 16
# How ONNX Runtime's allocators, C++ and CUDA say that memory ran out.
_NO_MEMORY = re.compile(
    "out of memory|bad.?alloc|failed to allocate|alloc_failed|cudaErrorMemoryAllocation|available memory of", re.I
)


class RunError(ClassifactError):
    """ONNX Runtime failed on a batch."""

    rows: Ints | None = None
    """Of the window's different texts, those it failed on; None: all of the batch."""

    def at(self, names: list[object], count: int) -> "RunError":
        """The same error with the first of the `count` rows named as whoever asked names them."""
        shown = ", ".join(map(str, names)) + (f" and {count - len(names)} more" if count > len(names) else "")
        details = {**self.details, "where": f"row {shown}" if count == 1 else f"rows {shown}"}
        return type(self)(self.what, **details)


class OutOfMemoryError(RunError):
    """The batch, or one row of it, did not fit into memory."""


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """What a session is asked to be."""

    precision: str = "auto"
    """auto, fp32, int8 or fp16."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or, for a session on each, cuda:0,1."""
    allow_cpu_fallback: bool = False
    """Whether a session that gets the processor instead of the device is accepted."""
    threads: int = 1
    """Threads inside one run. Workers that each run a batch of their own use the processors better."""
    arena: bool | None = None
    """Whether ONNX Runtime keeps freed memory, for the next batch of any thread; None: where that is faster."""


class Session:
    """Runs batches; safe to call from several threads. `precision`, `provider` and `arena` are what was really got.

    bound: the device on which inputs and outputs are placed by IO binding; None: they are handed over as arrays, which
        on a processor is the same memory.
    """

    def __init__(
        self, session: ort.InferenceSession, precision: str, labels: int, bound: tuple[str, int] | None = None
    ) -> None:
        self.precision = precision
        self._bound = bound
        self.provider: str = session.get_providers()[0]
        self.arena: bool = session.get_session_options().enable_cpu_mem_arena
        self._session = session
        self._labels = labels
        self._inputs = {item.name: _DTYPES.get(item.type, np.int64) for item in session.get_inputs()}
        self._output: str = session.get_outputs()[0].name

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Logits of a batch, float32 [B, C]. Raises OutOfMemoryError, and RunError for any other failure."""
        named = batch.named()
        feed = {name: named[name].astype(dtype, copy=False) for name, dtype in self._inputs.items()}
        try:
            found = self._session.run([self._output], feed)[0] if self._bound is None else self._run_bound(feed)
        # ONNX Runtime's exceptions share no base but this one.
        except Exception as error:
            raise _run_error(error, batch) from error
        logits: NDArray[np.float32] = found.astype(np.float32, copy=False)
        if logits.shape != (len(batch.ids), self._labels):
            raise ArtifactError(
                "the graph gives another shape than the labels",
                found=list(logits.shape),
                expected=[len(batch.ids), self._labels],
                do="export again",
            )
        return logits

    def close(self) -> None:
        """Free the device. On a GPU before the interpreter ends: CUDA may be gone by the time that it clears up."""
        del self._session

    def _run_bound(self, feed: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """One copy to the device, one back, and none that ONNX Runtime would make in between."""
        kind, number = self._bound or ("cpu", 0)
        binding = self._session.io_binding()
        for name, array in feed.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array, kind, number))
        binding.bind_output(self._output, kind, number)
        self._session.run_with_iobinding(binding)
        logits: NDArray[Any] = binding.copy_outputs_to_cpu()[0]
        return logits


def _run_error(error: Exception, batch: Batch) -> RunError:
    """ONNX Runtime's error in our form."""
    rows, tokens = batch.ids.shape
    found = f"{rows} rows of {tokens} tokens: {str(error).strip()[:300] or type(error).__name__}"
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        return OutOfMemoryError(
            "there is not enough memory to score a row",
            found=found,
            do="free some memory, give fewer --workers, or export with a smaller max_tokens",
        )
    return RunError(
        "ONNX Runtime cannot score a batch",
        found=found,
        do="run `classifact check`; score with another --precision or --device, or report this with the rows",
    )


def open_sessions(bundle: Bundle, options: SessionOptions) -> list[Session]:
    """A session on each device that was asked for; all are of one precision.

    Raises InputError where the bundle lacks the precision or a device is not to be had, ArtifactError where the graph
    does not fit the bundle.
    """
    # It warns of every GPU session, and announces in red the lack of a GPU that nobody asked for.
    ort.set_default_logger_severity(4 if options.device == "auto" else 3)
    try:
        sessions = [_open(bundle, options, wanted) for wanted in _providers(options.device)]
    finally:
        ort.set_default_logger_severity(2)
    # One on the processor, which was asked for or fallen back to, would hold up those on GPUs, and needs no company.
    return [session for session in sessions if session.provider != CPU] or sessions[:1]


def _open(bundle: Bundle, options: SessionOptions, wanted: Provider) -> Session:
    precision = _precision(bundle, options.precision, wanted[0])
    session, reason = _create_or_fall(bundle, precision, wanted, options)
    got = session.get_providers()[0]
    if got != wanted[0] and options.device != "auto" and not options.allow_cpu_fallback:
        raise InputError(
            "the session did not get the device that was asked for",
            where=bundle.graph_path(precision),
            found=f"{got} ({reason})" if reason else got,
            expected=wanted[0],
            do="run `classifact doctor` for the cause, or accept the processor with --allow-cpu-fallback",
        )
    if got != wanted[0] and _precision(bundle, options.precision, got) != precision:
        # The file that is best on a GPU is not the one that is best where the session ended up.
        precision = _precision(bundle, options.precision, got)
        session = _create(bundle, precision, (got, {}), options)
    _check_shape(session, bundle, precision)
    bound = ("cuda", int(wanted[1].get("device_id", "0"))) if got == CUDA else None
    return Session(session, precision, len(bundle.contract.labels), bound)


def _providers(device: str) -> list[Provider]:
    """The execution providers for a device's name."""
    kind, _, numbers = device.partition(":")
    if device == "auto":
        return [_cuda("0") if CUDA in ort.get_available_providers() else (CPU, {})]
    if device == "cpu":
        return [(CPU, {})]
    if kind == "cuda" and re.fullmatch(r"cuda(:\d+(,\d+)*)?", device):
        if CUDA in ort.get_available_providers():
            return [_cuda(number or "0") for number in dict.fromkeys(numbers.split(","))]
        raise InputError(
            "the installed ONNX Runtime has no CUDA",
            found=f"onnxruntime {ort.__version__} with {', '.join(ort.get_available_providers())}",
            expected=CUDA,
            do="pip uninstall -y onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu; or use --device cpu",
        )
    raise UsageError(
        "unknown device",
        found=repr(device),
        expected="auto, cpu, cuda, cuda:N or cuda:N,M",
        do=nearest(device, ["auto", "cpu", "cuda"]),
    )


def _cuda(number: str) -> Provider:
    """A GPU, on which fp32 is fp32: ONNX Runtime would round its products' factors to TF32's 10 bits. And without
    cuDNN's attention, which plans anew for each shape: 40 ms on an H200 for batches that take 1, and ours all differ.
    """
    return CUDA, {"device_id": number, "use_tf32": "0", "sdpa_kernel": str(_ATTENTION)}


def _precision(bundle: Bundle, precision: str, provider: str) -> str:
    """What "auto" means for a provider; any other precision must be in the bundle."""
    if precision == "auto":
        held = [name for name in _PREFERRED[provider] if name in bundle.manifest.graphs]
        precision = held[0] if held else "fp32"
    bundle.graph(precision)
    return precision


def _create_or_fall(
    bundle: Bundle, precision: str, wanted: Provider, options: SessionOptions
) -> tuple[ort.InferenceSession, str]:
    """A session on the device, or on the processor and why: ONNX Runtime itself falls where CUDA's libraries are
    missing, and fails where there is no GPU of that number.
    """
    try:
        return _create(bundle, precision, wanted, options), ""
    except ArtifactError as error:
        if wanted[0] == CPU:
            raise
        return _create(bundle, precision, (CPU, {}), options), str(error.details["found"])


def _create(bundle: Bundle, precision: str, provider: Provider, options: SessionOptions) -> ort.InferenceSession:
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    # Batches differ in shape, and the pattern of each shape would be kept: memory would grow with the shapes seen.
    settings.enable_mem_pattern = False
    settings.enable_cpu_mem_arena = _arena(options, provider[0])
    settings.log_severity_level = 3
    providers = [provider] if provider[0] == CPU else [provider, (CPU, {})]
    path = _file(bundle, precision, provider[0])
    try:
        return ort.InferenceSession(
            str(path),
            settings,
            providers=providers,
            # They lose on processors; a GPU has kernels of its own for what they fuse.
            disabled_optimizers=list(bundle.graph(precision).disabled_optimizers) if provider[0] == CPU else [],
            # Its wrapper would go on with the processor after a GPU's failure, also in the middle of a job.
            enable_fallback=0,
        )
    # ONNX Runtime's exceptions share no base but this one.
    except Exception as error:
        raise ArtifactError(
            "ONNX Runtime cannot open the graph",
            where=path,
            found=str(error)[:300],
            do="upgrade onnxruntime, or export again with the installed version",
        ) from error


def _arena(options: SessionOptions, provider: str) -> bool:
    """Whether threads share memory between batches. A block that another processor wrote last is dear where the two
    have no cache in common: then a thread is better served by its own heap.
    """
    if options.arena is not None:
        return options.arena
    return provider != CPU or not threads_keep_memory()


def _file(bundle: Bundle, precision: str, provider: str) -> Path:
    """The ONNX file of a precision; on a GPU fp16 is the padding-free form where the bundle has it."""
    # A file that the manifest gives no hash for is not the bundle's.
    if (precision, provider) == ("fp16", CUDA) and PACKED_FILE in bundle.manifest.files:
        return bundle.path / PACKED_FILE
    return bundle.graph_path(precision)


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
