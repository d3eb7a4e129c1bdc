"""The GPU build of ONNX Runtime on a machine without a GPU: in an environment of its own, since it takes the place of
the other.
"""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import onnxruntime as ort
import pytest

from tests.serve import bundles
from tests.serve.helpers import read_csv, score, write_csv

REPOSITORY = Path(__file__).parents[3]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def gpu_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has onnxruntime-gpu, and all else from the environment of the tests."""
    folder = tmp_path_factory.mktemp("gpu") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--no-deps", f"onnxruntime-gpu=={ort.__version__}"]
    installed = subprocess.run(command, capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"onnxruntime-gpu cannot be installed: {installed.stderr.strip()[-200:]}")
    (site,) = folder.glob("lib/python*/site-packages")
    # Later on the path than the environment's own packages, so that only what is missing there is taken from here.
    (site / "tests.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return python


def _serve(python: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), "-m", "serve", *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_the_gpu_build(gpu_build: Path) -> None:
    """What the other tests run is a build that has CUDA compiled in."""
    code = "import onnxruntime; print(onnxruntime.get_available_providers(), onnxruntime.__file__)"
    done = subprocess.run([str(gpu_build), "-c", code], capture_output=True, text=True, check=True)
    assert "CUDAExecutionProvider" in done.stdout
    assert str(gpu_build.parents[2]) in done.stdout


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "cuda:0,1"])
def test_cuda_that_is_not_there(single: Path, tmp_path: Path, gpu_build: Path, device: str) -> None:
    """Asking for CUDA ends with exit code 1, what the session got instead, the remedy, and no output."""
    rows = write_csv(tmp_path / "in.csv", bundles.texts(20))
    done = _serve(gpu_build, "score", single, rows, "--out", tmp_path / "out.csv", "--device", device, "--quiet")
    assert done.returncode == 1, done.stderr
    assert "found:    CPUExecutionProvider" in done.stderr
    assert "expected: CUDAExecutionProvider" in done.stderr
    assert "classifact doctor" in done.stderr
    assert "--allow-cpu-fallback" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_the_processor_is_accepted(single: Path, tmp_path: Path, gpu_build: Path) -> None:
    """With --allow-cpu-fallback the rows are scored, as a CPU build scores them, and the report says where."""
    rows = write_csv(tmp_path / "in.csv", bundles.texts(200))
    score(single, rows, out=tmp_path / "cpu.csv", precision="int8")
    command = ["score", single, rows, "--out", tmp_path / "out.csv", "--quiet", "--device", "cuda:0,1"]
    done = _serve(gpu_build, *command, "--allow-cpu-fallback")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["provider"], report["precision"], report["rows_scored"]) == ("CPUExecutionProvider", "int8", 200)
    assert "int8 on CPUExecutionProvider" in done.stdout.splitlines()[0]
    found = [row["prediction"] for row in read_csv(tmp_path / "out.csv")]
    assert found == [row["prediction"] for row in read_csv(tmp_path / "cpu.csv")]


def test_auto_is_quiet(single: Path, tmp_path: Path, gpu_build: Path) -> None:
    """Where nobody asked for CUDA the processor is taken without a word on standard error."""
    rows = write_csv(tmp_path / "in.csv", bundles.texts(20))
    done = _serve(gpu_build, "score", single, rows, "--out", tmp_path / "out.csv", "--quiet")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["provider"] == "CPUExecutionProvider"
    assert done.stderr == ""


def test_doctor_names_the_lost_provider(gpu_build: Path) -> None:
    """`doctor` tells what a session that asks for CUDA gets, and what to do."""
    done = _serve(gpu_build, "doctor")
    assert done.returncode == 1
    assert "session:    CUDAExecutionProvider -> CPUExecutionProvider" in done.stdout
    assert "repair:" in done.stdout
