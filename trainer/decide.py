"""Fit the decisions of a run's best checkpoint on its validation rows, and put them into its contract."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from trainer.contract.checkpoint import DECISIONS, Checkpoint, require_run
from trainer.contract.errors import InputError
from trainer.contract.figures.metrics import shown
from trainer.contract.figures.selective import Shown
from trainer.contract.figures.stamped import DECISIONS_SCHEMA, measured_on, write_figures
from trainer.contract.figures.tables import table
from trainer.contract.labelled import LabelledRows
from trainer.contract.labels import LabelSpace
from trainer.contract.system.files import read_json
from trainer.contract.system.progress import QUIET, Progress
from trainer.data.splits import Splits, also_in_train, open_split
from trainer.deciding.chosen import ChoseCheckpoint, planned
from trainer.deciding.curves import by_confidence, by_threshold
from trainer.deciding.fit import Fitted, cross_fitted, decide_on, shared_out
from trainer.deciding.gains import gains, share_with_interval
from trainer.deciding.parts import DECISION_FOLDS, Rows
from trainer.deciding.promises import short_percent
from trainer.evaluation.calibration import CalibrationError, claim
from trainer.evaluation.groups import Groups
from trainer.evaluation.measured import Measured
from trainer.network.load import open_checkpoint
from trainer.opening.golden import check_golden, logits_in_fp32
from trainer.recipes.decisions_part import DecisionsPart
from trainer.recipes.file import load
from trainer.recipes.recipe import Recipe
from trainer.run_folder.folder import BEST_FIGURES, RUN_LOCK, RUN_RECIPE, locked


@dataclass(frozen=True, kw_only=True)
class DecideJob:
    """What `classifact decide` was asked for."""

    run: Path
    asked: DecisionsPart | None = None
    """The recipe's part `decisions` where None, and a temperature alone where it has none."""


