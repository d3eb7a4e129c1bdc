"""What a search found: each trial as a row of sweep.json, and a table for a person."""

from collections.abc import Callable
from pathlib import Path
from statistics import pstdev
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from trainer.contract.figures.tables import table as aligned
from trainer.recipes.sweep_part import SweepPart
from trainer.search import study as search


def study_summary(study: optuna.Study, part: SweepPart, metric: str, folder: Callable[[int], Path]) -> dict[str, Any]:
    """What sweep.json holds: how was searched, every trial, the best one, and what made the difference.

    folder: a trial's place in the search's folder, by its number. Raises ValueError where no trial was finished.
    """
    ended = search.ended(study)
    trials, best = [_row(trial, folder) for trial in ended], search.best(study, ended)
    if best is None:
        raise ValueError("no trial was finished")
    return {
        "metric": metric,
        "direction": study.direction.name.lower(),
        "sampler": part.sampler,
        "pruner": part.pruner,
        "states": {name: sum(row["state"] == name for row in trials) for name in ("complete", "pruned", "fail")},
        "best": _row(best, folder),
        "importances": search.importances(study),
        "trials": trials,
    }


def trials_table(result: dict[str, Any]) -> str:
    """The trials, best first, and the importances, in aligned columns."""
    sign = -1 if result["direction"] == "maximize" else 1
    rows = sorted(result["trials"], key=lambda row: (row["value"] is None, sign * (row["value"] or 0.0), row["number"]))
    keys = list(result["best"]["settings"])
    lines = [["trial", result["metric"], "", "epochs", *keys]]
    for row in rows:
        value = row["state"] if row["value"] is None else f"{row['value']:.4f}"
        spread = "" if row["deviation"] is None else f"± {row['deviation']:.4f}"
        lines.append(
            [
                f"{row['number']}",
                value,
                spread,
                f"{row['epochs']}",
                *(shown_setting(row["settings"][key]) for key in keys),
            ]
        )
    text = [aligned(lines)]
    if result["importances"]:
        text += ["", "importance of each setting, of 1:"]
        text += [f"  {share:.2f}  {key}" for key, share in result["importances"].items()]
    return "\n".join(text)


def shown_setting(value: Any) -> str:
    """A setting for a person: three digits of a number with a fraction."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _row(trial: FrozenTrial, folder: Callable[[int], Path]) -> dict[str, Any]:
    """One trial. values: by seed; deviation: of them, where there are several."""
    values = trial.user_attrs.get("values", {})
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "value": trial.value if trial.state == TrialState.COMPLETE else None,
        "values": values,
        "deviation": pstdev(values.values()) if len(values) > 1 else None,
        "settings": trial.params,
        "epochs": len(trial.intermediate_values),
        "seconds": trial.user_attrs.get("seconds"),
        "error": trial.user_attrs.get("error"),
        "folder": folder(trial.number).as_posix(),
    }
