"""All figures of a split together, as split_metrics.schema.json describes them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import ClassifactError, InputError
from trainer.contract.figures.constant import Constant
from trainer.contract.figures.metrics import confusion, per_class
from trainer.contract.figures.resample import Interval
from trainer.contract.system.files import read_json
from trainer.contract.system.progress import QUIET, Progress
from trainer.data.columns import wholes
from trainer.data.saved import read_training_rows
from trainer.data.splits import SUMMARY, also_in_train
from trainer.evaluation import front_end
from trainer.evaluation.bag_of_words import ABOUT, CHARACTERS, bag_of_words, most_rows
from trainer.evaluation.baselines import Baseline, compared, majority, measured_by
from trainer.evaluation.calibration import CalibrationError, claim
from trainer.evaluation.curves import curves
from trainer.evaluation.figures import ECE, headline, names, resampled_systems
from trainer.evaluation.groups import Groups
from trainer.evaluation.measured import Bools, Measured
from trainer.evaluation.robustness import Probe, measure_robustness
from trainer.evaluation.slicing.slices import figures_of_slices, find_slices
from trainer.evaluation.slicing.traits import Traits
from trainer.evaluation.slicing.worst_slices import worst_slices
from trainer.recipes.recipe import Recipe

# Of a step of fewer seconds nothing is said.
LEAST_SECONDS = 1.0
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
    probe: Probe
    """The rows, what the checkpoint said of them, and how to ask it again."""
    progress: Progress = QUIET

    @property
    def measured(self) -> Measured:
        """The rows' labels and scores."""
        return Measured(scores=self.probe.scores, labels=self.probe.rows.labels, space=self.checkpoint.contract.labels)


def collect(subject: Subject) -> dict[str, Any]:
    """The figures of the rows.

    Raises InputError where the recipe names a column that the split's rows were not saved with.
    """
    measured, rows, recipe = subject.measured, subject.probe.rows, subject.recipe
    groups = Groups.of_rows(recipe, rows)
    columns = {name: _cells(subject, name) for name in recipe.evaluation.slices}
    traits = Traits.of(rows.texts, rows.pairs, subject.probe.encoded.cut)
    parts = find_slices(traits, columns)
    known = np.isin(rows.ids, also_in_train(subject.run / "splits", subject.split))
    step = subject.progress.step
    with step("baselines and intervals", least=LEAST_SECONDS):
        figures = {**_figures(subject, measured), "by_group": groups.figures(measured)}
    with step("slices", least=LEAST_SECONDS):
        found = figures_of_slices(measured, parts, subject.checkpoint.metric)
    with step("changed texts", least=LEAST_SECONDS):
        flips = measure_robustness(subject.probe, recipe.evaluation.swaps)
    return {
        **_told(subject),
        **figures,
        "also_in_train": {"rows": int(known.sum()), "metrics_without": _without(measured, known)},
        "curves": curves(measured),
        "slices": found,
        "worst_slices": worst_slices(measured, traits, columns, groups.of, recipe.seed),
        "robustness": flips,
    }


def _told(subject: Subject) -> dict[str, Any]:
    """What the figures are of."""
    space, metric, recipe = subject.measured.space, subject.checkpoint.metric, subject.recipe
    summary = read_json(subject.run / "splits" / SUMMARY)
    opened = _openings(subject.run)
    times = "once" if opened == 1 else f"{opened} times"
    # A refit keeps its last weights: what is left of its validation rows chose none.
    chosen = "the last of a refit" if summary.get("refit") else f"chosen by {metric} on validation rows"
    return {
        "metric": metric,
        "kind": space.kind,
        "labels": list(space.names),
        "positive": space.names[space.positive_id] if space.kind == "single" else None,
        "model_name": front_end.model_name(recipe),
        "task": front_end.task(space),
        "target_label": front_end.target(recipe),
        "data": front_end.data(summary),
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "notes": f"Checkpoint {subject.checkpoint.path.name}, {chosen}. "
        + (f"The test rows were measured {times}." if opened else "The test rows were not measured yet.")
        + " Metrics are bare values: see their intervals.",
        "test_openings": opened,
    }


