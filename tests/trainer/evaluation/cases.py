"""Classifiers of each kind of labels, made of random numbers."""

from dataclasses import replace

import numpy as np

from trainer.contract.labels import LabelSpace
from trainer.evaluation.measured import Measured

KINDS = ("binary", "several", "multi")


def measured(kind: str, rows: int = 400, seed: int = 0, sharpness: float = 1.0) -> Measured:
    """Labels drawn by the probabilities that a classifier gives where `sharpness` is 1; above, it is too sure."""
    generator = np.random.default_rng(seed)
    names = ("ham", "spam") if kind == "binary" else ("a", "b", "c", "d")
    space = LabelSpace(names=names, kind="multi" if kind == "multi" else "single")
    logits = generator.normal(size=(rows, len(names))) * 2
    drawn = generator.random((rows, len(names)))
    true = space.decode(logits).probabilities
    labels = drawn < true if kind == "multi" else (drawn[:, :1] > true.cumsum(axis=1)[:, :-1]).sum(axis=1)
    return Measured(scores=space.decode(logits * sharpness), labels=labels, space=space)


def with_positive(case: Measured, name: str) -> Measured:
    """The same with another positive label."""
    return replace(case, space=replace(case.space, positive=name))
