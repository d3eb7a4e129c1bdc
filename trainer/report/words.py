"""What metrics are called on the page, and what they mean for a reader who never met them."""

from typing import Any

from trainer.contract.labels import LabelSpace
from trainer.contract.visible import cut, visible

_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "f1_macro": "mean F1 of the labels",
    "f1_micro": "F1 of all labels together",
    "f1_weighted": "F1 weighted by rows",
    "roc_auc": "ROC-AUC",
    "average_precision": "average precision",
    "mcc": "Matthews correlation",
    "loss": "loss",
    "brier": "Brier score",
    "ece": "calibration error",
    "subset_accuracy": "rows with every label right",
    "hamming_loss": "Hamming loss",
}
TERMS = {
    "accuracy": "The share of rows that are decided rightly. With rare labels it is high for a model that never gives "
    "them.",
    "balanced_accuracy": "The mean, over labels, of the share of their rows that is found: rare labels count as much "
    "as common "
    "ones.",
    "precision": "Of the rows that are given the label, the share that has it. Low precision: false alarms.",
    "recall": "Of the rows that have the label, the share that is given it. Low recall: rows are missed.",
    "f1": "One number for precision and recall, their harmonic mean. It is low where either is low.",
    "f1_macro": "F1 of each label by itself, averaged: a rare label counts as much as a common one.",
    "f1_micro": "F1 of all decisions thrown together: common labels count more. Of single labels it is the accuracy.",
    "f1_weighted": "F1 of each label, averaged by how many rows have it.",
    "roc_auc": "How often a row that has the label gets a higher probability than one that has not. 0.5 is chance, 1 "
    "is "
    "perfect.",
    "average_precision": "The mean precision as the threshold is lowered from 1 to 0. Chance is the share of rows "
    "with the label.",
    "mcc": "The correlation of true and decided labels. 0 is chance, 1 is perfect; it is fair with rare labels.",
    "loss": "How surprised the model is by the true labels (negative log-likelihood). Lower is better; sure and wrong "
    "costs most.",
    "brier": "The mean squared error of the probabilities. Lower is better.",
    "ece": "How far probabilities are from what happens, on average: of the rows that get 0.9, nine in ten should be "
    "right. Lower is better.",
    "subset_accuracy": "The share of rows of which every label is right.",
    "hamming_loss": "The share of all single yes-or-no answers (one a row and label) that are wrong. Lower is better.",
}
INTERVAL = (
    "Other test rows of the same kind would have given other figures. The interval says by how much: had the figure "
    "been "
    "measured on many such sets of rows, nineteen of twenty intervals would hold the true value. Few rows make it wide."
)


def metric_name(name: str, space: LabelSpace | None = None) -> str:
    """What a person calls a metric; with the labels, of which of them it is."""
    told = _NAMES.get(name, name.replace("_", " "))
    if space is not None and space.kind == "single" and name in ("precision", "recall", "f1"):
        return f"{told} of {cut(visible(space.names[space.positive_id]), 40)}"
    return told


def once(figures: dict[str, Any]) -> dict[str, Any]:
    """Figures by metric without what has two names: with several labels a row, accuracy is `subset_accuracy`."""
    return {name: figure for name, figure in figures.items() if name != "accuracy" or "subset_accuracy" not in figures}


def plural(count: int, one: str, many: str = "") -> str:
    """ "1 row", "2 rows"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
