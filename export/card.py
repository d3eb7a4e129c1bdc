"""The model card: README.md of a bundle, for people who find the folder."""

from pathlib import Path

from export.bundle import ExportManifest, GraphFile
from export.card_figures import limits, metadata, tested, texts
from export.cascade.telling import card_section
from export.proof.parity import measured_rows, shown_drop
from trainer.contract.inputs import InputSpec
from trainer.contract.visible import as_code, visible

_TEMPLATE = """---
{metadata}
---

# {name}

A {kind} text classifier ({model_type}), exported by Classifact. It decides between {count} labels: {labels}.

## What it is for

Sorting texts like the rows that it was measured on into these labels, where a wrong label now and then does no harm, or
a person looks at it. It was measured on no other kind of text, language or time. Where a decision touches somebody's
rights, it is no ground by itself.

## What goes in

{input}

## What it was accepted on

Each file was compared with the torch model in fp32 on {rows}, of all lengths{which}.{unlabelled}

| file | size | same decision | largest probability difference | {metric} | drop [95 % interval] |
|---|--:|--:|--:|--:|--:|
{table}

torch in fp32: {metric} {torch_value:.4f} on the validation rows. {constant}{decided}
{cascade}
## How good it is

{tested}

## Limits found

{limits}

## Which texts leave the house

{texts}

## How to use it

```sh
classifact check .
classifact score . INPUT.csv --out OUTPUT.csv
```

The folder also opens in other tools: `ORTModelForSequenceClassification.from_pretrained(folder, subfolder="onnx")` of
optimum, and `pipeline("text-classification", folder)` of transformers.js. Those tools know neither the columns nor the
decision thresholds: `manifest.json` holds both. Of texts longer than the limit, transformers needs `truncation=True`,
keeps the head whatever the policy above says, and transformers.js leaves out their last special token.

## Limits

The figures above hold for rows like the validation rows. int8 scores depend a little on which rows share a batch and on
the processor's instruction set; `golden.jsonl` holds rows with torch's logits to test a machine with, and
`reference.json` the distribution to measure drift against.
"""
_UNLABELLED = """
Decisions and probabilities were compared on all of these rows, the metric and its drop on the validation rows alone."""


def write_card(path: Path, manifest: ExportManifest) -> None:
    """Write the model card."""
    space = manifest.contract.labels
    # Rows, metric and torch's figure are the same in every file's entry.
    parity = next(iter(manifest.graphs.values())).parity
    text = _TEMPLATE.format(
        metadata=metadata(manifest),
        limits=limits(manifest),
        texts=texts(manifest),
        name=visible(manifest.name),
        model_type=manifest.model_type,
        kind="single-label" if space.kind == "single" else "multi-label",
        count=len(space),
        labels=", ".join(map(as_code, space.names)),
        input=_input(manifest),
        rows=measured_rows(parity),
        unlabelled=_UNLABELLED if parity.unlabelled_rows else "",
        metric=parity.metric,
        torch_value=parity.torch_value,
        table="\n".join(_row(graph) for graph in manifest.graphs.values()),
        which=_which(manifest),
        constant=_constant(manifest),
        cascade="" if manifest.cascade is None else card_section(manifest.cascade),
        tested=tested(manifest),
        decided=_decided(manifest),
    )
    path.write_text(text, encoding="utf-8")


def _which(manifest: ExportManifest) -> str:
    """What is special about the validation rows."""
    refit, known = manifest.training.get("refit"), manifest.training.get("train_rows_in", {}).get("validation", 0)
    # Figures of rows that were learnt flatter, and whoever finds the folder has no run to look that up in.
    told = f", held back when {refit['joined']:,} others were trained on" if refit else ""
    return told + (f" ({known:,} of the validation rows also stand in the training rows)" if known else "")


def _constant(manifest: ExportManifest) -> str:
    """What one answer for all rows is worth, so that the figure above it means something."""
    found = manifest.constant
    if found is None:
        return ""
    # Only --anyway writes such a bundle (pipeline.py), so its card says it before any figure.
    if not found["beaten"]:
        return "**It has learnt nothing: one answer for all rows is as good.** "
    if found["value"] is None or found["metric"] == "loss":
        return f"The label shares alone have a loss of {found['loss']:.4f}. "
    always = " and ".join(map(as_code, found["labels"])) or "no label"
    return f"The best single answer for all rows (always {always}): {found['metric']} {found['value']:.4f}. "


def _decided(manifest: ExportManifest) -> str:
    """What was shown of rows that are not answered, and of labels."""
    found = manifest.decisions or {}
    promises = [found["abstain"]["said"]] if found.get("abstain") else []
    # `decide` made each sentence beside the rows that show it: nothing is worded anew here.
    promises += [each["said"] for each in found.get("promises", [])]
    if not promises:
        return ""
    told = f"Shown on validation rows that chose nothing: {'; '.join(promises)}. {found['chose_checkpoint']['said']}"
    return f"\n\n{told} It holds for rows drawn as those were, and for torch's logits."


def _input(manifest: ExportManifest) -> str:
    spec: InputSpec = manifest.contract.input
    policy = manifest.contract.encoding
    columns = " and ".join(map(as_code, spec.text))
    pair = "" if spec.pair is None else f", with {as_code(spec.pair)} as its pair"
    joined = f" (joined with {spec.join!r})" if len(spec.text) > 1 else ""
    return (
        f"The text of {columns}{joined}{pair}, at most {policy.max_tokens} tokens; "
        f"of longer texts stays: {policy.truncation}."
    )


def _row(graph: GraphFile) -> str:
    parity = graph.parity
    return (
        f"| `{graph.file}` | {graph.bytes / 1e6:.1f} MB | {parity.label_agreement:.4f} | {parity.max_difference:.2g} "
        f"| {parity.value:.4f} | {parity.drop:+.4f} [{parity.drop_low:+.4f}, {parity.drop_high:+.4f}]"
        + (" |" if graph.max_drop is None else f", {shown_drop(parity, graph.max_drop)} |")
    )
