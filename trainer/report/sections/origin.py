"""What the model learned from: recipe, base model, data and what lint says of them."""

from typing import Any

from trainer.checks.findings import Finding
from trainer.contract.redact import file_names
from trainer.recipes.file import recipe_text, without_folders
from trainer.report.blocks import (
    Block,
    Cell,
    Folded,
    Heading,
    Missing,
    Paragraph,
    Section,
    State,
    Strange,
    Table,
    Terms,
    count,
    percent,
)
from trainer.report.gather import Evidence
from trainer.report.words import metric_name, plural

# Of the recipe, of labels in the table and of findings: what a page holds.
_RECIPE, _LABELS, _FINDINGS = 20_000, 60, 60


def origin(evidence: Evidence) -> Section:
    """Where the model is from."""
    blocks: list[Block] = [_facts(evidence), _splits(evidence)]
    names = evidence.space.names
    if len(names) > _LABELS:
        blocks.append(
            Paragraph(f"The {_LABELS} commonest of {len(names):,} labels are shown; splits/splits.json has all.")
        )
    blocks += [Heading("What lint says of the rows"), *_lint(evidence)]
    text = recipe_text(without_folders(evidence.recipe))
    more = f"\n... and {len(text) - _RECIPE:,} more characters" if len(text) > _RECIPE else ""
    blocks.append(Folded(title="The recipe, every key of it", text=text[:_RECIPE] + more))
    blocks.append(
        Terms(
            terms={
                "fingerprint": "A hash of the rows and of how they were divided: the same fingerprint, the same rows.",
                "SHA-256": "A number made of every byte of a file. Two files with one hash are the same file.",
                "validation rows": "Rows that did not train the model, but chose its checkpoint or its settings.",
            }
        )
    )
    return Section(key="origin", title="What it learned from", blocks=blocks)


def _facts(evidence: Evidence) -> Table:
    recipe, splits, training = without_folders(evidence.recipe), evidence.splits, evidence.training
    space = evidence.space
    launches = training.get("launches") or []
    where = ", ".join(f"{launch['precision']} on {launch['device']}" for launch in launches[-1:])
    kind = "one label a row" if space.kind == "single" else "any number of labels a row"
    rows: list[list[Cell]] = [
        ["task", f"{plural(len(space), 'label')}, {kind}"],
        ["text", Strange(" + ".join(recipe.input.text), 200)],
        ["base model", Strange(recipe.model.name, 200)],
        ["base model's SHA-256", Strange(recipe.model.sha256 or "not recorded", 80)],
        ["checkpoint", Strange(evidence.checkpoint.path.name)],
        ["checkpoint's SHA-256", evidence.measured_on["weights"]],
        [
            "chosen by",
            "nothing: the last weights of a refit"
            if evidence.is_refit
            else f"{metric_name(evidence.metric, space)} on the validation rows",
        ],
        ["trained in", where or "not recorded"],
        ["tokens a text", f"at most {recipe.input.max_tokens}; of longer texts stays: {recipe.input.truncation}"],
        ["data fingerprint", Strange(str(splits.get("fingerprint", "not recorded")), 80)],
        [
            "rows read",
            f"{splits['rows_read']:,}; {splits['nulls_dropped']:,} dropped for a null, "
            f"{splits['exact_repeats']:,} exact repeats, kept on one side of the split",
        ],
        ["divided", _divided(splits.get("made"))],
    ]
    files = splits.get("files", [])
    names = file_names([each["file"] for each in files])
    rows += [["file", Strange(f"{names[each['file']]}: {each['rows']:,} rows", 300)] for each in files[:20]]
    return Table(caption="Where the model is from", heads=["what", "is"], rows=rows, sort=False)


def _divided(made: dict[str, Any] | None) -> str:
    if not made:
        return "as the files say"
    told = [f"{name}: {value}" for name, value in made.items() if value not in (None, False)]
    return ", ".join(told)


def _splits(evidence: Evidence) -> Table:
    splits = evidence.splits["splits"]
    total = {name: sum(part["labels"].get(name, 0) for part in splits.values()) for name in evidence.space.names}
    shown = sorted(total, key=lambda name: -total[name])[:_LABELS]
    rows: list[list[Cell]] = []
    for name in [name for name in evidence.space.names if name in set(shown)]:
        cells: list[Cell] = [Strange(name)]
        for part in splits.values():
            given = part["labels"].get(name, 0)
            cells += [count(given), percent(given / max(1, part["rows"]))]
        rows.append(cells)
    heads: list[str] = ["label"]
    for name, part in splits.items():
        heads += [f"{name} ({part['rows']:,} rows)", f"share of {name}"]
    return Table(caption="Rows of each label in each split", heads=heads, rows=rows, stack=True)


def _lint(evidence: Evidence) -> list[Block]:
    if evidence.findings is None:
        return [
            Missing(
                what=f"The rows were not looked at: {evidence.unread}.",
                command=evidence.typed("cd RUN && classifact lint recipe.yaml"),
            )
        ]
    if not evidence.findings:
        return [Paragraph("Nothing was found, in the files as they are today.")]
    files = file_names([each["file"] for each in evidence.splits.get("files", [])])
    grave = [finding for finding in evidence.findings if finding.severity != "note"]
    notes = [finding for finding in evidence.findings if finding.severity == "note"]
    blocks: list[Block] = [_findings(grave, evidence, files, "")] if grave else [Paragraph("No error and no warning.")]
    return blocks + ([_findings(notes, evidence, files, f"{plural(len(notes), 'note')} more")] if notes else [])


def _findings(found: list[Finding], evidence: Evidence, files: dict[str, str], fold: str) -> Table:
    states = {"error": False, "warning": None, "note": True}

    def short(text: str) -> str:
        """Files without their folders: a page is read elsewhere."""
        for file, name in files.items():
            text = text.replace(file, name)
        return text

    rows: list[list[Cell]] = [
        [
            State(holds=states[finding.severity], word=finding.severity),
            Strange(short(finding.what), 300),
            Strange(short(finding.examples[0]) if finding.examples and evidence.texts else "", 160),
            Strange(finding.do, 300),
        ]
        for finding in found[:_FINDINGS]
    ]
    heads = ["", "what", "for example", "what to do"]
    caption = "In the files as they are today"
    return Table(caption=caption, heads=heads, rows=rows, stack=True, sort=False, fold=fold)
