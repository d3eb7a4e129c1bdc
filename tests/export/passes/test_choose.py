"""What timings decide, with timings made by hand."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from export.exporters.choose import export_graph
from export.passes import choose as optimize
from export.passes.graph_file import save_graph
from export.proof.measure import Measure, Variant
from export.proof.parity import Truth
from export.proof.timing import Race
from export.proof.torch_logits import reference_logits
from export.trained_run import Sample, TrainedRun
from tests.export.passes.graphs import QUICKEST
from trainer.contract.system.progress import Progress
from trainer.opening.checkpoint import open_network


class Stopwatch(Measure):
    """A measure whose races end as told: seconds by the name of the step."""

    def race(self, variants: Mapping[str, Variant], *_given: object, **_options: int) -> Race:
        """Two rounds, with the seconds that the test put in `told`."""
        seconds = np.array([[told[name] for name in variants]] * 2)
        return Race(names=tuple(variants), seconds=seconds, processor=seconds, rows=100)


class Lucky(Stopwatch):
    """A stopwatch that shows equal seconds in its second round."""

    def race(self, variants: Mapping[str, Variant], *given: object, **options: int) -> Race:
        """As told, and then a round of which something else took most."""
        found = super().race(variants, *given, **options)
        found.processor[1] = 1.0
        return found


told: dict[str, float] = {}


@pytest.fixture(scope="module")
def measure(run: Path) -> Measure:
    """A stopwatch on the run's rows."""
    real = real_measure(run)
    return Stopwatch(sample=real.sample, truth=real.truth, progress=real.progress)


def real_measure(run: Path) -> Measure:
    """What an export of the run measures with."""
    source = TrainedRun.open(run)
    sample = Sample.of(source.validation, source.checkpoint.encoder())
    logits = reference_logits(open_network(source.checkpoint.path), sample, lambda _rows: None)
    truth = Truth.of(logits, sample.rows.labels, source.checkpoint.contract.labels, "accuracy")
    return Measure(sample=sample, truth=truth, progress=Progress(quiet=True))


@pytest.fixture
def exported(run: Path, tmp_path: Path) -> Path:
    """The exported graph, as a file."""
    path = tmp_path / "exported.onnx"
    # transformers' own exporter leaves nothing idle to drop.
    save_graph(export_graph(TrainedRun.open(run).checkpoint.path, tmp_path, QUICKEST), path)
    return path


PASSES = ("drop_idle", "fold_shapes", "fold_token_types", "first_token", "one_query")
ROWS = optimize.RowLimits(longest=64, pairs=False, usual=50.0)


@pytest.mark.parametrize(("name", "seconds"), [("one_query", 1.2), ("one_query", 1.04)])
def test_passes_stay_unless_they_lose(exported: Path, measure: Measure, seconds: float, name: str) -> None:
    """A pass that clearly loses is dropped, the others stay, those that gain or change nothing with their gains."""
    told.update({"before": 1.0, **dict.fromkeys(PASSES, 0.9), name: seconds})
    found = optimize.optimize(exported, ROWS, measure, ())
    kept = tuple(one for one in PASSES if one != name or seconds < 1.05)
    assert found.passes == kept
    expected = {"first_token": 1 / 0.9, "one_query": 1 / 0.9, name: 1 / seconds}
    assert found.gains == {one: pytest.approx(expected[one]) for one in kept if one in expected}
    assert found.path.name == f"{kept[-1]}.onnx"


def test_one_good_round_keeps_a_pass(exported: Path, measure: Measure) -> None:
    """A pass that loses in all rounds but one is kept: what a file holds must not hang on noise."""
    told.update({"before": 1.0, **dict.fromkeys(PASSES, 1.5)})
    lucky = Lucky(sample=measure.sample, truth=measure.truth, progress=measure.progress)
    assert optimize.optimize(exported, ROWS, lucky, ()).passes == PASSES


def test_long_rows_get_attention_as_one_operator(exported: Path, measure: Measure) -> None:
    """By the lengths of the rows alone, and the file of before is kept for fp16, which has no such kernel here."""
    told.update({"before": 1.0, **dict.fromkeys((*PASSES, "flash_attention"), 0.9)})
    for usual, more in ((127.0, ()), (128.0, ("flash_attention",))):
        found = optimize.optimize(exported, replace(ROWS, usual=usual), measure, ())
        assert found.passes == (*PASSES, *more)
        assert found.standard.name == "one_query.onnx"
        assert (found.path == found.standard) == (not more)
    found = optimize.optimize(exported, replace(ROWS, usual=512.0), measure, ("flash_attention",))
    assert found.passes == PASSES


def test_long_rows_count_as_often_as_they_have_tokens() -> None:
    """Nine rows of 10 tokens and one of 510: a token stands in a row of 435 tokens, on average."""
    found = optimize.RowLimits.of(np.array([10] * 9 + [510]), 512, pairs=True)
    assert found.usual == pytest.approx((9 * 10**2 + 510**2) / 600)
    assert (found.longest, found.pairs) == (512, True)


@pytest.mark.parametrize(("seconds", "off"), [(1.0, ()), (0.99, ()), (0.7, ("BiasGeluFusion",))])
def test_fusions_that_lose_are_switched_off(
    exported: Path, measure: Measure, seconds: float, off: tuple[str, ...]
) -> None:
    """A fusion is switched off where that gains clearly, and its gain is kept; one that loses everywhere is off."""
    told.update({"with": 1.0, "without BiasGeluFusion": seconds})
    variant, gains = optimize.choose_settings(exported, measure)
    assert variant.disabled_optimizers == ("SkipLayerNormFusion", *off)
    assert list(gains) == [f"without {name}" for name in off]


def test_nothing_is_timed_on_request(exported: Path, measure: Measure) -> None:
    """Without timing every pass is kept, and only the fusion that loses everywhere is switched off."""
    untimed = replace(measure, timing=False)
    assert optimize.optimize(exported, ROWS, untimed, ()).passes == PASSES
    slow = Variant(path=exported, disabled_optimizers=("SkipLayerNormFusion",))
    assert optimize.choose_settings(exported, untimed) == (slow, {})


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


def test_a_race_is_fair(exported: Path, run: Path) -> None:
    """Every runner scores in every round, and one does not beat itself by much."""
    measure = real_measure(run)
    found = measure.race({name: Variant(path=exported) for name in ("one", "other")}, measure.sample, rounds=4)
    assert found.seconds.shape == found.processor.shape == (4, 2)
    assert (found.seconds > 0).all()
    assert found.rows == len(measure.sample)
    assert 0.5 < found.gain("one", over="other") < 2
    assert not found.always("one", over="other", by=2)


def test_figures_of_a_race() -> None:
    """Gains are medians of processor time, speeds the best rounds on the clock."""
    seconds = np.array([[2.0, 1.0], [4.0, 3.0], [3.0, 9.0]])
    found = Race(names=("one", "other"), seconds=seconds, processor=2 * seconds, rows=12)
    assert found.gain("other", over="one") == pytest.approx(4 / 3)
    assert (found.rows_per_second("one"), found.rows_per_second("other")) == (6, 12)
    assert found.speed("other", over="one") == 2
    assert found.always("one", over="other", by=0.3)
    assert not found.always("other", over="one", by=1.0)
