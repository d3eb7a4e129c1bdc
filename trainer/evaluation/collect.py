"""All figures of a split together, as split_metrics.schema.json describes them."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from trainer.contract.checkpoint import Checkpoint
from trainer.contract.figures.constant import Constant
from trainer.contract.figures.metrics import confusion, per_class
from trainer.contract.figures.resample import Interval
from trainer.contract.labelled import LabelledRows
from trainer.contract.system.files import read_json
from trainer.data.splits import SUMMARY, also_in_train
from trainer.evaluation import front_end
from trainer.evaluation.baselines import Baseline, compared, majority, measured_by
from trainer.evaluation.calibration import CalibrationError, claim
from trainer.evaluation.curves import curves
from trainer.evaluation.figures import ECE, Resampled, headline, names, resampled
from trainer.evaluation.measured import Measured
from trainer.recipes.recipe import Recipe

OPENED = "test_opened.jsonl"
_ESTIMATOR = (
    "the mean of |mean probability - share true| over bins of equally many probabilities, less the bias that resamples "
    "of the rows show; basic bootstrap interval, down to 0 where that of `rms` reaches it"
)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is measured."""

    run: Path
    split: str
    checkpoint: Checkpoint
    recipe: Recipe
    rows: LabelledRows
    measured: Measured


def collect(subject: Subject) -> dict[str, Any]:
    """The figures of the rows."""
    measured, summary = subject.measured, read_json(subject.run / "splits" / SUMMARY)
    space, metric = measured.space, subject.checkpoint.metric
    baselines = _baselines(subject, summary)
    seen = {name: measured_by(baseline, measured) for name, baseline in baselines.items()}
    systems = {"encoder": measured} | {name: each for name, each in seen.items() if each is not None}
    few = headline(space, metric)
    sampled = resampled(systems, {name: [*names(space), ECE] if name == "encoder" else few for name in systems})
    intervals = _plain(sampled["encoder"].intervals())
    known = np.isin(subject.rows.ids, also_in_train(subject.run / "splits", subject.split))
    counts = confusion(measured.scores, measured.labels, space).tolist()
    constant = Constant.of(measured.labels, space, metric)
    return {
        "metric": metric,
        "kind": space.kind,
        "labels": list(space.names),
        "positive": space.names[space.positive_id] if space.kind == "single" else None,
        "model_name": front_end.model_name(subject.recipe),
        "task": front_end.task(space),
        "target_label": front_end.target(subject.recipe),
        "data": front_end.data(summary),
        "metrics": {name: figure["value"] for name, figure in intervals.items()},
        "confusion_matrix": front_end.confusion_matrix(counts, space),
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "notes": f"Checkpoint {subject.checkpoint.path.name}, chosen by {metric} on validation rows.",
        "intervals": intervals,
        "by_group": None,
        "constant": {
            **asdict(constant),
            "beaten": constant.beaten_by({name: figure["value"] for name, figure in intervals.items()}),
        },
        "baselines": compared(baselines, sampled, few),
        "also_in_train": {"rows": int(known.sum()), "metrics_without": _without(measured, known)},
        "per_class": per_class(measured.scores, measured.labels, space),
        "confusion": counts,
        "curves": curves(measured),
        "calibration": _calibration(measured, sampled["encoder"].calibration),
        "slices": None,
        "worst_slices": None,
        "robustness": None,
        "test_openings": _openings(subject.run),
    }


def _plain(intervals: dict[str, Interval]) -> dict[str, dict[str, float]]:
    return {name: asdict(figure) for name, figure in intervals.items()}


def _baselines(subject: Subject, summary: dict[str, Any]) -> dict[str, Baseline]:
    train = summary["splits"]["train"]
    space = subject.measured.space
    return {
        "majority": majority(space, train["labels"], train["rows"], len(subject.rows)),
        "bag_of_words": Baseline(about="a linear model of words", scores=None, missing="not built yet"),
    }


def _without(measured: Measured, known: "np.ndarray[Any, np.dtype[np.bool_]]") -> dict[str, Any] | None:
    """The figures of the rows that are not known; None where none is left or all are."""
    if not 0 < known.sum() < len(measured):
        return None
    return _plain(_of(measured.take(~known)).intervals())


def _of(measured: Measured) -> Resampled:
    return resampled({"encoder": measured}, {"encoder": [*names(measured.space), ECE]})["encoder"]


def _calibration(measured: Measured, error: CalibrationError | None) -> dict[str, Any]:
    undefined = Interval(value=np.nan, low=np.nan, high=np.nan)
    return {
        "of": claim(measured),
        "estimator": _ESTIMATOR,
        "bins": 0 if error is None else error.binned.count.shape[1],
        "ece_plain": np.nan if error is None else float(error.binned.ece()[0]),
        "rms": asdict(undefined if error is None else error.root_mean_square()),
        "reliability": [] if error is None else error.binned.reliability(),
    }


def _openings(run: Path) -> int:
    path = run / OPENED
    return len(path.read_bytes().splitlines()) if path.exists() else 0
