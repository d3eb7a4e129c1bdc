"""The head of a published classifier: kept, put into the recipe's order of labels, or left out for a new one."""

from typing import Literal

from trainer.contract.errors import InputError
from trainer.contract.labels import LabelSpace
from trainer.opening.network import Tensors

Choice = Literal["keep", "new", "auto"]


def fit_head(
    weights: Tensors, head: str, labels: tuple[str, ...] | None, space: LabelSpace, choice: Choice
) -> tuple[Tensors, str]:
    """The weights with a head for these labels or without one, and a line on what was done ("" without a head).

    head: name of the layer that gives the logits; its weight is [C, H], a row a label. labels: names of the rows that
    the file has, None where it names none. choice: "auto" keeps rows that have the recipe's names, "keep" any that are
    as many, "new" none. Raises InputError where "keep" cannot be.
    """
    weight = weights.get(f"{head}.weight")
    if weight is None:
        if choice == "keep":
            raise InputError("model.head: keep, but the model has no head", do="leave model.head out")
        return weights, ""
    rows = len(weight)
    named = labels if labels is not None and len(labels) == rows else None
    shown = f"{rows} labels ({', '.join(named[:5]) + (', ...' if rows > 5 else '') if named else 'without names'})"
    if choice != "new" and named is not None and set(named) == set(space.names):
        if named == space.names:
            return weights, "the model's head is kept: it has the recipe's labels"
        order = [named.index(name) for name in space.names]
        moved = {key: weights[key][order] for key in _keys(weights, head)}
        return {**weights, **moved}, "the model's head is kept, its rows put into the recipe's order of labels"
    if choice == "keep":
        if rows != len(space):
            raise InputError(
                "model.head: keep, but the model's head has other labels",
                found=shown,
                expected=f"{len(space)} labels: {', '.join(space.names)}",
                do="say model.head: auto for a new head, or name the model's labels",
            )
        return weights, f"the model's head is kept as model.head asks: {shown} become {', '.join(space.names)}"
    left = set(_keys(weights, head))
    reason = "model.head asks for it" if choice == "new" else f"the model's has {shown}"
    return {key: value for key, value in weights.items() if key not in left}, f"the head is new: {reason}"


def _keys(weights: Tensors, head: str) -> list[str]:
    return [key for key in (f"{head}.weight", f"{head}.bias") if key in weights]
