"""What is wrong with an installation, and how to repair it: above all, which ONNX Runtime a session really gets."""

from dataclasses import dataclass, field
from typing import Any

from classifact import own_packages
from export.bundle import instruction_set
from serve.operations.fitting import misfits
from trainer.contract.system.installed import installed_versions
from trainer.contract.system.machine import cpu_count, memory_limit

# Distributions that all install the one package `onnxruntime`, each over the other's files.
_DISTRIBUTIONS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-qnn",
    "onnxruntime-training",
)


# In every build, and nothing that scoring asks for; TensorRT's absence is announced on standard output, too.
_UNUSED = frozenset({"AzureExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider"})


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What was found."""

    installed: dict[str, str]
    """Distributions of ONNX Runtime, with their versions. More than one is one too many."""
    version: str | None
    """Of the package that is imported; None where none can be."""
    providers: list[str] = field(default_factory=list)
    """Those compiled in: facts of the build, not of the machine."""
    sessions: dict[str, str] = field(default_factory=dict)
    """A provider that was asked for to the one that a session really got, or the error."""
    instruction_set: str = ""
    processors: int = 0
    """That this process may use, by its affinity and its container's quota."""
    memory_bytes: int | None = None
    """That this process may use, by its container's limit and the machine's size; None: not told."""
    problems: list[str] = field(default_factory=list)
    """What is wrong."""
    repair: list[str] = field(default_factory=list)
    """The commands that mend it, in order."""


def diagnose() -> Diagnosis:
    """Look at the installation and open a session on each provider that it names."""
    installed = installed_versions(_DISTRIBUTIONS)
    problems, repair = _collision(installed)
    misnamed, renaming = (own + others for own, others in zip(own_packages.problems(), misfits(), strict=True))
    try:
        import onnxruntime as ort

        ort.InferenceSession  # noqa: B018  A half-removed installation imports and lacks this.
    except (ImportError, AttributeError) as error:
        # The collision's repair mends this too, and must be said once.
        wanted = "onnxruntime-gpu" if "onnxruntime-gpu" in installed else "onnxruntime"
        return Diagnosis(
            installed=installed,
            version=None,
            problems=[*problems, f"ONNX Runtime cannot be imported: {error}", *misnamed],
            repair=[*(repair or _reinstall([wanted], wanted)), *renaming],
            instruction_set=instruction_set(),
            processors=cpu_count(),
            memory_bytes=memory_limit(),
        )
    providers = list(ort.get_available_providers())
    sessions = {name: _session(ort, name) for name in providers if name not in _UNUSED}
    lost = [name for name, got in sessions.items() if got != name]
    problems += [f"{name} is compiled in, and a session that asks for it gets: {sessions[name]}" for name in lost]
    if "CUDAExecutionProvider" in lost and not repair:
        repair = [
            "check that `nvidia-smi` lists a GPU",
            f"pip install 'onnxruntime-gpu[cuda,cudnn]=={ort.__version__}'",
        ]
    return Diagnosis(
        installed=installed,
        version=ort.__version__,
        providers=providers,
        sessions=sessions,
        problems=problems + misnamed,
        repair=repair + renaming,
        instruction_set=instruction_set(),
        processors=cpu_count(),
        memory_bytes=memory_limit(),
    )


def _collision(installed: dict[str, str]) -> tuple[list[str], list[str]]:
    """Two distributions own one package: the later one's files won, and removing either leaves a broken rest."""
    if not installed:
        return ["no ONNX Runtime is installed"], ["pip install 'classifact[serve]'"]
    if len(installed) == 1:
        return [], []
    names = list(installed)
    keep = "onnxruntime-gpu" if "onnxruntime-gpu" in installed else names[-1]
    problem = f"{' and '.join(names)} are both installed and overwrite each other's files"
    return [problem], _reinstall(names, f"{keep}=={installed[keep]}")


def _reinstall(names: list[str], wanted: str) -> list[str]:
    return [f"pip uninstall -y {' '.join(names)}", f"pip install {wanted}"]


def _session(ort: Any, provider: str) -> str:
    """The provider that a session really gets; lists of providers are facts of the build, not of the machine."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(tiny_model(), options, providers=[provider])
    # ONNX Runtime's exceptions share no base but this one.
    except Exception as error:  # noqa: BLE001
        return f"error: {str(error)[:200]}"
    return str(session.get_providers()[0])


def tiny_model() -> bytes:
    """An ONNX model of one Identity on a float [1], written in protobuf's wire format by hand: `onnx` is not needed.

    Field numbers are those of onnx.proto: ModelProto 1 ir_version, 7 graph, 8 opset_import; GraphProto 1 node, 2 name,
    11 input, 12 output; NodeProto 1 input, 2 output, 4 op_type; ValueInfoProto 1 name, 2 type.
    """
    shape = _bytes(1, _number(1, 1))
    tensor = _bytes(1, _number(1, 1) + _bytes(2, shape))
    node = _bytes(1, b"x") + _bytes(2, b"y") + _bytes(4, b"Identity")
    values = [_bytes(1, name) + _bytes(2, tensor) for name in (b"x", b"y")]
    graph = _bytes(1, node) + _bytes(2, b"tiny") + _bytes(11, values[0]) + _bytes(12, values[1])
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, _number(2, 13))


def _number(key: int, value: int) -> bytes:
    """A varint field; keys below 16 and values below 128 take a byte each."""
    return bytes([key << 3, value])


def _bytes(key: int, content: bytes) -> bytes:
    """A length-delimited field of fewer than 128 bytes."""
    return bytes([key << 3 | 2, len(content)]) + content
