"""The doctor finds what is wrong with an installation and says the lines that mend it."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from serve.operations.doctor import diagnose, tiny_model
from serve.operations.fitting import misfits


def _install(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    installed = {name.replace("_", "-"): version for name, version in versions.items()}

    def version(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(importlib.metadata, "version", version)


def test_two_distributions_collide(monkeypatch: pytest.MonkeyPatch) -> None:
    """With both the CPU and the GPU distribution the repair removes both and installs the GPU one again."""
    _install(monkeypatch, onnxruntime="1.31.1", onnxruntime_gpu="1.31.0")
    found = diagnose()
    assert "onnxruntime and onnxruntime-gpu are both installed" in found.problems[0]
    assert found.repair == [
        "pip uninstall -y onnxruntime onnxruntime-gpu",
        "pip install onnxruntime-gpu==1.31.0",
    ]


def test_broken_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left after one of two distributions was removed imports and has no session: it is installed anew."""
    _install(monkeypatch, onnxruntime_gpu="1.31.0")
    monkeypatch.setitem(sys.modules, "onnxruntime", type(sys)("onnxruntime"))
    found = diagnose()
    assert found.version is None
    assert found.repair == ["pip uninstall -y onnxruntime-gpu", "pip install onnxruntime-gpu"]


def test_none_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any distribution the install line is given."""
    _install(monkeypatch)
    assert diagnose().repair == ["pip install 'classifact[serve]'"]


def test_a_provider_that_no_session_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider of the build that the machine lacks is told from the session, not from the list."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    real = ort.InferenceSession
    monkeypatch.setattr(
        ort, "InferenceSession", lambda model, options, **_: real(model, options, providers=["CPUExecutionProvider"])
    )
    found = diagnose()
    assert found.sessions["CUDAExecutionProvider"] == "CPUExecutionProvider"
    assert any("CUDAExecutionProvider is compiled in" in problem for problem in found.problems)
    assert any("nvidia-smi" in line for line in found.repair)


def test_sound_installation() -> None:
    """Here nothing is wrong, and the processor's session is really opened."""
    found = diagnose()
    assert found.sessions["CPUExecutionProvider"] == "CPUExecutionProvider"
    assert found.version == ort.__version__


def test_a_containers_limits_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processors and memory are those that this process may use, not the machine's."""
    monkeypatch.setattr("serve.operations.doctor.cpu_count", lambda: 3)
    monkeypatch.setattr("serve.operations.doctor.memory_limit", lambda: 2**30)
    found = diagnose()
    assert (found.processors, found.memory_bytes) == (3, 2**30)


def test_tiny_model_runs() -> None:
    """The model that is written by hand gives back its input."""
    session = ort.InferenceSession(tiny_model(), providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.array([2.5], np.float32)})[0].tolist() == [2.5]


LANE_4 = {"transformers": "4.57.6", "huggingface-hub": "0.36.2", "optimum-onnx": "0.1.0", "optimum": "2.1.0"}
LANE_5 = {"transformers": "5.24.0", "huggingface-hub": "2.1.0"}
ASKS = {
    "4.57.6": ["huggingface-hub<1.0,>=0.34.0", "torch>=2.2; extra == 'torch'"],
    "5.24.0": ["huggingface-hub<3.0,>=2.0"],
    "0.1.0": ["transformers<4.58.0,>=4.36", "optimum~=2.1"],
    "2.1.0": [],
}


@pytest.mark.parametrize(
    ("installed", "problem", "repair"),
    [
        (LANE_4, None, []),
        (LANE_5, None, []),
        (
            {**LANE_4, **LANE_5},
            "optimum-onnx 0.1.0 needs transformers<4.58.0,>=4.36, and transformers 5.24.0 is installed",
            ["pip uninstall -y optimum-onnx optimum"],
        ),
        (
            {**LANE_4, "huggingface-hub": "2.1.0"},
            "transformers 4.57.6 needs huggingface-hub<1.0,>=0.34.0, and huggingface-hub 2.1.0 is installed",
            ["pip install -c constraints.txt transformers huggingface-hub"],
        ),
        (
            {**LANE_5, "huggingface-hub": "0.36.2"},
            "transformers 5.24.0 needs huggingface-hub<3.0,>=2.0, and huggingface-hub 0.36.2 is installed",
            ["pip install -c constraints-5.txt transformers huggingface-hub"],
        ),
        (
            {name: version for name, version in LANE_4.items() if name != "optimum"},
            "optimum-onnx 0.1.0 needs optimum~=2.1, and optimum (none) is installed",
            ["pip install -c constraints.txt optimum-onnx optimum"],
        ),
        (
            {**LANE_4, "transformers": "5.24.0"},
            "transformers 5.24.0 needs huggingface-hub<3.0,>=2.0, and huggingface-hub 0.36.2 is installed",
            ["pip uninstall -y optimum-onnx optimum", "pip install -c constraints-5.txt huggingface-hub"],
        ),
    ],
    ids=["lane 4", "lane 5", "both", "hub in 4", "hub in 5", "half of optimum", "transformers alone"],
)
def test_libraries_that_do_not_fit_are_told(
    monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], problem: str | None, repair: list[str]
) -> None:
    """What one lane has and the other asks for is named with both versions, and each line of the repair is a command
    that can be typed.
    """
    _install(monkeypatch, **{name.replace("-", "_"): version for name, version in installed.items()})
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ASKS.get(installed[name]))
    problems, lines = misfits()
    assert (problem in problems) if problem else problems == []
    assert lines == repair


def test_the_command_repairs_a_mixed_environment(tmp_path: Path) -> None:
    """Where packages of both lanes are installed, `doctor` names them and what repairs it, and exits with 1."""
    for name, version in (("transformers", "5.24.0"), ("optimum_onnx", "0.1.0")):
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        asks = "Requires-Dist: transformers<4.58\n" if name == "optimum_onnx" else ""
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{asks}"
        (folder / "METADATA").write_text(head, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "serve", "doctor"],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stderr
    assert (
        "problem:    optimum-onnx 0.1.0 needs transformers<4.58, and transformers 5.24.0 is installed" in result.stdout
    )
    assert "repair:     pip uninstall -y optimum-onnx" in result.stdout
