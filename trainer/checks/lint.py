"""What is wrong with a recipe's rows, found before any money is spent on them."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from trainer.checks import balance, damage, leaks, lengths, reading, repeats
from trainer.checks.findings import Facts, Finding
from trainer.contract.encoding import TextEncoder
from trainer.contract.errors import ClassifactError, InputError
from trainer.contract.labels import LabelSpace
from trainer.contract.system.progress import QUIET, Progress
from trainer.data.columns import Columns
from trainer.data.gather import Gathered, divide, gather_rows
from trainer.data.rows import Row, RowsRead
from trainer.data.splitting.refusals import refuse_unlearnable, refuse_unmeasurable
from trainer.opening.names import find_folder
from trainer.recipes.data_part import DataPart
from trainer.recipes.recipe import Recipe

SEVERITIES = ("error", "warning", "note")
_CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    balance.balance,
    balance.measuring,
    balance.shift,
    balance.combinations,
    balance.order,
    repeats.repeats,
    repeats.near,
    repeats.repeated_values,
    leaks.groups,
    leaks.times,
    damage.damage,
    lengths.endings,
    reading.quoting,
    reading.several_labels,
    reading.spellings,
    reading.nulls,
    reading.useless_columns,
)
_LENGTH_CHECKS: tuple[Callable[[Facts, lengths.Lengths], Iterator[Finding]], ...] = (
    lengths.truncation,
    lengths.unknown,
    lengths.populations,
    lengths.outliers,
)


@dataclass(frozen=True, kw_only=True)
class StageReport:
    """The findings on the rows of one stage, gravest first, and its figures."""

    stage: int
    files: dict[str, int]
    """Records read from each file."""
    rows: dict[str, int]
    """Rows of each split."""
    counts: dict[str, dict[str, int]]
    """Rows of each label in each split."""
    lengths: list[dict[str, Any]]
    """A line for each label (see `lengths_table`)."""
    findings: list[Finding]


@dataclass(frozen=True, kw_only=True)
class LintReport:
    """What lint found: one report for each stage that has rows of its own."""

    name: str
    stages: list[StageReport]

    def count(self, severity: str) -> int:
        """How many findings have this severity."""
        return sum(finding.severity == severity for stage in self.stages for finding in stage.findings)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        stages = [
            {
                "stage": stage.stage,
                "rows": stage.rows,
                "counts": stage.counts,
                "findings": [finding.plain() for finding in stage.findings],
            }
            for stage in self.stages
        ]
        return {"name": self.name, **{f"{name}s": self.count(name) for name in SEVERITIES}, "stages": stages}


def lint(recipe: Recipe, progress: Progress = QUIET) -> LintReport:
    """Look at the rows of every stage as training would read and divide them.

    What training would refuse is a finding like others: an error. Without the model's tokenizer its figures are left
    out, and a finding says so.
    """
    progress.say("loading the tokenizer")
    encoder, extra = _encoder(recipe)
    reports: list[StageReport] = []
    space: LabelSpace | None = None
    trained: dict[tuple[str, str | None], str] = {}
    for number, data in _parts(recipe):
        progress.say(f"stage {number}: reading the rows")
        facts, read, findings = _facts(recipe, data, space, progress)
        findings += extra
        space = facts.space if facts is not None else space
        rows: dict[str, int] = {}
        counts: dict[str, dict[str, int]] = {}
        table: list[dict[str, Any]] = []
        if facts is not None:
            for check in _CHECKS:
                progress.say(f"stage {number}: {check.__module__.rpartition('.')[2]}, {check.__name__}")
                findings += check(facts)
            findings += repeats.earlier(facts, trained)
            trained |= {row.key: row.place for row in facts.of("train")}
            progress.say(f"stage {number}: counting words and tokens")
            sizes = lengths.measure_lengths(facts.rows, encoder)
            findings += [finding for measured in _LENGTH_CHECKS for finding in measured(facts, sizes)]
            rows = {name: facts.splits.count(name) for name in facts.names}
            counts, table = balance.labels_by_split(facts), lengths.lengths_table(facts, sizes)
        findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
        reports.append(
            StageReport(stage=number, files=read, rows=rows, counts=counts, lengths=table, findings=findings)
        )
    return LintReport(name=recipe.name, stages=reports)


def _parts(recipe: Recipe) -> Iterator[tuple[int, DataPart]]:
    """The first stage that reads each data part."""
    seen: list[DataPart] = []
    for number, stage in enumerate(recipe.stages, 1):
        data = stage.data or recipe.data
        # Stages that share rows would tell everything twice.
        if data not in seen:
            seen.append(data)
            yield number, data


def _encoder(recipe: Recipe) -> tuple[TextEncoder | None, list[Finding]]:
    policy = recipe.input.policy()
    try:
        file = find_folder(recipe.model.name, recipe.model.sha256)[0] / "tokenizer.json"
        if file.is_file():
            return TextEncoder.open(file, policy), []
        # Only a model without that file needs transformers to make one, which takes seconds to import.
        from trainer.network.load import load_tokenizer  # noqa: PLC0415

        return TextEncoder(Tokenizer.from_str(load_tokenizer(recipe.model).backend_tokenizer.to_str()), policy), []
    except ClassifactError as error:
        return None, [
            Finding(
                severity="warning",
                check="no_tokenizer",
                what=f"the tokenizer of {recipe.model.name} cannot be loaded ({error.what}): no figures on tokens",
                count=1,
                do="give another model that is at hand: --set model.name=...",
            )
        ]


def _facts(
    recipe: Recipe, data: DataPart, space: LabelSpace | None, progress: Progress
) -> tuple[Facts | None, dict[str, int], list[Finding]]:
    """The rows of a part with their splits, records read by file, and what is wrong with reading and dividing them."""
    rows: list[Row] = []
    try:
        gathered = gather_rows(recipe, data, space, take=rows.append, keep=True, progress=progress)
    except InputError as error:
        return None, {}, [_refused("cannot_read", error)]
    read = {file: count for part in gathered.given.values() for file, count in part.read.items()}
    findings = [*reading.unreadable(gathered), *reading.dropped(gathered)]
    try:
        space = space or gathered.space(recipe.labels)
    except InputError as error:
        # Without a row that can be read there are no labels either: one cause, one error.
        own = [] if findings and not gathered.columns.names() else [_refused("labels", error)]
        return None, read, [*findings, *own]
    gathered, rows = _labelled_rows(gathered, rows, space)
    if not rows:
        return None, read, findings
    places = divide(gathered, space, recipe.seed, [row.whole for row in rows])
    splits = ["train"] * len(rows)
    for name, chosen in places.items():
        for place in chosen.tolist():
            splits[place] = name
    try:
        labels = {name: gathered.columns.label_ids(space, chosen) for name, chosen in places.items()}
        refuse_unlearnable(labels, space, gathered.where)
        refuse_unmeasurable(labels["validation"], space, recipe.metrics, gathered.where)
    except InputError as error:
        findings.append(_refused("split", error))
    return Facts(recipe=recipe, gathered=gathered, space=space, rows=rows, splits=splits), read, findings


def _labelled_rows(gathered: Gathered, rows: list[Row], space: LabelSpace) -> tuple[Gathered, list[Row]]:
    """Leave out rows whose labels cannot be read: they are a finding already, and the other checks go on."""
    names, given, kept, start = set(space.names), dict[str, RowsRead](), list[Row](), 0
    for name, part in gathered.given.items():
        good = [row for row in rows[start : start + part.rows] if names.issuperset(row.labels)]
        start += part.rows
        given[name] = dataclasses.replace(part, rows=len(good))
        kept += good
    return dataclasses.replace(gathered, given=given, columns=Columns.of(kept)), kept


def _refused(check: str, error: InputError) -> Finding:
    """An error of training as a finding."""
    found = f": {error.details['found']}" if error.details["found"] else ""
    return Finding(
        severity="error",
        check=check,
        what=f"{error.what}{found}",
        count=1,
        examples=(error.details["where"],),
        do=error.details["do"],
    )
