"""What timings decide, with timings made by hand."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from export import optimize
from export.graph import export_graph
from export.measure import Measure, Variant
from export.parity import Truth
from export.progress import Progress
from export.reference import reference_logits
from export.runtime import open_session
from export.source import Sample, Source
from export.storage import save_graph
from export.timing import Race, race


class Stopwatch(Measure):
    """A measure whose races end as told: seconds by the name of the step."""

    def race(self, variants: Mapping[str, Variant]) -> Race:
        """One round, with the seconds that the test put in `told`."""
        seconds = np.array([[told[name] for name in variants]])
        return Race(names=tuple(variants), seconds=seconds, processor=seconds, rows=100)


told: dict[str, float] = {}


@pytest.fixture(scope="module")
def measure(run: Path) -> Measure:
    """A stopwatch on the run's rows."""
    source = Source.open(run)
    sample = Sample.of(source.validation, source.checkpoint.encoder())
    logits = reference_logits(source.checkpoint.path, sample, lambda _rows: None)
    truth = Truth.of(logits, sample.rows.labels, source.checkpoint.contract.labels, "accuracy")
    return Stopwatch(sample=sample, truth=truth, progress=Progress(quiet=True))


@pytest.fixture
def exported(run: Path, tmp_path: Path) -> Path:
    """The exported graph, as a file."""
    path = tmp_path / "exported.onnx"
    save_graph(export_graph(Source.open(run).checkpoint.path, tmp_path), path)
    return path


@pytest.mark.parametrize(("seconds", "kept"), [(1.2, 0), (1.0, 2), (0.5, 2)])
def test_passes_stay_unless_they_lose(exported: Path, measure: Measure, seconds: float, kept: int) -> None:
    """Passes that together lose are dropped, those that gain or change nothing stay, with their gains."""
    told.update({"as exported": 1.0, "fold_shapes": 1.0, "first_token": seconds})
    found = optimize.optimize(exported, 64, measure, ())
    assert len(found.passes) == len(found.gains) == kept
    assert (found.path == exported) is (kept == 0)
    if kept:
        assert found.gains == {"fold_shapes": 1.0, "first_token": pytest.approx(1 / seconds)}


@pytest.mark.parametrize(
    ("skip", "gelu", "off"),
    [
        (1.0, 1.0, ()),
        (0.995, 0.99, ()),
        (0.8, 0.8, ("SkipLayerNormFusion",)),
        (0.8, 0.7, ("SkipLayerNormFusion", "BiasGeluFusion")),
        (1.0, 0.7, ("SkipLayerNormFusion", "BiasGeluFusion")),
    ],
)
def test_fusions_that_lose_are_switched_off(
    exported: Path, measure: Measure, skip: float, gelu: float, off: tuple[str, ...]
) -> None:
    """A fusion is switched off where that gains clearly, and its gain is kept."""
    told.update({"as it is": 1.0, "without SkipLayerNormFusion": skip, "without BiasGeluFusion": gelu})
    variant, gains = optimize.choose_settings(exported, measure)
    assert variant.disabled_optimizers == off
    assert list(gains) == [f"without {name}" for name in off]


def test_nothing_is_timed_on_request(exported: Path, measure: Measure) -> None:
    """Without timing every pass is kept and no fusion is switched off."""
    untimed = replace(measure, timing=False)
    assert optimize.optimize(exported, 64, untimed, ()).passes == ("fold_shapes", "first_token")
    assert optimize.choose_settings(exported, untimed) == (Variant(path=exported), {})


def test_settings_reach_the_session(exported: Path, tmp_path: Path) -> None:
    """A switched-off optimizer of ONNX Runtime is one that the session does not apply."""
    fused = []
    for off in ((), ("BiasGeluFusion",)):
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        ort.InferenceSession(str(exported), options, disabled_optimizers=list(off))
        fused.append(b"BiasGelu" in (tmp_path / "optimized.onnx").read_bytes())
    assert fused == [True, False]


def test_a_race_is_fair(exported: Path, measure: Measure) -> None:
    """Every session runs every batch in every round, and one does not beat itself by much."""
    sessions = {name: open_session(exported) for name in ("one", "other")}
    found = race(sessions, measure.sample.padded(), 5)
    assert found.seconds.shape == found.processor.shape == (5, 2)
    assert (found.seconds > 0).all()
    assert found.rows == 120
    assert 0.5 < found.gain("one", over="other") < 2
