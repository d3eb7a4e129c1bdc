"""Splits that are refused before the first step: what no model could be chosen by."""

from pathlib import Path

import numpy as np
import pytest

from tests.trainer.sources import balanced, made, write
from trainer.contract.errors import InputError
from trainer.contract.labels import LabelSpace
from trainer.data.splitting.refusals import refuse_unmeasurable

TWO, THREE = LabelSpace(names=("neg", "pos")), LabelSpace(names=("a", "b", "c"))
MULTI = LabelSpace(names=("a", "b"), kind="multi")


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "f1", "precision", "recall", "mcc"])
def test_a_metric_without_a_positive_row_is_refused_before_training(tmp_path: Path, metric: str) -> None:
    """Validation rows of one class cannot choose a checkpoint by a metric of the other; the classes are counted."""
    train = write(tmp_path, balanced(40))
    rest = write(tmp_path, "text,label\n" + "".join(f"new {n},ham\n" for n in range(9)), "val.csv")
    with pytest.raises(InputError, match=rf"select\.metric: {metric} .* on the validation rows[\s\S]*'spam' 0"):
        made(tmp_path, {"train": {"files": train}, "validation": {"files": rest}}, select={"metric": metric})


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "f1_micro", "f1_weighted", "loss"])
def test_a_metric_that_one_class_has_is_taken(metric: str) -> None:
    """Accuracy, averaged F1 and the loss have a value on rows of one class."""
    labels = np.zeros(9, dtype=np.int64)
    refuse_unmeasurable(labels, TWO, {"select.metric": metric}, "rows.csv")
    assert len(labels) == 9


def test_every_label_counts_where_a_metric_is_a_mean_over_labels() -> None:
    """ROC-AUC of three labels, and of several labels a row, needs rows with and without each."""
    refuse_unmeasurable(np.array([0, 1, 2]), THREE, {"select.metric": "roc_auc"}, "rows.csv")
    with pytest.raises(InputError, match=r"roc_auc is undefined[\s\S]*'c' 0"):
        refuse_unmeasurable(np.array([0, 1, 1]), THREE, {"select.metric": "roc_auc"}, "rows.csv")
    with pytest.raises(InputError, match=r"roc_auc is undefined[\s\S]*'b' 3"):
        refuse_unmeasurable(np.array([[1, 1], [0, 1], [0, 1]], dtype=bool), MULTI, {"select.metric": "roc_auc"}, "x")


def test_a_search_s_own_metric_is_looked_at_too() -> None:
    """The metric that a search compares trials by is named by its key."""
    with pytest.raises(InputError, match=r"sweep\.metric: mcc is 0 for any model"):
        refuse_unmeasurable(np.zeros(4, int), TWO, {"select.metric": "loss", "sweep.metric": "mcc"}, "rows.csv")
