"""What a file is measured with is what scores with it."""

from pathlib import Path

import onnxruntime as ort
import pytest

from export.bundle import GRAPH_FILES
from export.proof.runtime import open_session
from serve.scorer import Scorer

ALIKE = ("enable_cpu_mem_arena", "enable_mem_pattern", "intra_op_num_threads", "inter_op_num_threads")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("threshold", [None, "65536"])
def test_a_file_is_measured_with_the_settings_of_scoring(
    bundle: Path, precision: str, threshold: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads and memory are the scorer's, also where the C library keeps nothing for a thread."""
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    if threshold is not None:
        monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", threshold)
    opened: list[ort.InferenceSession] = []
    real = ort.InferenceSession

    def noted(*arguments: object, **settings: object) -> ort.InferenceSession:
        opened.append(real(*arguments, **settings))
        return opened[-1]

    monkeypatch.setattr(ort, "InferenceSession", noted)
    open_session(bundle / GRAPH_FILES[precision])
    with Scorer.open(bundle, precision=precision, device="cpu"):
        pass
    measured, scoring = ([getattr(one.get_session_options(), name) for name in ALIKE] for one in opened)
    assert measured == scoring