def _figures(subject: Subject, measured: Measured) -> dict[str, Any]:
    """Metrics, and what baselines reach in them."""
    space, metric = measured.space, subject.checkpoint.metric
    baselines = _baselines(subject)
    seen = {name: measured_by(baseline, measured) for name, baseline in baselines.items()}
    systems = {"encoder": measured} | {name: each for name, each in seen.items() if each is not None}
    few = headline(space, metric)
    sampled = resampled_systems(systems, {name: [*names(space), ECE] if name == "encoder" else few for name in systems})
    intervals = _plain(sampled["encoder"].intervals())
    metrics = {name: figure["value"] for name, figure in intervals.items()}
    constant = Constant.of(measured.labels, space, metric)
    counts = confusion(measured.scores, measured.labels, space).tolist()
    return {
        "metrics": metrics,
        "intervals": intervals,
        "constant": {**asdict(constant), "beaten": constant.beaten_by(metrics)},
        "baselines": compared(baselines, sampled, few),
        "per_class": per_class(measured.scores, measured.labels, space),
        "confusion": counts,
        "confusion_matrix": front_end.confusion_matrix(counts, space),
        "calibration": _calibration(measured, sampled["encoder"].calibration),
    }


def _plain(intervals: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
    return {name: asdict(figure) for name, figure in intervals.items()}


def _cells(subject: Subject, column: str) -> list[str]:
    rows = subject.probe.rows
    if column not in rows.columns:
        raise InputError(
            f"the rows were not saved with a column {column!r}",
            where=subject.run / "splits" / f"{subject.split}.jsonl",
            found=", ".join(map(repr, rows.columns)) or "none",
            do="train again with evaluation.slices (columns are kept as splits are made), or take it out of the recipe",
        )
    return list(rows.columns[column])


def _baselines(subject: Subject) -> dict[str, Baseline]:
    recipe, space, rows = subject.recipe, subject.measured.space, subject.probe.rows
    train = read_json(subject.run / "splits" / SUMMARY)["splits"]["train"]
    try:
        learnt = read_training_rows(
            recipe,
            recipe.measured_data,
            subject.run / "splits",
            space,
            at_most=most_rows(space),
            characters=CHARACTERS,
        )
        words = bag_of_words(learnt.texts, learnt.labels, list(wholes(rows.texts, rows.pairs)), space, learnt.of)
    except (ClassifactError, OSError) as error:
        # A run may be measured where its training files are not; the figure is told to be missing, and why.
        words = Baseline(about=ABOUT, scores=None, missing=f"the training rows cannot be read again: {error}")
    return {"majority": majority(space, train["labels"], train["rows"], len(rows)), "bag_of_words": words}


def _without(measured: Measured, known: Bools) -> dict[str, Any] | None:
    """The figures of the rows that are not known; None where none is left or all are."""
    if not 0 < known.sum() < len(measured):
        return None
    others = {"encoder": measured.take(~known)}
    return _plain(resampled_systems(others, {"encoder": [*names(measured.space), ECE]})["encoder"].intervals())


def _calibration(measured: Measured, error: CalibrationError | None) -> dict[str, Any]:
    undefined = Interval(value=np.nan, low=np.nan, high=np.nan)
    return {
        "of": claim(measured),
        "estimator": _ESTIMATOR,
        "bins": 0 if error is None else error.binned.count.shape[1],
        "ece_plain": np.nan if error is None else float(error.binned.ece()[0]),
        "rms": asdict(undefined if error is None else error.root_mean_square()),
        "reliability": [] if error is None else error.reliability(),
    }


def _openings(run: Path) -> int:
    path = run / OPENED
    return len(path.read_bytes().splitlines()) if path.exists() else 0
