"""Students and scores made of numbers, for tests of the cascade."""

import numpy as np

from export.cascade.student import Student
from trainer.contract.encoding import Encoded
from trainer.contract.labels import LabelSpace, Scores

FOUR = LabelSpace(names=("a", "b", "c", "d"))
SEVERAL = LabelSpace(names=("a", "b", "c"), kind="multi")


def pool(rows: int, space: LabelSpace, seed: int = 0) -> tuple[Scores, Scores]:
    """The scores of a student and of its encoder, which it follows with errors that grow where it is less sure."""
    generator = np.random.default_rng(seed)
    encoder = generator.normal(0, 6, (rows, len(space)))
    student = 0.8 * encoder + generator.normal(0, 1.0, encoder.shape) * generator.exponential(0.7, (rows, 1))
    return space.decode(student), space.decode(encoder)


def student(vocabulary: int = 50, labels: int = 3, seed: int = 0) -> Student:
    """Random weights, as a file gives them back."""
    draw = np.random.default_rng(seed)
    shapes = {
        "pieces": (vocabulary, 9),
        "pairs": (64, 9),
        "bias": (8,),
        "output": (8, labels),
        "output_bias": (labels,),
    }
    made = {name: draw.normal(size=shape).astype(np.float16).astype(np.float32) for name, shape in shapes.items()}
    for name in ("pieces", "pairs"):
        # The last number of a feature is its weight.
        made[name][:, -1] = np.maximum(np.abs(made[name][:, -1]), np.float32(0.5))
    return Student(**made)


def encoded(rows: list[list[int]]) -> Encoded:
    """Rows of token ids."""
    lengths = [len(row) for row in rows]
    ids = np.array([number for row in rows for number in row], dtype=np.int32)
    return Encoded(
        ids=ids,
        types=np.zeros(len(ids), dtype=np.int8),
        offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
        cut=np.zeros(len(rows), dtype=np.int64),
    )
