"""Everything that is known of a run, read from its files; each may be missing, none may be of another checkpoint."""

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.checks.findings import Finding
from trainer.contract.checkpoint import Checkpoint
from trainer.contract.errors import ArtifactError
from trainer.contract.figures.stamped import DECISIONS_SCHEMA, SPLIT_SCHEMA, measured_on, read_figures
from trainer.contract.labels import LabelSpace
from trainer.contract.system.files import read_json
from trainer.recipes.file import load
from trainer.recipes.recipe import Recipe
from trainer.report.outside import read_lines, read_manifest, read_scores
from trainer.report.rows import SeenRows
from trainer.review.files import REVIEW_FOLDER
from trainer.run_folder.folder import RUN_RECIPE


@dataclass(frozen=True, kw_only=True)
class Step:
    """An optimizer step."""

    stage: int
    """Counted from 1."""
    step: int
    """Of the whole run."""
    loss: float | None
    """Of its rows; None: not finite."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the page is made of."""

    run: Path
    """As the user named it: commands on the page say it so, but for folders above that the page does not need."""
    checkpoint: Checkpoint
    """The best one."""
    measured_on: dict[str, str]
    """Hashes of its weights and its contract."""
    recipe: Recipe
    """Resolved."""
    splits: dict[str, Any]
    """splits.json."""
    training: dict[str, Any]
    """metrics.json; empty where the run is not finished."""
    steps: list[Step]
    """Of metrics.jsonl."""
    evaluations: list[dict[str, Any]]
    """Its evaluations: stage, step and every metric."""
    openings: list[dict[str, Any]]
    """test_opened.jsonl: when the test rows were opened, and of which weights."""
    test: dict[str, Any] | None
    """test_metrics.json."""
    validation: dict[str, Any] | None
    """validation_metrics.json."""
    decisions: dict[str, Any] | None
    """decisions.json."""
    search: dict[str, Any] | None
    """sweep.json."""
    suspects: dict[str, Any] | None
    """suspects.json; the rows are beside it."""
    bundle: Path | None
    """Where it lies."""
    manifest: dict[str, Any] | None
    """Its manifest."""
    scores: dict[str, Any] | None
    """The report of a scored file."""
    # What takes work to find, and is added once the files are known to be good.
    seen: SeenRows = field(default_factory=SeenRows)
    findings: list[Finding] | None = None
    """Of lint, on the files as they are today; None: lint did not run."""
    unread: str = ""
    """Why it did not."""
    explained: list[Any] = field(default_factory=list)
    """`examples.Example`."""
    texts: bool = True
    """Whether the page shows texts of rows."""

    def typed(self, command: str, *, again: bool = False) -> str:
        """A command with RUN, BUNDLE and MADE (a bundle that is yet to be made) as a shell reads them: who copies it
        gets what stands there, whatever the folders are called. again: the names of second ones.
        """
        bundle = Path("bundles") / self.run.resolve().name
        places = {"RUN": _shown(self.run), "BUNDLE": _shown(self.bundle or bundle), "MADE": bundle}
        end = "-again" if again else ""
        words = [f"{places[word]}{end}" if word in places else word for word in command.split()]
        return " ".join(word if word in ("&&", "NEW.csv") else shlex.quote(word) for word in words)

    @property
    def space(self) -> LabelSpace:
        """The labels."""
        return self.checkpoint.contract.labels

    @property
    def figures(self) -> dict[str, Any] | None:
        """Those of the test rows; of the validation rows where the test was never opened."""
        return self.test if self.test is not None else self.validation

    @property
    def metric(self) -> str:
        """The one that chose the checkpoint; of a refit, that chose the settings."""
        return self.checkpoint.metric

    @property
    def is_refit(self) -> bool:
        """Whether the settings of a search were trained anew, so that no rows chose the checkpoint."""
        return "refit" in self.splits


def _shown(path: Path) -> Path:
    """A folder as it may stand on a page that leaves the house: from here, or by its name alone."""
    if not path.is_absolute():
        return path
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) and path != here else Path(path.name)


def gather_evidence(run: Path, bundle: Path | None, scores: Path | None) -> Evidence:
    """Read a run, and what came after it.

    Raises InputError where there is no run, ArtifactError where a file of it is damaged or of another checkpoint.
    """
    checkpoint = Checkpoint.best(run)
    checkpoint.verify()
    hashes = measured_on(checkpoint)
    steps, evaluations = _log(run / "metrics.jsonl")
    return Evidence(
        run=run,
        checkpoint=checkpoint,
        measured_on=hashes,
        recipe=load(run / RUN_RECIPE),
        splits=read_json(run / "splits" / "splits.json"),
        training=_figures(run / "metrics.json", checkpoint, decided=False) or {},
        steps=steps,
        evaluations=evaluations,
        openings=read_lines(run / "test_opened.jsonl"),
        test=_split_figures(run, "test", checkpoint),
        validation=_split_figures(run, "validation", checkpoint),
        decisions=_decisions(run, checkpoint),
        search=read_json(run / "sweep.json") if (run / "sweep.json").is_file() else None,
        suspects=_suspects(run),
        bundle=bundle,
        manifest=None if bundle is None else read_manifest(bundle, hashes),
        scores=None if scores is None else read_scores(scores, bundle),
    )


def _suspects(run: Path) -> dict[str, Any] | None:
    """What `suspects` found. Raises ArtifactError where it looked at other rows than those of the run."""
    path = run / REVIEW_FOLDER / "suspects.json"
    if not path.is_file():
        return None
    found, fingerprint = read_json(path), read_json(run / "splits" / "splits.json").get("fingerprint")
    if fingerprint not in found["fingerprints"]:
        raise ArtifactError(
            "the label suspects are of other rows", where=path, do=f"look again: classifact suspects {run}"
        )
    return dict(found)


def _figures(path: Path, checkpoint: Checkpoint, *, decided: bool = True) -> dict[str, Any] | None:
    return read_figures(path, checkpoint, decided=decided) if path.is_file() else None


def _decisions(run: Path, checkpoint: Checkpoint) -> dict[str, Any] | None:
    """What `decide` wrote, of the shape that the page knows."""
    path = run / "decisions.json"
    if not path.is_file():
        return None
    again = f"decide again, with the same options, and measure again: classifact decide {run}"
    return read_figures(path, checkpoint, schema=DECISIONS_SCHEMA, do=again)


def _split_figures(run: Path, split: str, checkpoint: Checkpoint) -> dict[str, Any] | None:
    """What `evaluate` wrote, of the shape that the page knows."""
    path = run / f"{split}_metrics.json"
    if not path.is_file():
        return None
    again = f"measure again: classifact evaluate {run} --split {split}"
    return read_figures(path, checkpoint, schema=SPLIT_SCHEMA, do=again)


def _log(path: Path) -> tuple[list[Step], list[dict[str, Any]]]:
    """Steps and evaluations. A resumed run takes some steps again: of each the last counts."""
    steps: dict[int, Step] = {}
    evaluations: dict[int, dict[str, Any]] = {}
    if not path.is_file():
        return [], []
    with path.open("rb") as file:
        for line in file:
            try:
                found = json.loads(line)
            except ValueError:
                # A line that a kill cut short.
                continue
            if found.get("kind") == "step":
                steps[found["step"]] = Step(stage=found["stage"], step=found["step"], loss=found.get("loss"))
            elif found.get("kind") == "evaluation":
                evaluations[found["step"]] = found
    return [steps[key] for key in sorted(steps)], [evaluations[key] for key in sorted(evaluations)]
