"""A session is what was asked for, or an error says what it is instead."""

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

import serve.scorer
import serve.scoring.session
from export.bundle import GRAPH_FILES, PACKED_FILE, Bundle
from serve.scorer import Scorer
from serve.scoring.session import CPU, CUDA, Session, SessionOptions, _arena, _providers, open_sessions
from serve.scoring.settings import ScorerOptions
from tests.serve import bundles
from trainer.contract.errors import InputError


def _open(bundle: Path, **options: Any) -> Session:
    return open_sessions(Bundle.open(bundle), SessionOptions(**options))[0]


def test_auto_takes_int8_on_a_processor(single: Path) -> None:
    """ "auto" is int8 on a processor where the bundle has it."""
    session = _open(single, device="cpu")
    assert (session.precision, session.provider) == ("int8", CPU)


def test_auto_takes_fp32_where_there_is_no_int8(tmp_path: Path) -> None:
    """ "auto" is fp32 where the bundle has no int8, and asking for int8 names what there is."""
    bundle = bundles.make(tmp_path / "bundle", bundles.contract(), precisions=("fp32",))
    assert _open(bundle).precision == "fp32"
    with pytest.raises(InputError, match="no int8 file"):
        _open(bundle, precision="int8")


@pytest.mark.parametrize(
    ("keeps", "asked", "provider", "arena"),
    [
        (True, None, CPU, False),
        (False, None, CPU, True),
        (True, None, CUDA, True),
        (True, True, CPU, True),
        (False, False, CPU, False),
    ],
)
def test_threads_share_no_memory_on_a_processor(
    *, keeps: bool, asked: bool | None, provider: str, arena: bool, single: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thread has a heap of its own where the C library keeps what it frees, and `tune` may have it otherwise."""
    monkeypatch.setattr(serve.scoring.session, "threads_keep_memory", lambda: keeps)
    assert _arena(SessionOptions(arena=asked), provider) is arena
    if provider == CPU:
        assert _open(single, device="cpu", arena=asked).arena is arena


def test_missing_cuda_is_an_error(single: Path) -> None:
    """Asking for CUDA where the installed ONNX Runtime has none names the remedy."""
    if CUDA in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(InputError) as error:
        _open(single, device="cuda")
    assert "pip install onnxruntime-gpu" in str(error.value)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:0,", "cpu:1", ""])
def test_unknown_device(single: Path, device: str) -> None:
    """A device that does not exist is refused with those that do."""
    with pytest.raises(InputError, match="unknown device"):
        _open(single, device=device)


def test_silent_fall_to_the_processor(single: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that asked for CUDA and got the processor is an error, unless the processor was allowed."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    real = ort.InferenceSession

    def falling(path: str, settings: Any, **options: Any) -> Any:
        # What the GPU build does on a machine without CUDA: two lines on standard error and a CPU session.
        return real(path, settings, **{**options, "providers": [CPU]})

    monkeypatch.setattr(ort, "InferenceSession", falling)
    with pytest.raises(InputError) as error:
        _open(single, device="cuda:0")
    assert CPU in str(error.value)
    assert "--allow-cpu-fallback" in str(error.value)
    session = _open(single, device="cuda:0", allow_cpu_fallback=True)
    assert (session.provider, session.precision) == (CPU, "int8")
    assert _open(single, device="auto").provider == CPU


def test_disabled_optimizers_reach_the_session(single: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the manifest switches off is switched off on a processor, and on a GPU left as it is."""
    seen: list[list[str]] = []
    real = ort.InferenceSession

    def spy(*args: Any, **options: Any) -> Any:
        seen.append(options["disabled_optimizers"])
        return real(*args, **{**options, "providers": [CPU]})

    monkeypatch.setattr(ort, "InferenceSession", spy)
    bundle = Bundle.open(single)
    object.__setattr__(bundle.manifest.graphs["fp32"], "disabled_optimizers", ("SkipLayerNormFusion",))
    open_sessions(bundle, SessionOptions(precision="fp32", device="cpu"))
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    open_sessions(bundle, SessionOptions(precision="fp32", device="cuda", allow_cpu_fallback=True))
    assert seen == [["SkipLayerNormFusion"], []]


def _sessions(bundle: Bundle) -> list[Session]:
    """One that hands arrays over, and one that binds them, on the processor."""
    (plain,) = open_sessions(bundle, SessionOptions(precision="fp32", device="cpu"))
    return [plain, Session(plain._session, "fp32", len(bundle.contract.labels), ("cpu", 0))]


def test_bound_inputs_and_outputs(single: Path) -> None:
    """IO binding, which GPUs get, gives the logits that arrays give, batch after batch of other shapes."""
    bundle = Bundle.open(single)
    plain, bound = _sessions(bundle)
    encoder = bundle.encoder()
    for count in (1, 7, 3):
        encoded = encoder.encode(bundles.texts(count), None)
        batch = encoder.pad(encoded, np.arange(count))
        np.testing.assert_array_equal(bound.run(batch), plain.run(batch))


def test_a_session_on_each_device(single: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several devices each score a share of the batches, with workers of their own."""
    bundle = Bundle.open(single)
    sessions = _sessions(bundle)
    counts = [0, 0]
    for number, session in enumerate(sessions):

        def run(batch: Any, number: int = number, inner: Any = session.run) -> Any:
            counts[number] += 1
            return inner(batch)

        monkeypatch.setattr(session, "run", run)
    monkeypatch.setattr(serve.scorer, "open_sessions", lambda *_: sessions)
    with Scorer(bundle, ScorerOptions(workers=2, batch_tokens=64)) as scorer:
        found = scorer.predict_proba(bundles.texts(200))
    assert scorer.workers == 4
    assert min(counts) > 0
    monkeypatch.undo()
    with Scorer.open(single, precision="fp32", device="cpu", batch_tokens=64) as alone:
        np.testing.assert_allclose(found, alone.predict_proba(bundles.texts(200)), atol=1e-6)


def test_names_of_several_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices are named by numbers, each once."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    assert [options["device_id"] for _, options in _providers("cuda:1,0,1")] == ["1", "0"]


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_fp32_is_fp32_on_a_gpu(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    """Products of fp32 keep all their digits: with TF32, ONNX Runtime's default, the canary would refuse the file.
    Of the kernels of attention cuDNN's (8) is left out.
    """
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    assert _providers(device) == [(CUDA, {"device_id": "0", "use_tf32": "0", "sdpa_kernel": "55"})]


def test_a_gpu_of_another_number(single: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is not there is an error with ONNX Runtime's reason, or the processor where that was allowed."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    real = ort.InferenceSession

    def failing(path: str, settings: Any, *, providers: list[Any], **options: Any) -> Any:
        assert options["enable_fallback"] == 0, "a GPU that fails in a job must not become the processor"
        if providers[0][0] == CUDA:
            raise RuntimeError("Invalid device ID: 7")
        return real(path, settings, providers=providers, **options)

    monkeypatch.setattr(ort, "InferenceSession", failing)
    with pytest.raises(InputError, match="did not get the device") as error:
        _open(single, device="cuda:7")
    assert "Invalid device ID: 7" in str(error.value)
    assert _open(single, device="cuda:7", allow_cpu_fallback=True).provider == CPU


def test_padding_free_on_a_gpu_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU fp16 is the padding-free file where the bundle has it; elsewhere, and in other precisions, it is not."""
    made = bundles.make(tmp_path / "b", bundles.contract(), precisions=("fp32",))
    for name in (GRAPH_FILES["fp16"], PACKED_FILE):
        (made / name).write_bytes((made / GRAPH_FILES["fp32"]).read_bytes())
    golden = {name: Bundle.open(made).graph("fp32").golden for name in ("fp32", "fp16")}
    bundles.reseal(made, bundles.contract(), ("fp32", "fp16"), golden)
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    real, opened = ort.InferenceSession, list[tuple[str, str]]()

    def spy(path: str, settings: Any, *, providers: list[Any], **options: Any) -> Any:
        opened.append((Path(path).name, providers[0][0]))
        return real(path, settings, providers=[CPU], **options)

    monkeypatch.setattr(ort, "InferenceSession", spy)
    for precision, device in (("fp16", "cuda"), ("fp32", "cuda"), ("fp16", "cpu")):
        _open(made, precision=precision, device=device, allow_cpu_fallback=True)
    assert opened == [("model_fp16_packed.onnx", CUDA), ("model.onnx", CUDA), ("model_fp16.onnx", CPU)]


def test_a_closed_scorer_frees_its_sessions(single: Path) -> None:
    """Closing frees ONNX Runtime's session at once, so that no GPU is left for the interpreter's end; twice is once."""
    scorer = Scorer.open(single, device="cpu")
    held = weakref.ref(scorer.session._session)
    scorer.close()
    scorer.close()
    assert held() is None
