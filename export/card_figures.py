"""What a model card says of the test rows: the block that hubs read, the figures, the limits found, and whose texts are
in the bundle.
"""

from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from export.bundle import SYNTHETIC, ExportManifest
from trainer.contract.figures.metrics import shown, shown_range
from trainer.contract.visible import as_code

# As hubs name them.
_TYPES = {"mcc": "matthews_correlation", "brier": "brier_score"}
_BASELINES = {"majority": "commonest label", "bag_of_words": "bag of words"}
# Limits of one kind that are listed.
_LISTED = 10
# A flip or a calibration error of this share is worth a line.
_NOTABLE = 0.05


def metadata(manifest: ExportManifest) -> str:
    """The YAML between the card's dashes, with the test figures as a `model-index` where there are any."""
    figures, results = manifest.test_metrics, []
    if figures is not None:
        fingerprint = str(manifest.training.get("fingerprint", "unknown"))[:16]
        for name, figure in figures["intervals"].items():
            if figure["value"] is not None:
                results.append(
                    EvalResult(
                        task_type="text-classification",
                        task_name="Text classification",
                        # Rows of the user's own are no data set of a hub: their fingerprint names them.
                        dataset_type=f"rows-{fingerprint}",
                        dataset_name=f"{manifest.name}, {figures['rows']:,} test rows",
                        dataset_split="test",
                        metric_type=_TYPES.get(name, name),
                        metric_name=f"{name} (95 % interval {shown_range(figure['low'], figure['high'])})",
                        metric_value=figure["value"],
                    )
                )
    card = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["text-classification", "onnx", manifest.model_type],
        model_name=manifest.name,
        eval_results=results or None,
    )
    return str(card.to_yaml())


def tested(manifest: ExportManifest) -> str:
    """The test figures as a table."""
    figures = manifest.test_metrics
    if figures is None:
        return "It was not evaluated on test rows before it was exported."
    baselines = {key: (figures.get("baselines") or {}).get(key) or {} for key in _BASELINES}
    lines = [
        f"On {figures['rows']:,} test rows, in fp32 with torch:",
        "",
        f"| metric | value | 95 % interval | {' | '.join(_BASELINES.values())} |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, figure in figures["intervals"].items():
        # A baseline that could not be made leaves its cell empty.
        own = [each.get("metrics", {}).get(name, {}).get("value") for each in baselines.values()]
        lines.append(
            f"| {name} | {shown(figure['value'])} | {shown_range(figure['low'], figure['high'])} | "
            + " | ".join("" if value is None else shown(value) for value in own)
            + " |"
        )
    return "\n".join(lines)


def limits(manifest: ExportManifest) -> str:
    """What the figures show to be weak, a line each."""
    figures = manifest.test_metrics
    if figures is None:
        return "- Nothing is known of rows that did not choose the checkpoint."
    found = [*_rows(figures), *_weak(figures)]
    return "\n".join(f"- {line}" for line in found) or "- The test rows show no weakness beyond the intervals above."


def _rows(figures: dict[str, Any]) -> list[str]:
    """What the rows themselves cannot say."""
    found, few = [], min(figures["per_class"], key=lambda label: label["support"])
    # Of 50 rows the 95 % interval of a recall of 0.8 still spans a quarter.
    if few["support"] < 50:
        found.append(f"{as_code(few['label'])} has {few['support']:,} test rows: its figures are rough.")
    if known := figures["also_in_train"]["rows"]:
        found.append(f"{known:,} of the test rows also stand in the training rows, so the figures flatter.")
    if (times := figures.get("test_openings", 1)) > 1:
        found.append(f"The test rows were opened {times:,} times.")
    if cut_rows := int(figures["truncation"].get("rows_cut", 0)):
        found.append(f"{cut_rows:,} of {figures['rows']:,} test rows were longer than the model reads.")
    return found


def _weak(figures: dict[str, Any]) -> list[str]:
    """Where it fails more than elsewhere."""
    slices = [part for part in (figures.get("slices") or {}).get("found", []) if part["flagged"]]
    worst = [part for part in (figures.get("worst_slices") or {}).get("found", []) if part["flagged"]]
    told = [(f"on rows with {part['by']} {as_code(part['value'])}", part) for part in slices[:_LISTED]]
    told += [(f"where {as_code(part['rule'])}", part) for part in worst[:_LISTED]]
    found = [f"Worse {where}: {part['wrong']:,} of {part['rows']:,} wrong." for where, part in told]
    for kind in (figures.get("robustness") or {}).get("kinds", [])[:_LISTED]:
        share = kind["share"]["value"]
        if share is not None and share >= _NOTABLE:
            # Python writes no space before the percent sign; our pages do.
            found.append(f"{share:.1%} of decisions flip under: {as_code(kind['about'])}.".replace("%", " %", 1))
    ece = figures["intervals"].get("ece", {}).get("value")
    if ece is not None and ece >= _NOTABLE:
        found.append(f"Probabilities are off by {ece:.3f} on average (expected calibration error).")
    return found


def texts(manifest: ExportManifest) -> str:
    """Whose texts leave the house with the bundle."""
    if manifest.golden == SYNTHETIC:
        return (
            "No text of a row is in this folder. `golden.jsonl` holds made-up words of the tokenizer's vocabulary; "
            "values of\n"
            "columns and rules made from them were left out of the figures. The weights were trained on real rows all "
            "the same."
        )
    return (
        "`golden.jsonl` holds texts of validation rows, written by real people perhaps, with their token ids, which "
        "turn back\n"
        "into text. `classifact export --golden synthetic` makes a folder without texts of rows. No other file holds "
        "any."
    )


def without_texts(figures: dict[str, Any] | None) -> dict[str, Any] | None:
    """Figures of the test rows without what was written in rows: values of columns, and rules made from them."""
    if figures is None:
        return None
    slices = figures.get("slices")
    # A slice by a column is named by a cell of it; length, script and the like quote no row.
    kept = slices and {**slices, "found": [part for part in slices["found"] if not part["column"]]}
    # The tree's rules may quote a cell too.
    return {**figures, "slices": kept, "worst_slices": None}