def refuse_early(recipe: Recipe, splits: list[Splits], *, choosing: bool) -> None:
    """Raise InputError where the recipe's decisions cannot be: labels that there are not, or too few validation rows.
    splits: of each stage, before any is trained. choosing: whether these rows will choose among the checkpoints that
    the recipe makes; else they are taken to choose none.
    """
    if recipe.decisions is None:
        return
    last = splits[-1].validation
    batches = [-(-len(each.train) // stage.batch.rows) for each, stage in zip(splits, recipe.stages, strict=True)]
    checkpoints = planned(recipe.stages, batches) if choosing else 1
    shared_out(recipe.decisions, Rows.of(None, last, Groups.of_rows(recipe, last)), splits[-1].space, checkpoints)


def decide(job: DecideJob, progress: Progress = QUIET) -> dict[str, Any]:
    """Write decisions.json (see decisions.schema.json) into the run, and the decisions into the contract of its best
    checkpoint, in place of earlier ones; gives the file's content. The test split is not read.

    Raises InputError for what is no run, or not a finished one, too few rows, or labels that there are not; GateError
    where a promise is not shown. Then the contract stays as it was.
    """
    require_run(job.run)
    if not (job.run / BEST_FIGURES).exists():
        do = "go on with it first: the command that began it, with --resume"
        raise InputError("the run is not finished: its best checkpoint may change", where=job.run, do=do)
    with locked(job.run / RUN_LOCK, wait=False):
        checkpoint = Checkpoint.best(job.run)
        checkpoint.verify()
        recipe = load(job.run / RUN_RECIPE)
        asked = job.asked or recipe.decisions or DecisionsPart()
        # As training left it: decisions are fitted anew, never on top of earlier ones.
        space = checkpoint.contract.labels.undecided()
        validation = open_split(job.run / "splits", "validation", space)
        chose = ChoseCheckpoint.of(job.run, recipe, checkpoint)
        groups = Groups.of_rows(recipe, validation)
        # Before the network runs: what these rows cannot show is refused at once.
        shared_out(asked, Rows.of(None, validation, groups), space, chose.checkpoints)
        rows = Rows.of(_logits(checkpoint, validation, progress), validation, groups)
        found = decide_on(asked, rows, space, chose.checkpoints)
        result = {
            "schema": DECISIONS_SCHEMA,
            "checkpoint": checkpoint.path.name,
            "asked": asdict(asked),
            "labels": list(space.names),
            "kind": space.kind,
            "rows": {
                "validation": len(rows),
                "fitted": len(found.fitted),
                "tested": len(rows) - len(found.fitted),
                "also_in_train": len(also_in_train(job.run / "splits", "validation")),
            },
            "groups": None if groups.column is None else {"column": groups.column, "count": int(groups.of.max()) + 1},
            "chose_checkpoint": asdict(chose),
            **_chosen(asked, found, groups),
            **_measured(asked, found, rows, space),
        }
        decided = replace(checkpoint, contract=replace(checkpoint.contract, labels=found.labels))
        # The contract last: where it is not what this file says, the file is refused.
        write_figures(job.run / DECISIONS, result, decided)
        checkpoint.decide(found.labels)
    return result


def settle(run: Path, asked: DecisionsPart | None, say: Callable[[str], None]) -> None:
    """Decide as a recipe asks, where its finished run does not yet: training ends with it, and a resume makes up for
    it. Raises what `decide` raises.
    """
    if asked is None:
        return
    written = read_json(run / DECISIONS) if (run / DECISIONS).exists() else {}
    current = measured_on(Checkpoint.best(run))
    # A resume with more stages or trials may have made other weights the best since.
    if written.get("asked") != asdict(asked) or written.get("measured_on") != current:
        say(told_decisions(decide(DecideJob(run=run, asked=asked))))


def told_decisions(result: dict[str, Any]) -> str:
    """What was decided, for a person."""
    rows, lines = result["rows"], [f"checkpoint {result['checkpoint']}, {result['rows']['validation']} validation rows"]
    lines.append(f"  {result['chose_checkpoint']['said']}")
    if rows["also_in_train"]:
        lines.append(f"  {rows['also_in_train']} of them also stand in the training rows: figures flatter the model.")
    if result["temperature"]:
        found = result["temperature"]
        loss, ece = found["loss"], found["ece"]
        changes = f"loss {shown(loss['before'])} to {shown(loss['after'])}, calibration error " + " to ".join(
            shown(ece[name]["value"]) for name in ("before", "after")
        )
        lines.append(f"temperature {found['value']:.4g} ({found['said']}): {changes}")
    for each in result["thresholds"] or []:
        note = f": {each['note']}" if each["note"] else ""
        lines.append(f"threshold {each['threshold']:.4f} of {each['label']!r} ({each['rule']}){note}")
    if result["costs"]:
        lines.append("the label of the least expected cost is given")
    lines += [each["said"] for each in result["promises"]]
    if result["abstain"]:
        found = result["abstain"]
        left = f"rows of less confidence than {found['below']:.4f} are not" if found["below"] else "every row is"
        lines.append(f"{found['said']}; {left} answered")
    lines.append(
        f"validation, {'each row decided by what others chose' if result['estimate']['folds'] else 'tested rows'}:"
    )
    cells = [["metric", "before", "after", "gain", "95 % interval"]]
    for name, figure in result["estimate"]["metrics"].items():
        gain = figure["gain"]
        values = [shown(value) for value in (figure["before"], figure["after"], gain["value"])]
        cells.append([name, *values, f"{shown(gain['low'])} to {shown(gain['high'])}"])
    return "\n".join([*lines, table(cells, indent="  ")])


def _logits(checkpoint: Checkpoint, rows: LabelledRows, progress: Progress) -> Any:
    """float32 [N, C]. Raises ArtifactError where the checkpoint is another function here, or gives no numbers."""
    network = open_checkpoint(checkpoint.path).network
    check_golden(checkpoint, network)
    with progress.step("scoring", len(rows)) as tick:
        return logits_in_fp32(network, checkpoint.encoder(), rows.texts, rows.pairs, tick)


def _chosen(asked: DecisionsPart, found: Fitted, groups: Groups) -> dict[str, Any]:
    promises = []
    for name, seen in found.promises:
        figure, least = asked.promised[name]
        said = f"{figure} of {name!r} at least {short_percent(least)}, with {_confidence(asked, groups)}"
        promises.append(
            {
                "label": name,
                "figure": figure,
                "least": least,
                "level": asked.level,
                "value": 1 - seen.wrong / seen.rows,
                "bound": 1 - seen.bound,
                "right": seen.rows - seen.wrong,
                "rows": seen.rows,
                "tries": seen.tries,
                "said": f"{said} ({seen.rows - seen.wrong} of {seen.rows} tested rows)",
            }
        )
    return {
        "thresholds": [asdict(each) for each in found.thresholds] or None,
        "costs": found.labels.costs,
        "promises": promises,
        "abstain": None if found.error is None else _abstain(asked, found, found.error, groups),
    }


def _confidence(asked: DecisionsPart, groups: Groups) -> str:
    """With which a promise holds. Its bound counts rows one by one, which those of one group are not."""
    if groups.column is None:
        return f"{short_percent(asked.level)} confidence"
    return f"{short_percent(asked.level)} confidence if rows of one {groups.column!r} err independently"


def _abstain(asked: DecisionsPart, found: Fitted, seen: Shown, groups: Groups) -> dict[str, Any]:
    rows = len(found.tested) if found.tested is not None else 0
    return {
        "below": seen.threshold,
        "error": asked.abstain,
        "level": asked.level,
        "answered": seen.rows,
        "wrong": seen.wrong,
        "rows": rows,
        "coverage": share_with_interval(seen.rows, rows),
        "bound": seen.bound,
        "tries": seen.tries,
        "said": f"at most {short_percent(asked.abstain or 0)} wrong among the {short_percent(seen.rows / rows)} "
        f"answered, with {_confidence(asked, groups)}",
    }


def _measured(asked: DecisionsPart, found: Fitted, rows: Rows, space: LabelSpace) -> dict[str, Any]:
    """Figures before and after, of rows that were decided by what others chose."""
    judged = rows if found.tested is None else found.tested
    after = cross_fitted(asked, rows, space) if found.tested is None else found.labels.decode(judged.logits)
    both = {
        name: Measured(scores=scores, labels=judged.labels, space=space)
        for name, scores in (("before", space.decode(judged.logits)), ("after", after))
    }
    errors = {name: CalibrationError.of(each, judged.groups) for name, each in both.items()}
    metrics = gains(both["before"], both["after"], judged.groups)
    temperature = None
    if found.temperature is not None:
        temperature = {
            "value": found.labels.temperature,
            "loss": {name: metrics["loss"][name] for name in both},
            "ece": {name: asdict(error.expected()) for name, error in errors.items()},
            "said": found.temperature,
        }
    return {
        "temperature": temperature,
        "estimate": {"folds": DECISION_FOLDS if found.tested is None else 0, "metrics": metrics},
        "curves": {
            "calibration": {
                "of": claim(both["before"]),
                **{name: error.reliability() for name, error in errors.items()},
            },
            "thresholds": by_threshold(rows, found.labels),
            "coverage": by_confidence(after, judged.labels, 1 - asked.level),
        },
    }
